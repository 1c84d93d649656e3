//! The built-in check `postgresql`: does a PostgreSQL server accept connections, in the right role, and is a standby up to date?

mod proof;
mod session;
mod state;
mod wire;

use std::time::Duration;

use vouchd_check::{Context, Report, Result};
use vouchd_check_peer::{Finding, Lag, Peer, Stop, Talk, only_with_login, password};

use session::{Login, Reception, Session};
use state::{LAG, ROLE, Role, lag};

vouchd_check::params! {
    struct Params {
        /// `host:port`.
        address: Option<String>,
        /// Path of the server's unix socket, instead of `address`.
        socket: Option<String>,
        /// Log in as this user. Without it any answer that lets somebody in is enough.
        user: Option<String>,
        /// File whose first line is the password.
        password_file: Option<String>,
        /// The database to log in to.
        database: String = "postgres",
        /// `primary` or `standby`.
        role: Option<String>,
        /// How far a standby may be behind: `warn`, `fail`.
        lag: Option<Lag>,
        /// Whether to use TLS.
        tls: bool = false,
        /// Whether a certificate that cannot be verified is a `fail`.
        tls_verify: bool = true,
        /// Server name for TLS.
        sni: Option<String>,
        /// For connecting, and for each answer. Default: what is left of the run.
        timeout: Option<Duration>,
    }
}

/// What is expected of a server after the login.
struct Wanted {
    user: String,
    database: String,
    role: Option<Role>,
    lag: Option<Lag>,
}

impl Wanted {
    /// `None` without a login: any answer will do.
    fn new(params: &Params) -> Result<Option<Self>> {
        let role = params.role.as_deref().map(Role::parse).transpose()?;
        let Some(user) = params.user.clone() else {
            let needs = [
                ("password_file", params.password_file.is_some()),
                ("role", role.is_some()),
                ("lag", params.lag.is_some()),
            ];
            return only_with_login(&needs).map(|()| None);
        };
        Ok(Some(Wanted { user, database: params.database.clone(), role, lag: params.lag }))
    }

    /// Asks the server. Returns the findings, and how many seconds it is behind.
    fn ask(&self, session: &mut Session) -> Talk<(Vec<Finding>, Option<f64>)> {
        let role =
            Role::of(&session.query(ROLE)?).ok_or_else(|| Stop::fail("does not report whether it is in recovery"))?;
        let mut findings = vec![role.judge(self.role)];
        let mut behind = None;
        // A primary is never behind.
        if let (Some(bounds), Role::Standby) = (self.lag, role) {
            let answer = lag(&session.query(LAG)?, bounds);
            let (finding, seconds) = answer.ok_or_else(|| Stop::fail("does not report how far it is behind"))?;
            findings.push(finding);
            behind = seconds;
        }
        Ok((findings, behind))
    }
}

/// Runs the check once.
///
/// # Errors
/// If a parameter makes no sense, or a probe could not be made.
pub fn check(ctx: &Context) -> Result<Report> {
    let params: Params = ctx.params()?;
    let wanted = Wanted::new(&params)?;
    let secret = params.password_file.as_deref().map(|path| password(ctx, path)).transpose()?;
    let mut peer = Peer::new(params.address, params.socket, params.timeout)?;
    if params.tls {
        peer = peer.with_tls(params.sni, params.tls_verify)?;
    }
    talk(ctx, &peer, wanted.as_ref(), secret.as_deref()).or_else(|stop| stop.report(peer.text()))
}

fn talk(ctx: &Context, peer: &Peer, wanted: Option<&Wanted>, secret: Option<&str>) -> Talk<Report> {
    let mut session = Session::open(ctx, peer)?;
    let Some(wanted) = wanted else {
        let how = match session.try_login()? {
            Reception::Accepts => "accepts connections",
            Reception::AsksForLogin => "accepts connections, and asks for a login",
            Reception::Rejects => "answers, and rejects an unknown user",
        };
        return Ok(Report::pass(format!("PostgreSQL at {} {how}", peer.text())));
    };
    session.login(ctx, &Login { user: &wanted.user, database: &wanted.database, password: secret })?;
    let (findings, behind) = wanted.ask(&mut session)?;
    let report = Finding::report(&findings, &format!("PostgreSQL {} at {}", session.version(), peer.text()));
    session.quit();
    Ok(match behind {
        Some(seconds) => report.metric("lag", seconds, "s"),
        None => report,
    })
}

vouchd_check::check!(check, Params);

#[cfg(test)]
mod tests;
