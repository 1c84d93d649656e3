//! The plugins of databases, as compiled, against real servers.

#[path = "../common/mod.rs"]
mod common;
mod mariadb;
mod postgresql;
mod server;

use std::time::Duration;

use vouchd_config::{Grants, Limits};
use vouchd_health::Verdict;
use vouchd_plugin::{Host, Outcome, Plugin};

use common::{found, run_with};

pub type Params<'a> = &'a [(&'a str, &'a str)];

/// The password of the checks' users; it must never be seen.
pub const PASSWORD: &str = "zürich'9\\x";

/// A run of a plugin that waits half a second for each answer.
pub async fn checked(host: &Host, plugin: &Plugin, params: Params<'_>, grants: &Grants) -> Outcome {
    let params = [params, &[("timeout", "500ms")]].concat();
    let outcome = run_with(host, plugin, &params, grants, &Limits::default(), Duration::from_secs(3)).await;
    assert!(!format!("{outcome:?}").contains("zürich"), "the password shows: {outcome:?}");
    outcome
}

/// # Panics
/// If the report is another.
pub fn assert_report(outcome: &Outcome, verdict: Verdict, text: &str) {
    let (got, message) = found(outcome);
    assert_eq!(got, verdict, "expected {text:?}: {message}");
    assert!(message.contains(text), "expected {text:?}: {message}");
}
