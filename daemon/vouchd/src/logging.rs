//! Logs: to standard error, by a thread of their own, so that a full pipe never holds up a protocol.
//!
//! `VOUCHD_LOG` filters (`info`, `debug`, `vouchd::router=debug,warn`, …), `VOUCHD_LOG_FORMAT=json` makes JSON lines.

use std::io::{self, IsTerminal};

use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::EnvFilter;

/// Starts logging. What is queued is written when the guard is dropped.
pub fn start() -> WorkerGuard {
    // Lossy: when nobody reads the logs, lines are dropped, not advertisements.
    let (writer, guard) = tracing_appender::non_blocking(io::stderr());
    let filter = EnvFilter::try_from_env("VOUCHD_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let format = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_target(false);
    if std::env::var_os("VOUCHD_LOG_FORMAT").is_some_and(|format| format == "json") {
        format.json().init();
    } else if std::env::var_os("JOURNAL_STREAM").is_some() {
        // journald has its own time stamps.
        format.without_time().with_ansi(false).init();
    } else {
        format.with_ansi(io::stderr().is_terminal()).init();
    }
    guard
}
