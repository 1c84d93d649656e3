//! Between this crate's types and those generated from the contract. Nothing here is for plugins to call; the macro
//! [`check!`](crate::check) does.

use std::time::Duration;

use crate::context::{Context, Host, Level};
use crate::error::{ProbeError, Result};
use crate::probes::{HttpRequest, HttpResponse, Process, ProcessQuery, TcpReply, TcpRequest};
use crate::report::{Report, Verdict};

#[allow(clippy::all, clippy::undocumented_unsafe_blocks)]
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
use vouchd::check::{http, log, memo, process, tcp, types};

/// A text as the bytes of a static.
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

/// One call of the daemon.
pub fn run(raw: RawContext, check: fn(&Context) -> Result<Report>) -> std::result::Result<RawReport, String> {
    // The daemon sees only a trap; the last error line tells it why.
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
struct Daemon;

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
            &request.addr,
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
            max_body_bytes: request.max_body,
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

/// 0 stands for no wish.
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
