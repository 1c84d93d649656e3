//! Log lines that others can cause: at most one a second for each subject and reason, with a count of those left out. No
//! network, service, plugin or client can fill the log.

use tracing::{Level, Span, error, error_span, info, warn};
use vouchd_console::logging::SUBJECTS;
use vouchd_net::InstanceKey;
use vouchd_vrrp::Time;
use vouchd_vrrp::limit::{LeftOut, Limiter};
use vouchd_wire::Family;

/// What a line is about, as a tracing span: a person reads `instance web: ` before the line, JSON has the span's field
/// `instance`.
///
/// The span is entered to write a line and at no other time, so a packet that logs nothing costs nothing.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    key: (&'static str, String),
    span: Span,
}

impl Subject {
    pub(crate) fn instance(name: &str) -> Self {
        Self::new("instance", name, error_span!(target: SUBJECTS, "instance", instance = %name))
    }

    /// The virtual router of one family of an instance. A reader takes IPv4 for granted.
    pub(crate) fn virtual_router(key: &InstanceKey) -> Self {
        let name = key.as_str();
        match key.family() {
            Family::V4 => Self::instance(name),
            family @ Family::V6 => {
                let span = error_span!(target: SUBJECTS, "instance", instance = %name, family = %family);
                Self::new("instance of IPv6", name, span)
            }
        }
    }

    pub(crate) fn check(name: &str) -> Self {
        Self::new("check", name, error_span!(target: SUBJECTS, "check", check = %name))
    }

    pub(crate) fn plugin(name: &str) -> Self {
        Self::new("plugin", name, error_span!(target: SUBJECTS, "plugin", plugin = %name))
    }

    pub(crate) fn interface(name: &str) -> Self {
        Self::new("interface", name, error_span!(target: SUBJECTS, "interface", interface = %name))
    }

    /// The daemon itself. Its lines have no prefix.
    pub(crate) fn daemon() -> Self {
        Self::new("daemon", "", Span::none())
    }

    fn new(kind: &'static str, name: &str, span: Span) -> Self {
        Subject { key: (kind, name.to_owned()), span }
    }

    /// Runs `log`, whose lines are about this subject.
    pub(crate) fn in_scope(&self, log: impl FnOnce()) {
        self.span.in_scope(log);
    }
}

/// A line of the log.
#[derive(Debug)]
pub(crate) struct Line {
    level: Level,
    subject: Subject,
    change: Option<(String, String)>,
    text: String,
}

/// The lines that share a limit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Reason {
    subject: (&'static str, String),
    reason: &'static str,
    /// Empty for an event.
    state: String,
}

/// Writes lines with a limit for each subject and reason.
#[derive(Default)]
pub(crate) struct Log {
    limiter: Limiter<Reason, Line>,
}

impl Log {
    /// Logs an event.
    pub(crate) fn event(&mut self, now: Time, reason: &'static str, line: Line) {
        self.admit(now, Reason { subject: line.subject.key.clone(), reason, state: String::new() }, line);
    }

    /// Logs the state that something is in now. Each state has its own limit, and a suppressed line about an earlier state is
    /// dropped: it is out of date.
    pub(crate) fn state(&mut self, now: Time, reason: &'static str, state: &str, line: Line) {
        let this = Reason { subject: line.subject.key.clone(), reason, state: state.to_owned() };
        self.limiter.drop_pending(|other| other.subject == this.subject && other.reason == this.reason);
        self.admit(now, this, line);
    }

    /// Writes the newest suppressed line of each reason whose second is over. Call it about once a second.
    pub(crate) fn write_overdue(&mut self, now: Time) {
        for (line, left_out) in self.limiter.overdue(now) {
            line.write(left_out);
        }
    }

    fn admit(&mut self, now: Time, reason: Reason, line: Line) {
        if let Some((line, left_out)) = self.limiter.admit(now, reason, line) {
            line.write(left_out);
        }
    }
}

impl Line {
    pub(crate) fn info(subject: &Subject, text: String) -> Self {
        Line { level: Level::INFO, subject: subject.clone(), change: None, text }
    }

    pub(crate) fn warn(subject: &Subject, text: String) -> Self {
        Line { level: Level::WARN, subject: subject.clone(), change: None, text }
    }

    pub(crate) fn error(subject: &Subject, text: String) -> Self {
        Line { level: Level::ERROR, subject: subject.clone(), change: None, text }
    }

    /// Adds the old and the new state as fields.
    pub(crate) fn change(self, from: &str, to: &str) -> Self {
        Line { change: Some((from.to_owned(), to.to_owned())), ..self }
    }

    /// Writes the line without a limit, because its cause is limited already.
    pub(crate) fn write(&self, left_out: LeftOut) {
        let Line { level, subject, change, text } = self;
        let (from, to) = change.as_ref().map(|(from, to)| (from.as_str(), to.as_str())).unzip();
        subject.in_scope(|| match *level {
            Level::ERROR => error!(from, to, "{text}{left_out}"),
            Level::WARN => warn!(from, to, "{text}{left_out}"),
            _ => info!(from, to, "{text}{left_out}"),
        });
    }
}

#[cfg(test)]
mod tests {
    use vouchd_console::capture;

    use super::*;

    fn at(milliseconds: u64) -> Time {
        Time::from_nanos((5_000 + milliseconds) * 1_000_000)
    }

    #[test]
    fn line_is_logged_once_a_second_for_each_subject_and_reason_with_a_count() {
        let lines = capture::text(|| {
            let mut log = Log::default();
            let (web, eth0) = (Subject::instance("web"), Subject::interface("eth0"));
            for millisecond in 0..2_500 {
                log.event(at(millisecond), "send", Line::warn(&web, format!("no buffer {millisecond}")));
                log.event(at(millisecond), "socket", Line::error(&eth0, "none".to_owned()));
                log.write_overdue(at(millisecond));
            }
        });
        let of_web: Vec<_> = lines.iter().filter(|line| line.contains("no buffer")).collect();
        assert_eq!((of_web.len(), lines.len()), (3, 6), "{lines:?}");
        assert_eq!(of_web[1], " WARN instance web: no buffer 1000 (and 999 more in the last 1 s)");
        assert_eq!(lines.iter().filter(|line| *line == "ERROR interface eth0: none").count(), 1, "{lines:?}");
    }

    #[test]
    fn last_line_about_something_that_flaps_has_its_current_state() {
        for last in 1..20 {
            let lines = capture::text(|| {
                let mut log = Log::default();
                let web = Subject::instance("web");
                for turn in 0..=last {
                    let state = if turn % 2 == 0 { "pass" } else { "fail" };
                    log.state(at(turn * 170), "verdict", state, Line::info(&web, state.to_owned()));
                    log.write_overdue(at(turn * 170));
                }
                log.write_overdue(at(last * 170 + 1_000));
                log.write_overdue(at(last * 170 + 2_000));
            });
            let expected = if last % 2 == 0 { "pass" } else { "fail" };
            assert!(lines.last().unwrap().contains(expected), "{lines:?}");
            assert!(lines.len() as u64 <= 2 * (last * 170 / 1_000 + 2), "{lines:?}");
        }
    }

    #[test]
    fn change_and_subject_are_fields() {
        let log = || {
            let line = Line::info(&Subject::instance("web"), "text".to_owned()).change("pass", "fail");
            line.write(LeftOut::default());
            Line::info(&Subject::daemon(), "started".to_owned()).write(LeftOut::default());
        };
        let lines = capture::text(log);
        assert_eq!(lines, [" INFO instance web: text from=\"pass\" to=\"fail\"", " INFO started"]);
        let documents = capture::json(log);
        assert_eq!(documents[0]["fields"], serde_json::json!({ "message": "text", "from": "pass", "to": "fail" }));
        assert_eq!(documents[0]["span"], serde_json::json!({ "name": "instance", "instance": "web" }));
        assert!(documents[1].get("span").is_none(), "{documents:?}");
    }
}
