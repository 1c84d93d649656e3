//! The built-in check `haproxy`: does HAProxy run, are its frontends open, and are enough servers of its backends up? It asks the
//! stats socket, whose lowest level is enough.

mod answer;

use std::time::Duration;

use vouchd_check::{Context, Error, OneOrMany, Report, Result, Verdict};
use vouchd_check_peer::{Finding, Peer, Stop, Talk};

use answer::{Info, Row};

/// The default of Debian's package.
const SOCKET: &str = "/run/haproxy/admin.sock";
/// All of it. One that exceeds the check's `limits.probe_bytes` is denied, which is an error.
const MAX_ANSWER: u32 = u32::MAX;

vouchd_check::params! {
    struct Params {
        /// Path of the stats socket. Default: /run/haproxy/admin.sock.
        socket: Option<String>,
        /// `host:port` of a stats socket over TCP, instead of `socket`.
        address: Option<String>,
        /// Names of frontends that must be open.
        frontend: OneOrMany<String>,
        /// Names of backends to check.
        backend: OneOrMany<String>,
        /// Fewer servers up in one of the backends is a `fail`.
        servers: u32 = 1,
        /// Fewer servers up in one of the backends is a `warn`.
        warn_servers: Option<u32>,
        /// Change of the priority for each server of the backends that is not up.
        per_down: Option<i16>,
        /// For connecting, and for the answer. Default: what is left of the run.
        timeout: Option<Duration>,
    }
}

/// Runs the check once.
///
/// # Errors
/// If a parameter makes no sense, or a probe could not be made.
pub fn check(ctx: &Context) -> Result<Report> {
    let params: Params = ctx.params()?;
    let commands = params.commands()?;
    let socket = params.socket.clone().or_else(|| params.address.is_none().then(|| SOCKET.to_owned()));
    let peer = Peer::new(params.address.clone(), socket, params.timeout)?;
    ask(ctx, &peer, &commands).and_then(|answer| params.judge(&answer)).or_else(|stop| stop.report(peer.text()))
}

/// Sends one line of commands, and receives all answers.
fn ask(ctx: &Context, peer: &Peer, commands: &str) -> Talk<String> {
    let mut stream = peer.connect(ctx)?;
    stream.send(commands.as_bytes())?;
    let answer = stream.rest(MAX_ANSWER, "the answer")?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

impl Params {
    /// Asks for `show info`, then the statistics of each frontend, then those of each backend.
    fn commands(&self) -> Result<String> {
        let named = [("frontend", &self.frontend), ("backend", &self.backend)];
        for (param, name) in named.iter().flat_map(|(param, names)| names.iter().map(move |name| (param, name))) {
            // The characters of a name in HAProxy's configuration. Others could start another command.
            if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.:".contains(c)) {
                return Err(Error::new(format!(
                    "parameter `{param}`: expected a name as in HAProxy's configuration, found {name:?}"
                )));
            }
        }
        if self.backend.is_empty() && (self.warn_servers.is_some() || self.per_down.is_some()) {
            return Err(Error::new("parameters `warn_servers` and `per_down` need `backend`: expected its name"));
        }
        if let Some(warn) = self.warn_servers.filter(|warn| *warn < self.servers) {
            let least = self.servers;
            return Err(Error::new(format!(
                "parameter `warn_servers`: expected at least `servers` = {least}, found {warn}"
            )));
        }
        // The numbers select rows: 1 is the frontend itself, 2 the backend, 4 its servers.
        let frontends = self.frontend.iter().map(|name| format!(";show stat {name} 1 -1"));
        let backends = self.backend.iter().map(|name| format!(";show stat {name} 6 -1"));
        Ok(format!("show info{}\n", frontends.chain(backends).collect::<String>()))
    }

    fn judge(&self, answer: &str) -> Talk<Report> {
        let mut blocks = answer::blocks(answer);
        let info = blocks.next().and_then(Info::parse);
        let info = info
            .ok_or_else(|| Stop::fail(format!("expected HAProxy's statistics, found {:?}", answer::excerpt(answer))))?;
        let mut findings = Vec::new();
        if info.stopping {
            findings.push(Finding::new(Verdict::Fail, "is stopping".to_owned()));
        }
        for name in &self.frontend {
            findings.push(frontend(name, &rows(name, blocks.next())?));
        }
        let (mut up, mut all) = (0, 0);
        for name in &self.backend {
            let rows = rows(name, blocks.next())?;
            let servers: Vec<_> = rows.iter().filter(|row| row.is_server()).collect();
            up += servers.iter().filter(|server| server.is_up()).count();
            all += servers.len();
            findings.push(self.backend(name, &rows, &servers));
        }
        let worst = Finding::worst(&findings);
        let texts: Vec<_> = findings.iter().filter(|f| f.verdict == worst).map(|f| f.text.as_str()).collect();
        let found = if texts.is_empty() { "answers".to_owned() } else { texts.join("; ") };
        let mut report = Report::new(worst, format!("HAProxy {}: {found}", info.version));
        if let Some(per_down) = self.per_down {
            let down = i16::try_from(all - up).unwrap_or(i16::MAX);
            report = report.adjust(per_down.saturating_mul(down));
        }
        if !self.backend.is_empty() {
            report = report.metric("servers_up", up as f64, "").metric("servers", all as f64, "");
        }
        Ok(report.metric("connections", info.connections, ""))
    }

    fn backend(&self, name: &str, rows: &[Row], servers: &[&Row]) -> Finding {
        if rows.is_empty() {
            return Finding::new(Verdict::Fail, format!("no backend {name}"));
        }
        let up = servers.iter().filter(|server| server.is_up()).count();
        let down = servers.iter().filter(|server| !server.is_up()).take(5);
        let down: Vec<_> = down.map(|server| format!("{} {}", server.name, server.status)).collect();
        let down = if down.is_empty() { String::new() } else { format!(" ({})", down.join(", ")) };
        let found = format!("{name} has {up} of {} servers up{down}", servers.len());
        let below = |least: u32| u32::try_from(up).is_ok_and(|up| up < least);
        if below(self.servers) {
            Finding::new(Verdict::Fail, format!("{found}, expected at least {}", self.servers))
        } else if let Some(least) = self.warn_servers.filter(|least| below(*least)) {
            Finding::new(Verdict::Warn, format!("{found}, expected at least {least}"))
        } else {
            Finding::new(Verdict::Pass, found)
        }
    }
}

fn frontend(name: &str, rows: &[Row]) -> Finding {
    match rows.iter().find(|row| row.name == "FRONTEND") {
        None => Finding::new(Verdict::Fail, format!("no frontend {name}")),
        Some(row) if row.status == "OPEN" => Finding::new(Verdict::Pass, format!("{name} is open")),
        Some(row) => Finding::new(Verdict::Fail, format!("{name} is {}, expected OPEN", row.status)),
    }
}

/// The rows of a proxy; none if HAProxy does not have it.
fn rows(name: &str, block: Option<&str>) -> Talk<Vec<Row>> {
    let block = block.ok_or_else(|| Stop::fail(format!("the answer ends before {name}")))?;
    if block.trim() == "No such proxy." {
        return Ok(Vec::new());
    }
    answer::rows(block)
        .ok_or_else(|| Stop::fail(format!("expected the statistics of {name}, found {:?}", answer::excerpt(block))))
}

vouchd_check::check!(check, Params);

#[cfg(test)]
mod tests;
