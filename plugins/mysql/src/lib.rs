//! The built-in check `mysql`: does a MySQL or MariaDB server serve, in the right role, and is a replica up to date?

mod auth;
mod rows;
mod session;
mod state;
mod wire;

use std::time::Duration;

use vouchd_check::{Context, Report, Result};
use vouchd_check_peer::{Finding, Lag, Peer, Stop, Talk, only_with_login, password};

use session::Session;
use state::{GALERA, Role, galera, replication};

vouchd_check::params! {
    struct Params {
        /// `host:port`.
        address: Option<String>,
        /// Path of the server's unix socket, instead of `address`.
        socket: Option<String>,
        /// Log in as this user. Without it the server's greeting is enough.
        user: Option<String>,
        /// File whose first line is the password.
        password_file: Option<String>,
        /// `writable` or `read-only`.
        role: Option<String>,
        /// How far a replica may be behind: `warn`, `fail`.
        lag: Option<Lag>,
        /// Whether it must be a synced node of a Galera cluster.
        galera: bool = false,
        /// Whether to log in over TLS.
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
    password_file: Option<String>,
    role: Option<Role>,
    lag: Option<Lag>,
    galera: bool,
}

impl Wanted {
    /// `None` without a login: the greeting is enough.
    fn new(params: &Params) -> Result<Option<Self>> {
        let role = params.role.as_deref().map(Role::parse).transpose()?;
        let Some(user) = params.user.clone() else {
            let needs = [
                ("password_file", params.password_file.is_some()),
                ("role", role.is_some()),
                ("lag", params.lag.is_some()),
                ("galera", params.galera),
                ("tls", params.tls),
            ];
            return only_with_login(&needs).map(|()| None);
        };
        let password_file = params.password_file.clone();
        Ok(Some(Wanted { user, password_file, role, lag: params.lag, galera: params.galera }))
    }

    /// Asks the server. Returns the findings, and how many seconds it is behind.
    fn ask(&self, session: &mut Session) -> Talk<(Vec<Finding>, Option<u64>)> {
        let rows = session.query("SELECT @@global.read_only")?;
        let role = Role::of(&rows).ok_or_else(|| Stop::fail("does not report whether it is read-only"))?;
        let mut findings = vec![role.judge(self.role)];
        let mut behind = None;
        if let Some(bounds) = self.lag {
            let rows = match session.query_if_known("SHOW REPLICA STATUS")? {
                Some(rows) => rows,
                None => session.query("SHOW SLAVE STATUS")?,
            };
            let (finding, lag) = replication(&rows, role, bounds);
            findings.push(finding);
            behind = lag;
        }
        if self.galera {
            findings.push(galera(&session.query(GALERA)?));
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
    let mut peer = Peer::new(params.address, params.socket, params.timeout)?;
    if params.tls {
        peer = peer.with_tls(params.sni, params.tls_verify)?;
    }
    let secret = match wanted.as_ref().and_then(|wanted| wanted.password_file.as_deref()) {
        Some(path) => password(ctx, path)?,
        None => String::new(),
    };
    talk(ctx, &peer, wanted.as_ref(), &secret).or_else(|stop| stop.report(peer.text()))
}

fn talk(ctx: &Context, peer: &Peer, wanted: Option<&Wanted>, secret: &str) -> Talk<Report> {
    let mut session = Session::open(ctx, peer)?;
    let Some(wanted) = wanted else {
        return Ok(Report::pass(format!("{} at {} greets", session.version(), peer.text())));
    };
    session.login(peer, &wanted.user, secret)?;
    let (findings, behind) = wanted.ask(&mut session)?;
    let report = Finding::report(&findings, &format!("{} at {}", session.version(), peer.text()));
    session.quit();
    Ok(match behind {
        Some(seconds) => report.metric("lag", seconds as f64, "s"),
        None => report,
    })
}

vouchd_check::check!(check, Params);

#[cfg(test)]
mod tests;
