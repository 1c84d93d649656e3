//! Logs: to standard error, by a thread of their own, so that a full pipe never holds up a protocol.
//!
//! `VOUCHD_LOG` filters (`info`, `debug`, `vouchd::router=debug,warn`, …), `VOUCHD_LOG_FORMAT=json` makes JSON lines, `text` or nothing
//! makes text. Whatever a
//! plugin, a peer, a configuration or a file's name puts into a line, it stays one line of plain text.

use std::ffi::OsStr;
use std::fmt;
use std::io::{self, IsTerminal, Write};

use tracing_appender::non_blocking::{NonBlocking, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::{DefaultFields, Writer};
use tracing_subscriber::fmt::{FormatFields, MakeWriter};
use vouchd_printable::printable;

use crate::output::escaped;

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
    let format = tracing_subscriber::fmt().with_env_filter(filter).with_target(false);
    let wanted = std::env::var_os("VOUCHD_LOG_FORMAT").unwrap_or_default();
    if wanted == "json" {
        format.json().with_writer(JsonLines(writer)).init();
        return guard;
    }
    let format = format.with_writer(writer).fmt_fields(PlainFields);
    if std::env::var_os("JOURNAL_STREAM").is_some() {
        // journald has its own time stamps.
        format.without_time().with_ansi(false).init();
    } else {
        format.with_ansi(io::stderr().is_terminal()).init();
    }
    if let Some(problem) = format_problem(&wanted) {
        tracing::warn!("{problem}");
    }
    guard
}

/// A mistake in it does not keep the daemon from starting either.
fn format_problem(wanted: &OsStr) -> Option<String> {
    let is_known = wanted.is_empty() || wanted == "json" || wanted == "text";
    (!is_known).then(|| format!("VOUCHD_LOG_FORMAT={}: expected json or text; this is text", wanted.display()))
}

/// A line's text and fields, without anything that a terminal or a reader of lines would obey. The time and the level, which
/// are ours, may have colours.
struct PlainFields;

impl<'w> FormatFields<'w> for PlainFields {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut text = String::new();
        DefaultFields::new().format_fields(Writer::new(&mut text), fields)?;
        writer.write_str(&printable(&text))
    }
}

/// JSON escapes control characters by itself; what else would be obeyed is escaped here.
struct JsonLines(NonBlocking);

impl<'w> MakeWriter<'w> for JsonLines {
    type Writer = JsonLine;

    fn make_writer(&'w self) -> JsonLine {
        JsonLine(self.0.clone())
    }
}

struct JsonLine(NonBlocking);

impl Write for JsonLine {
    /// Is called once for each line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match std::str::from_utf8(line) {
            Ok(text) => self.0.write_all(escaped(text).as_bytes())?,
            Err(_) => self.0.write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_unknown_format_is_told() {
        for (wanted, told) in [("", false), ("json", false), ("text", false), ("xml", true), ("JSON", true)] {
            let problem = format_problem(OsStr::new(wanted));
            assert_eq!(problem.is_some_and(|it| it.starts_with("VOUCHD_LOG_FORMAT=")), told, "{wanted}");
        }
    }

    #[test]
    fn a_line_stays_a_line_whatever_is_in_it() {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let format = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_target(false).without_time();
        tracing::subscriber::with_default(format.with_ansi(true).fmt_fields(PlainFields).finish(), || {
            let hostile = "a\nINFO forged\u{1b}[2J\u{202e}b\u{2028}c";
            tracing::warn!(plugin = hostile, "plugin {hostile} is gone");
        });
        let bytes = buffer.0.lock().unwrap().clone();
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(text.lines().count(), 1, "{text:?}");
        let line = text.split_once("plugin a").unwrap().1.trim_end();
        assert!(!line.contains(vouchd_printable::is_unprintable), "{line:?}");
        assert!(line.contains("INFO forged"), "nothing is left out: {line:?}");
    }
}
