//! Attempts to reach something that was not granted, grant by grant. A guest here passes only if it got in; listeners prove
//! that nothing arrived.

mod addresses;
mod files;
mod names;
mod processes;
mod server;
mod system;
mod urls;

use std::fmt::Write as _;
use std::time::Duration;

use crate::common::run_with;
use vouchd_config::{Grants, Limits};
use vouchd_health::{RunResult, Verdict};
use vouchd_plugin::{Host, Outcome};

fn escape(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, b| {
        let _ = write!(out, "\\{b:02x}");
        out
    })
}

/// Passes only if the call wrote 0 ("ok") at 60000.
const UNLESS_OK: &str = "(if (i32.load8_u (i32.const 60000)) (then (i32.store8 (i32.const 1028) (i32.const 2))))";

/// Data for a text at this address, and its pointer and length.
fn placed(at: u32, text: &str) -> (String, String) {
    (format!("(data (i32.const {at}) \"{}\")", escape(text)), format!("(i32.const {at}) (i32.const {})", text.len()))
}

async fn attempt(host: &Host, grants: &Grants, bytes: &[u8]) -> Outcome {
    let plugin = host.load(bytes).expect("the attempt's module");
    run_with(host, &plugin, &[], grants, &Limits::default(), Duration::from_secs(1)).await
}

/// The reason of an error, or the first probe's answer if the plugin reported a verdict.
fn said(outcome: &Outcome) -> String {
    match &outcome.result {
        RunResult::Error { reason } => reason.clone(),
        RunResult::Report(report) if report.verdict == Verdict::Pass => "GOT IN".to_owned(),
        RunResult::Report(_) => outcome.probes.first().map_or_else(String::new, |probe| probe.answer.clone()),
        RunResult::TimedOut { .. } => "timed out".to_owned(),
    }
}
