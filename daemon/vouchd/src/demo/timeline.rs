//! The timeline: prints the events of all parts of the demo, sorted by time.

use std::fmt;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use super::topology::{INTERFACE, NodeId, VIRTUAL};

/// How long an event is held back for an earlier one that is still on its way.
const HOLD: Duration = Duration::from_millis(200);

/// Where an event was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Demo,
    Client,
    Node(NodeId),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Demo => "demo",
            Self::Client => "client",
            Self::Node(node) => node.name(),
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    Note(String),
    /// The client gets answers from this node again; the duration since the last answer. `None` for the first answer.
    Answers(NodeId, Option<Duration>),
    /// The client gets no more answers, and why.
    Silent(String),
    /// The virtual address was added to a node, or removed.
    Holds(bool),
    /// The first process of a node has ended.
    Died,
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Note(text) => f.write_str(text),
            Self::Answers(node, None) => write!(f, "{node} answers"),
            Self::Answers(node, Some(gap)) => {
                write!(f, "{node} answers, {} after the last answer", Span(*gap))
            }
            Self::Silent(why) => write!(f, "no answer: {why}"),
            Self::Holds(true) => write!(f, "kernel: {VIRTUAL} added to {INTERFACE}"),
            Self::Holds(false) => write!(f, "kernel: {VIRTUAL} removed from {INTERFACE}"),
            Self::Died => f.write_str("the node is gone"),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) at: Instant,
    pub(crate) place: Place,
    pub(crate) what: What,
}

impl Event {
    pub(crate) fn now(place: Place, what: What) -> Self {
        Self { at: Instant::now(), place, what }
    }
}

/// A duration in milliseconds or seconds.
pub(crate) struct Span(pub Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < Duration::from_secs(1) {
            write!(f, "{} ms", self.0.as_millis())
        } else {
            write!(f, "{:.2} s", self.0.as_secs_f64())
        }
    }
}

/// Prints events in order, each a little after it happened.
pub(crate) struct Timeline<W = io::Stdout> {
    start: Instant,
    waiting: Vec<Event>,
    out: W,
}

impl<W: Write> Timeline<W> {
    pub(crate) fn new(start: Instant, mut out: W) -> io::Result<Self> {
        writeln!(out, "{:>8}  {:<6}  what", "time", "where")?;
        Ok(Self { start, waiting: Vec::new(), out })
    }

    pub(crate) fn add(&mut self, event: Event) {
        let place = self.waiting.partition_point(|earlier| earlier.at <= event.at);
        self.waiting.insert(place, event);
    }

    /// Prints the events that no earlier event can precede any more.
    pub(crate) fn show(&mut self, now: Instant) -> io::Result<()> {
        let ripe = self.waiting.partition_point(|event| event.at + HOLD <= now);
        self.print(ripe)
    }

    /// Prints all remaining events.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        self.print(self.waiting.len())
    }

    fn print(&mut self, count: usize) -> io::Result<()> {
        for Event { at, place, what } in self.waiting.drain(..count) {
            let time = at.saturating_duration_since(self.start).as_secs_f64();
            // It may contain a check's message.
            let what = what.to_string();
            writeln!(self.out, "{:>8}  {place:<6}  {}", format!("+{time:.3}s"), vouchd_printable::printable(&what))?;
        }
        self.out.flush()
    }
}

/// The message of a line of the daemon's log. `None` if it is too detailed for the timeline.
pub(crate) fn log_line(line: &str) -> Option<String> {
    let Ok(Value::Object(record)) = serde_json::from_str(line) else {
        return Some(line.to_owned());
    };
    let level = match record.get("level").and_then(Value::as_str) {
        Some("DEBUG" | "TRACE") => return None,
        Some("ERROR") => "error: ",
        Some("WARN") => "warning: ",
        _ => "",
    };
    let message = record.get("fields")?.get("message")?.as_str()?;
    Some(format!("{level}{}{message}", subject(&record).unwrap_or_default()))
}

/// What the line is about, `check web: `: the field of its span that has the span's name.
fn subject(record: &Map<String, Value>) -> Option<String> {
    let span = record.get("span")?;
    let kind = span.get("name")?.as_str()?;
    Some(format!("{kind} {}: ", span.get(kind)?.as_str()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_printed_by_time_even_if_they_arrive_late() {
        let start = Instant::now();
        let mut out = Vec::new();
        let mut timeline = Timeline::new(start, &mut out).unwrap();
        for (millis, text) in [(20, "second"), (10, "first"), (500, "third")] {
            timeline.add(Event {
                at: start + Duration::from_millis(millis),
                place: Place::Client,
                what: What::Note(text.to_owned()),
            });
        }
        timeline.show(start + HOLD + Duration::from_millis(20)).unwrap();
        assert_eq!(timeline.waiting.len(), 1, "the third may still be preceded");
        timeline.finish().unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "    time  where   what\n\
             \u{20}+0.010s  client  first\n\
             \u{20}+0.020s  client  second\n\
             \u{20}+0.500s  client  third\n"
        );
    }

    #[test]
    fn log_line_is_shown_as_its_message_and_a_level_that_matters() {
        let cases = [
            (r#"{"level":"INFO","fields":{"message":"active","instance":"demo"}}"#, Some("active")),
            (r#"{"level":"WARN","fields":{"message":"no memory lock","code":1}}"#, Some("warning: no memory lock")),
            (r#"{"level":"DEBUG","fields":{"message":"sent"}}"#, None),
            (
                r#"{"level":"INFO","fields":{"message":"pass"},"span":{"check":"web","name":"check"}}"#,
                Some("check web: pass"),
            ),
            ("thread panicked", Some("thread panicked")),
        ];
        for (line, expected) in cases {
            assert_eq!(log_line(line).as_deref(), expected, "{line}");
        }
    }
}
