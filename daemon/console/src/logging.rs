//! Logs: to standard error, written by a separate thread, so that a full pipe never delays the protocol.
//!
//! `VOUCHD_LOG` filters (`info`, `debug`, `vouchd_router=debug,warn`, …). `VOUCHD_LOG_FORMAT=json` selects JSON lines; `text`
//! or nothing selects text. Whatever a plugin, a peer, a configuration or a file name puts into a line, it stays one line of
//! plain text.

use std::ffi::OsStr;
use std::fmt;
use std::io::{self, IsTerminal, Write};

use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::{DefaultFields, Format, Json, JsonFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields, MakeWriter, SubscriberBuilder};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use vouchd_printable::printable;

use crate::output::escaped;

/// The target of spans that say what their lines are about. Such a span has one field, and a person reads it before the line:
/// the field `instance = web` as `instance web: `. JSON lines have it in `span`.
pub const SUBJECTS: &str = "vouchd_subject";

/// Lines that wait for the writer. Their places are allocated at the start, 40 bytes each, and locked in the router.
const QUEUE: usize = 4096;

/// Filters that hold whatever `VOUCHD_LOG` says. Nobody wants to read how plugins are compiled. WASI warns about what plugins
/// do, without a limit, so a plugin could flood the log. Without its subject no line can be read alone.
const FIXED: &str = "cranelift_codegen=info,regalloc2=info,wasmtime=info,wasmtime_internal_cranelift=info,\
                     wasmtime_wasi=error,vouchd_subject=error";

/// Starts logging. Dropping the guard writes what is queued.
pub fn start() -> WorkerGuard {
    // Lossy: if nobody reads the logs, lines are dropped, not advertisements.
    let (writer, guard) = NonBlockingBuilder::default().buffered_lines_limit(QUEUE).lossy(true).finish(io::stderr());
    let wanted = std::env::var("VOUCHD_LOG").unwrap_or_else(|_| "info".to_owned());
    let filter = filter(&wanted);
    let wanted = std::env::var_os("VOUCHD_LOG_FORMAT").unwrap_or_default();
    if wanted == "json" {
        json_lines(EscapedLines(writer)).finish().with(filter).init();
        return guard;
    }
    // journald adds the time itself.
    let is_journal = std::env::var_os("JOURNAL_STREAM").is_some();
    let time = (!is_journal).then_some(SystemTime);
    text_lines(writer, time, !is_journal && io::stderr().is_terminal()).finish().with(filter).init();
    if let Some(problem) = format_problem(&wanted) {
        tracing::warn!("{problem}");
    }
    guard
}

/// The filter for a value of `VOUCHD_LOG`: levels, and targets with a level, separated by commas. A mistake in it does not
/// keep the daemon from starting: what can't be read is left out, and `info` is the level if nothing is left.
fn filter(wanted: &str) -> Targets {
    let can_be_read = |directive: &&str| !directive.is_empty() && directive.parse::<Targets>().is_ok();
    let mut wanted: Vec<&str> = wanted.split(',').map(str::trim).filter(can_be_read).collect();
    if wanted.is_empty() {
        wanted.push("info");
    }
    // Each of them can be read, so all together can.
    format!("{FIXED},{}", wanted.join(",")).parse().unwrap_or_default()
}

/// Describes a mistake in `VOUCHD_LOG_FORMAT`. It does not keep the daemon from starting either.
fn format_problem(wanted: &OsStr) -> Option<String> {
    let is_known = wanted.is_empty() || wanted == "json" || wanted == "text";
    (!is_known).then(|| format!("VOUCHD_LOG_FORMAT={}: expected json or text; logging as text", wanted.display()))
}

pub(crate) fn json_lines<W>(writer: W) -> SubscriberBuilder<JsonFields, Format<Json>, LevelFilter, W>
where
    W: for<'w> MakeWriter<'w> + 'static,
{
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .json()
        .with_target(false)
        .with_span_list(false)
        .with_writer(writer)
}

pub(crate) fn text_lines<W>(
    writer: W,
    time: Option<SystemTime>,
    has_colours: bool,
) -> SubscriberBuilder<PlainFields, TextLine, LevelFilter, W>
where
    W: for<'w> MakeWriter<'w> + 'static,
{
    let lines =
        tracing_subscriber::fmt().with_max_level(LevelFilter::TRACE).with_ansi(has_colours).fmt_fields(PlainFields);
    lines.event_format(TextLine { time }).with_writer(writer)
}

/// A line for a person: time, level, subjects, message, fields.
pub(crate) struct TextLine {
    time: Option<SystemTime>,
}

impl<S, N> FormatEvent<S, N> for TextLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let has_colours = writer.has_ansi_escapes();
        let (dim, plain) = if has_colours { ("\x1b[2m", "\x1b[0m") } else { ("", "") };
        if let Some(time) = &self.time {
            writer.write_str(dim)?;
            time.format_time(&mut writer)?;
            write!(writer, "{plain} ")?;
        }
        let level = *event.metadata().level();
        let colour = if has_colours { colour(level) } else { "" };
        write!(writer, "{colour}{level:>5}{plain} ")?;
        for span in context.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            let extensions = span.extensions();
            let fields = extensions.get::<FormattedFields<N>>().filter(|_| span.metadata().target() == SUBJECTS);
            if let Some((kind, name)) = fields.and_then(|fields| fields.fields.split_once('=')) {
                match name.rsplit_once(" family=") {
                    Some((name, family)) => write!(writer, "{kind} {name} ({family}): ")?,
                    None => write!(writer, "{kind} {name}: ")?,
                }
            }
        }
        context.format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

fn colour(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        Level::DEBUG => "\x1b[34m",
        Level::TRACE => "\x1b[35m",
    }
}

/// A line's message and fields, without characters that a terminal or a reader of lines obeys. Only the time and the level
/// have colours.
pub(crate) struct PlainFields;

impl<'w> FormatFields<'w> for PlainFields {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut text = String::new();
        DefaultFields::new().format_fields(Writer::new(&mut text), fields)?;
        writer.write_str(&printable(&text))
    }
}

/// The JSON formatter escapes control characters; this escapes the other characters that a terminal obeys.
struct EscapedLines(NonBlocking);

impl<'w> MakeWriter<'w> for EscapedLines {
    type Writer = EscapedLine;

    fn make_writer(&'w self) -> EscapedLine {
        EscapedLine(self.0.clone())
    }
}

struct EscapedLine(NonBlocking);

impl Write for EscapedLine {
    /// Called once for each line.
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
    use super::*;
    use crate::capture::captured;

    #[test]
    fn unknown_format_is_reported() {
        for (wanted, reported) in [("", false), ("json", false), ("text", false), ("xml", true), ("JSON", true)] {
            let problem = format_problem(OsStr::new(wanted));
            assert_eq!(problem.is_some_and(|it| it.starts_with("VOUCHD_LOG_FORMAT=")), reported, "{wanted}");
        }
    }

    #[test]
    fn line_stays_one_line_whatever_is_in_it() {
        let hostile = "a\nINFO forged\u{1b}[2J\u{202e}b\u{2028}c";
        let log = || {
            let span = tracing::error_span!(target: SUBJECTS, "check", check = %hostile);
            span.in_scope(|| tracing::warn!(plugin = hostile, "plugin {hostile} is gone"));
        };
        let lines = captured(log, |buffer| text_lines(move || buffer.clone(), Some(SystemTime), true).finish());
        let [line] = lines.as_slice() else { panic!("{lines:?}") };
        let line = line.split_once("check a").unwrap().1;
        assert!(!line.contains(vouchd_printable::is_unprintable), "{line:?}");
        assert_eq!(line.matches("INFO forged").count(), 3, "nothing is left out: {line:?}");
    }

    #[test]
    fn subject_is_shown_whatever_the_filter() {
        for filter in ["warn", "vouchd_console=warn", "vouchd_console::logging=error,off"] {
            let filter = super::filter(filter);
            let lines = captured(
                || {
                    let span = tracing::error_span!(target: SUBJECTS, "instance", instance = %"web");
                    span.in_scope(|| tracing::error!("text"));
                },
                |buffer| text_lines(move || buffer.clone(), None, false).finish().with(filter),
            );
            assert_eq!(lines, ["ERROR instance web: text"]);
        }
    }

    #[test]
    fn family_of_a_subject_is_shown_behind_its_name() {
        let log = || {
            let span = tracing::error_span!(target: SUBJECTS, "instance", instance = %"web", family = %"IPv6");
            span.in_scope(|| tracing::error!("text"));
        };
        let lines = captured(log, |buffer| text_lines(move || buffer.clone(), None, false).finish());
        assert_eq!(lines, ["ERROR instance web (IPv6): text"]);
    }

    #[test]
    fn mistake_in_the_filter_leaves_the_rest_of_it() {
        let levels = |wanted: &str| {
            let filter = filter(wanted);
            (filter.default_level(), filter.would_enable("vouchd_router::run", &Level::DEBUG))
        };
        for (wanted, expected) in [
            ("warn", (Some(LevelFilter::WARN), false)),
            ("debug", (Some(LevelFilter::DEBUG), true)),
            ("vouchd_router=debug,warn", (Some(LevelFilter::WARN), true)),
            ("vouchd_router=loud, vouchd_router=debug", (None, true)),
            ("vouchd_router=loud", (Some(LevelFilter::INFO), false)),
            ("", (Some(LevelFilter::INFO), false)),
        ] {
            assert_eq!(levels(wanted), expected, "{wanted}");
        }
        assert!(!filter("trace").would_enable("wasmtime_wasi::p2", &Level::WARN), "plugins could flood the log");
    }
}
