//! The plugins that ship, as compiled, against real servers.

#[path = "../common/mod.rs"]
mod common;

mod haproxy;
mod mariadb;
mod postgresql;
mod redis;
mod scripts;
mod server;
mod systemd;

use std::time::{Duration, Instant};

use common::{Params, run_with};
use vouchd_config::{Grants, Limits};
use vouchd_health::{Report, RunResult, Verdict};
use vouchd_plugin::{Host, Outcome, Plugin};

/// The password of the checks' database users; no outcome may show it.
const PASSWORD: &str = "zürich'9\\x";

/// A run of a plugin that waits half a second for each answer.
///
/// # Panics
/// If the outcome shows a password.
async fn checked(host: &Host, plugin: &Plugin, params: Params<'_>, grants: &Grants) -> Outcome {
    let params = [params, &[("timeout", "500ms")]].concat();
    let outcome = run_with(host, plugin, &params, grants, &Limits::default(), Duration::from_secs(3)).await;
    assert!(!format!("{outcome:?}").contains("zürich"), "the password shows: {outcome:?}");
    outcome
}

/// Runs until the report is this one, for what a server notices only after a while.
///
/// # Panics
/// If it never is.
async fn until_report(host: &Host, plugin: &Plugin, params: Params<'_>, grants: &Grants, verdict: Verdict, text: &str) {
    let started = Instant::now();
    loop {
        let outcome = checked(host, plugin, params, grants).await;
        let is_it = |report: &Report| report.verdict == verdict && report.message.contains(text);
        if matches!(&outcome.result, RunResult::Report(report) if is_it(report)) {
            return;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "expected {verdict:?} {text:?}: {:?}", outcome.result);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn unix(path: &str) -> Grants {
    Grants { unix: vec![path.parse().unwrap()], ..Grants::default() }
}
