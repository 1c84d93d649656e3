//! Converts between this crate's types and those generated from the contract. For the macro [`check!`](crate::check) only; not
//! part of the public interface.

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::context::{Context, Host, Level};
use crate::error::{ProbeError, Result};
use crate::probes::{
    Address, Certificate, Connection, FileInfo, FileKind, HttpRequest, HttpResponse, Link, Process, ProcessQuery,
    Space, TcpReply, TcpRequest, Wire,
};
use crate::report::{Report, Verdict};

#[allow(clippy::all, clippy::undocumented_unsafe_blocks, missing_docs, unreachable_pub)]
mod generated {
    wit_bindgen::generate!({
        path: "../wit",
        world: "plugin",
        pub_export_macro: true,
        export_macro_name: "export",
        default_bindings_module: "vouchd_check::bindings",
    });
}

pub use generated::*;

pub use exports::vouchd::check::checker::{Context as RawContext, Guest};
pub use vouchd::check::types::Report as RawReport;
use vouchd::check::{clock, dns, files, http, log, memo, network, process, stream, tcp, types};

/// Makes the bytes of a static from a text.
pub const fn bytes<const N: usize>(text: &str) -> [u8; N] {
    let text = text.as_bytes();
    let mut bytes = [0; N];
    let mut i = 0;
    while i < N {
        bytes[i] = text[i];
        i += 1;
    }
    bytes
}

/// Runs the check once, for one call of the daemon.
pub fn run(raw: RawContext, check: fn(&Context) -> Result<Report>) -> std::result::Result<RawReport, String> {
    // All the daemon sees of a panic is a trap; it takes the reason from the last error line.
    std::panic::set_hook(Box::new(|info| log::log(log::Level::Error, &info.to_string())));
    let budget = Duration::from_millis(u64::from(raw.budget_ms));
    let context = Context::new(raw.name, raw.params, budget, &Daemon);
    check(&context).map(raw_report).map_err(|error| error.to_string())
}

fn raw_report(report: Report) -> RawReport {
    RawReport {
        verdict: match report.verdict {
            Verdict::Pass => types::Verdict::Pass,
            Verdict::Warn => types::Verdict::Warn,
            Verdict::Fail => types::Verdict::Fail,
            Verdict::Fault => types::Verdict::Fault,
        },
        message: report.message,
        adjust: report.adjust,
        metrics: report
            .metrics
            .into_iter()
            .map(|m| types::Metric { name: m.name, value: m.value, unit: m.unit })
            .collect(),
    }
}

/// The daemon that runs the plugin.
pub struct Daemon;

impl Host for Daemon {
    fn find_processes(&self, query: &ProcessQuery) -> Result<Vec<Process>, ProbeError> {
        let query = process::Query {
            name: query.name.clone(),
            cmdline: query.cmdline.clone(),
            pid_file: query.pid_file.clone(),
            user: query.user.clone(),
        };
        let found = process::find(&query)?;
        Ok(found
            .into_iter()
            .map(|p| Process { pid: p.pid, name: p.name, age: Duration::from_millis(p.age_ms) })
            .collect())
    }

    fn tcp(&self, request: &TcpRequest) -> Result<TcpReply, ProbeError> {
        let reply = tcp::probe(
            &request.address,
            &request.send,
            request.until.as_deref(),
            request.max_bytes,
            milliseconds(request.timeout),
        )?;
        Ok(TcpReply { connect: Duration::from_micros(reply.connect_us), data: reply.data })
    }

    fn http(&self, request: &HttpRequest) -> Result<HttpResponse, ProbeError> {
        let response = http::fetch(&http::Request {
            method: request.method.clone(),
            url: request.url.clone(),
            headers: request.headers.clone(),
            body: request.body.clone(),
            timeout_ms: milliseconds(request.timeout),
            max_body_bytes: request.max_body_bytes,
            tls_verify: request.tls_verify,
            sni: request.sni.clone(),
            follow_redirects: request.follow_redirects,
            reuse_connection: request.reuse_connection,
        })?;
        Ok(HttpResponse {
            status: response.status,
            headers: response.headers,
            body: response.body,
            total: Duration::from_micros(response.total_us),
        })
    }

    fn stat(&self, path: &str) -> Result<Option<FileInfo>, ProbeError> {
        Ok(files::stat(path)?.map(|found| FileInfo {
            kind: match found.kind {
                files::Kind::File => FileKind::File,
                files::Kind::Directory => FileKind::Directory,
                files::Kind::Other => FileKind::Other,
            },
            size: found.size,
            age: Duration::from_millis(found.age_ms),
        }))
    }

    fn read(&self, path: &str, max_bytes: u32) -> Result<Option<Vec<u8>>, ProbeError> {
        Ok(files::read(path, max_bytes)?)
    }

    fn space(&self, path: &str) -> Result<Space, ProbeError> {
        let found = files::space(path)?;
        Ok(Space {
            total: found.total,
            available: found.available,
            inodes: found.inodes,
            inodes_available: found.inodes_available,
        })
    }

    fn resolve(&self, name: &str, timeout: Option<Duration>) -> Result<Vec<IpAddr>, ProbeError> {
        dns::resolve(name, milliseconds(timeout))?.iter().map(|text| ip(text)).collect()
    }

    fn links(&self) -> Result<Vec<Link>, ProbeError> {
        let found = network::links()?;
        Ok(found.into_iter().map(|l| Link { name: l.name, up: l.up, carrier: l.carrier }).collect())
    }

    fn addresses(&self) -> Result<Vec<Address>, ProbeError> {
        let found = network::addresses()?;
        found.into_iter().map(|a| Ok(Address { ip: ip(&a.ip)?, link: a.link, prefix: a.prefix })).collect()
    }

    fn connect_tcp(&self, address: &str, timeout: Option<Duration>) -> Result<Connection, ProbeError> {
        Ok(Connection::new(stream::connect_tcp(address, milliseconds(timeout))?))
    }

    fn connect_unix(&self, path: &str, timeout: Option<Duration>) -> Result<Connection, ProbeError> {
        Ok(Connection::new(stream::connect_unix(path, milliseconds(timeout))?))
    }

    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(clock::now())
    }

    fn log(&self, level: Level, message: &str) {
        let level = match level {
            Level::Debug => log::Level::Debug,
            Level::Info => log::Level::Info,
            Level::Warn => log::Level::Warn,
            Level::Error => log::Level::Error,
        };
        log::log(level, message);
    }

    fn recall(&self) -> Vec<u8> {
        memo::get()
    }

    fn remember(&self, data: &[u8]) {
        memo::set(data);
    }
}

impl Wire for stream::Connection {
    fn send(&mut self, data: &[u8]) -> Result<(), ProbeError> {
        Ok(stream::Connection::send(self, data)?)
    }

    fn receive(
        &mut self,
        until: Option<&[u8]>,
        max_bytes: u32,
        timeout: Option<Duration>,
    ) -> Result<Vec<u8>, ProbeError> {
        Ok(stream::Connection::receive(self, until, max_bytes, milliseconds(timeout))?)
    }

    fn start_tls(
        &mut self,
        server_name: &str,
        verify: bool,
        timeout: Option<Duration>,
    ) -> Result<Certificate, ProbeError> {
        let shown = stream::Connection::start_tls(self, server_name, verify, milliseconds(timeout))?;
        Ok(Certificate {
            subject: shown.subject,
            issuer: shown.issuer,
            names: shown.names,
            not_before: unix_time(shown.not_before),
            not_after: unix_time(shown.not_after),
            problem: shown.problem,
            protocol: shown.protocol,
        })
    }
}

fn ip(text: &str) -> Result<IpAddr, ProbeError> {
    text.parse().map_err(|_| ProbeError::Other(format!("the daemon sent {text:?} for an address")))
}

fn unix_time(seconds: i64) -> SystemTime {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let time = if seconds < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) };
    time.unwrap_or(UNIX_EPOCH)
}

/// The contract's form of a timeout: 0 is what the run has left.
fn milliseconds(time: Option<Duration>) -> u32 {
    time.map_or(0, |t| u32::try_from(t.as_millis()).unwrap_or(u32::MAX).max(1))
}

impl From<types::ProbeError> for ProbeError {
    fn from(error: types::ProbeError) -> Self {
        match error {
            types::ProbeError::Denied(text) => ProbeError::Denied(text),
            types::ProbeError::Timeout => ProbeError::Timeout,
            types::ProbeError::Refused => ProbeError::Refused,
            types::ProbeError::Unresolved => ProbeError::Unresolved,
            types::ProbeError::Tls(text) => ProbeError::Tls(text),
            types::ProbeError::Invalid(text) => ProbeError::Invalid(text),
            types::ProbeError::Other(text) => ProbeError::Other(text),
        }
    }
}
