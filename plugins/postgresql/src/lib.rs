//! The built-in check `postgresql`: does a PostgreSQL server accept connections, in the right role and up to date?

mod proof;
mod session;
mod state;
mod wire;

use std::time::Duration;

use vouchd_check::{Context, Report, Result};
use vouchd_check_peer::{Finding, Lag, Peer, Stop, Talk, only_with_login, password};

use session::{Login, Session, Welcome};
use state::{LAG, ROLE, Role, lag};

vouchd_check::params! {
    struct Params {
        /// `host:port`.
        address: Option<String>,
        /// Path of the server's unix socket, instead of `address`.
        socket: Option<String>,
        /// Logs in; without it is enough that the server would let somebody in.
        user: Option<String>,
        /// File with the password, which is its first line.
        password_file: Option<String>,
        /// To log in to.
        database: String = "postgres",
        /// `primary` or `standby`.
        role: Option<String>,
        /// How far a standby may be behind: `warn`, `fail`.
        lag: Option<Lag>,
        /// Whether to speak TLS.
        tls: bool = false,
        /// Whether a bad certificate is a `fail`.
        tls_verify: bool = true,
        /// Server name for TLS.
        sni: Option<String>,
        /// For the connection, and again for each answer; else what is left of the run.
        timeout: Option<Duration>,
    }
}

/// What is wanted of a server that was logged in to.
struct Wanted {
    user: String,
    database: String,
    role: Option<Role>,
    lag: Option<Lag>,
}

impl Wanted {
    /// None: nothing but an answer.
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

    /// What the server says of itself, and how far it is behind.
    fn ask(&self, session: &mut Session) -> Talk<(Vec<Finding>, Option<f64>)> {
        let role =
            Role::of(&session.query(ROLE)?).ok_or_else(|| Stop::fail("does not say whether it is in recovery"))?;
        let mut findings = vec![role.judge(self.role)];
        let mut behind = None;
        // A primary is never behind.
        if let (Some(bounds), Role::Standby) = (self.lag, role) {
            let answer = lag(&session.query(LAG)?, bounds);
            let (finding, seconds) = answer.ok_or_else(|| Stop::fail("does not say how far it is behind"))?;
            findings.push(finding);
            behind = seconds;
        }
        Ok((findings, behind))
    }
}

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
        let how = match session.knock()? {
            Welcome::In => "accepts connections",
            Welcome::Asks => "accepts connections, and asks for a login",
            Welcome::Refuses => "answers, and refuses a stranger",
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
