//! Logs: to standard error, by a thread of their own, so that a full pipe never holds up a protocol.
//!
//! `VOUCHD_LOG` filters (`info`, `debug`, `vouchd::router=debug,warn`, …), `VOUCHD_LOG_FORMAT=json` makes JSON lines.

use std::io::{self, IsTerminal};

use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::EnvFilter;

/// Even at `debug`, nobody wants to read how plugins are compiled. And what WASI warns of is a plugin's doing, as often as it
/// likes: that would be a way to write past its limits.
const LIBRARIES: &str =
    "cranelift_codegen=info,regalloc2=info,wasmtime=info,wasmtime_internal_cranelift=info,wasmtime_wasi=error";

/// Starts logging. What is queued is written when the guard is dropped.
pub fn start() -> WorkerGuard {
    // Lossy: when nobody reads the logs, lines are dropped, not advertisements.
    let (writer, guard) = tracing_appender::non_blocking(io::stderr());
    let wanted = std::env::var("VOUCHD_LOG").unwrap_or_else(|_| "info".to_owned());
    // A mistake in it must not keep the daemon from starting.
    let filter = EnvFilter::builder().parse_lossy(format!("{LIBRARIES},{wanted}"));
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
