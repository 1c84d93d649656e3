//! The built-in check `redis`: does a Redis server serve, in the right role, and is a replica up to date?

mod info;
mod resp;

use std::time::Duration;

use vouchd_check::{Context, Error, Report, Result};
use vouchd_check_peer::{Peer, Stop, Stream, Talk, password, quoted};

use info::{Info, Role};
use resp::{Reply, command};

/// The default of Debian's package.
const ADDRESS: &str = "127.0.0.1:6379";

vouchd_check::params! {
    struct Params {
        /// `host:port`. Default: 127.0.0.1:6379.
        address: Option<String>,
        /// Path of the server's unix socket, instead of `address`.
        socket: Option<String>,
        /// Log in as this user. With `password_file` alone the check logs in as the default user.
        user: Option<String>,
        /// File whose first line is the password.
        password_file: Option<String>,
        /// `master` or `replica`.
        role: Option<String>,
        /// A master with fewer connected replicas is a `warn`.
        replicas: u32 = 0,
        /// A replica without contact to its master for longer is a `fail`.
        max_silence: Option<Duration>,
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

/// What is expected of the server's state.
struct Wanted {
    role: Option<Role>,
    replicas: u32,
    max_silence: Option<Duration>,
}

/// Runs the check once.
///
/// # Errors
/// If a parameter makes no sense, or a probe could not be made.
pub fn check(ctx: &Context) -> Result<Report> {
    let params: Params = ctx.params()?;
    let role = params.role.as_deref().map(Role::parse).transpose()?;
    if params.user.is_some() && params.password_file.is_none() {
        return Err(Error::new("parameter `user` needs a password: expected `password_file`"));
    }
    let address = params.address.or_else(|| params.socket.is_none().then(|| ADDRESS.to_owned()));
    let mut peer = Peer::new(address, params.socket, params.timeout)?;
    if params.tls {
        peer = peer.with_tls(params.sni, params.tls_verify)?;
    }
    let password = params.password_file.map(|path| password(ctx, &path)).transpose()?;
    let login: Vec<&str> = params.user.as_deref().into_iter().chain(password.as_deref()).collect();
    let wanted = Wanted { role, replicas: params.replicas, max_silence: params.max_silence };
    talk(ctx, &peer, &login, &wanted).or_else(|stop| stop.report(peer.text()))
}

fn talk(ctx: &Context, peer: &Peer, login: &[&str], wanted: &Wanted) -> Talk<Report> {
    let mut stream = peer.connect(ctx)?;
    if peer.wants_tls() {
        stream.start_tls()?;
    }
    if !login.is_empty() {
        match ask(&mut stream, &[&["AUTH"], login].concat(), "an answer to AUTH")? {
            Reply::Status(_) => {}
            Reply::Error(text) => return Err(Stop::error(format!("rejects the login: {text}"))),
            other => return Err(unexpected(&other, "an answer to AUTH")),
        }
    }
    match ask(&mut stream, &["PING"], "an answer to PING")? {
        Reply::Status(text) if text == "PONG" => {}
        Reply::Error(text) => return Err(refusal(&mut stream, &text)),
        other => return Err(unexpected(&other, "PONG")),
    }
    match ask(&mut stream, &["INFO", "replication"], "its replication")? {
        Reply::Bulk(text) => {
            let text = String::from_utf8_lossy(&text);
            let info = Info::parse(&text).ok_or_else(|| Stop::fail("does not report its role"))?;
            Ok(wanted.judge(peer.text(), &info))
        }
        Reply::Error(text) => Err(Stop::error(format!("does not report its replication: {text}"))),
        other => Err(unexpected(&other, "its replication")),
    }
}

fn ask(stream: &mut Stream, words: &[&str], what: &str) -> Talk<Reply> {
    stream.send(&command(words))?;
    resp::read(stream, what)
}

/// Explains an error in answer to PING.
fn refusal(stream: &mut Stream, text: &str) -> Stop {
    let begins = |code: &str| text.split(' ').next() == Some(code);
    if begins("NOAUTH") {
        return Stop::error(format!("asks for a login: expected `password_file`: {text}"));
    }
    if begins("NOPERM") || begins("DENIED") {
        return Stop::error(format!("rejects this check: {text}"));
    }
    if begins("LOADING")
        && let Ok(Reply::Bulk(info)) = ask(stream, &["INFO", "persistence"], "its persistence")
        && let Some(share) = info::loaded(&String::from_utf8_lossy(&info))
    {
        return Stop::fail(format!("is loading its data set, {share}% done"));
    }
    // LOADING, MASTERDOWN, BUSY: it runs, but does not serve.
    Stop::fail(text)
}

fn unexpected(reply: &Reply, expected: &str) -> Stop {
    let found = match reply {
        Reply::Status(text) | Reply::Error(text) => text.clone(),
        Reply::Bulk(data) => quoted(&data[..data.len().min(60)]),
    };
    Stop::fail(format!("expected {expected}, found {found:?}"))
}

impl Wanted {
    fn judge(&self, peer: &str, info: &Info) -> Report {
        let found = format!("{peer}: {info}");
        if let Some(role) = self.role.filter(|role| *role != info.role()) {
            return info.measured(Report::fail(format!("{found}, expected a {}", role.text())));
        }
        let report = match info {
            Info::Master { replicas } if *replicas < self.replicas => {
                Report::warn(format!("{found}, expected at least {}", self.replicas))
            }
            Info::Replica { silence, .. } if self.is_too_long(*silence) => {
                let most = self.max_silence.unwrap_or_default().as_secs_f64();
                Report::fail(format!("{found}, expected at most {most} s"))
            }
            Info::Replica { is_linked: false, .. } => Report::warn(found),
            Info::Master { .. } | Info::Replica { .. } => Report::pass(found),
        };
        info.measured(report)
    }

    /// A replica that never had contact to its master has been silent for ever.
    fn is_too_long(&self, silence: Option<u64>) -> bool {
        self.max_silence.is_some_and(|most| silence.is_none_or(|silence| Duration::from_secs(silence) > most))
    }
}

vouchd_check::check!(check, Params);

#[cfg(test)]
mod tests;
