//! The plugins unix, haproxy, redis and systemd, as compiled, against real servers.

#[path = "../common/mod.rs"]
mod common;
mod haproxy;
mod redis;
#[allow(dead_code)] // what only databases need
#[path = "../stores/server.rs"]
mod server;
mod systemd;

use std::time::{Duration, Instant};

use vouchd_config::{Grants, Limits};
use vouchd_health::Verdict;
use vouchd_plugin::{Host, Outcome, Plugin};

use common::{found, report, run_with};

pub type Params<'a> = &'a [(&'a str, &'a str)];

/// A run of a plugin that waits half a second for each answer.
pub async fn checked(host: &Host, plugin: &Plugin, params: Params<'_>, grants: &Grants) -> Outcome {
    let params = [params, &[("timeout", "500ms")]].concat();
    run_with(host, plugin, &params, grants, &Limits::default(), Duration::from_secs(3)).await
}

/// # Panics
/// If the report is another.
pub fn assert_report(outcome: &Outcome, verdict: Verdict, text: &str) {
    let (got, message) = found(outcome);
    assert_eq!(got, verdict, "expected {text:?}: {message}");
    assert!(message.contains(text), "expected {text:?}: {message}");
}

/// Runs again and again until the report is this one, for what a server only finds out after a while.
///
/// # Panics
/// If it never is.
pub async fn until_report(
    host: &Host,
    plugin: &Plugin,
    params: Params<'_>,
    grants: &Grants,
    verdict: Verdict,
    text: &str,
) {
    let started = Instant::now();
    loop {
        let outcome = checked(host, plugin, params, grants).await;
        let is_it = |report: &vouchd_health::Report| report.verdict == verdict && report.message.contains(text);
        if matches!(&outcome.result, vouchd_health::RunResult::Report(report) if is_it(report)) {
            return;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "expected {verdict:?} {text:?}: {:?}", outcome.result);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

pub fn metric(outcome: &Outcome, name: &str) -> Option<f64> {
    report(outcome).metrics.iter().find(|metric| metric.name == name).map(|metric| metric.value)
}

pub fn unix(path: &str) -> Grants {
    Grants { unix: vec![path.parse().unwrap()], ..Grants::default() }
}
