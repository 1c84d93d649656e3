//! Log lines that others can cause: each at most once a second for each subject and reason, with a count of what was left
//! out. Whatever the network, a service, a plugin or a client does, it can't fill the log.

use tracing::{Level, error, info, warn};
use vouchd_vrrp::Time;
use vouchd_vrrp::limit::{LeftOut, Limiter};

/// What a line is about; a field of the line, too.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    Instance(String),
    Check(String),
    Plugin(String),
    Interface(String),
    /// The daemon itself.
    Daemon,
}

/// A line of the log.
#[derive(Debug)]
pub struct Line {
    level: Level,
    subject: Subject,
    change: Option<(String, String)>,
    text: String,
}

/// What is the same for the limit. Of a reason that has states, only the newest line is worth telling late.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Reason {
    subject: Subject,
    reason: &'static str,
    state: String,
}

#[derive(Default)]
pub struct Log {
    limiter: Limiter<Reason, Line>,
}

impl Log {
    /// Writes the line, now or, if others of its subject and reason come after it within a second, never.
    pub fn say(&mut self, now: Time, reason: &'static str, line: Line) {
        self.pass(now, Reason { subject: line.subject.clone(), reason, state: String::new() }, line);
    }

    /// The same for a line that says which `state` something is in now, of which each has its own second. A line about
    /// another one that was left out is no news any more.
    pub fn say_state(&mut self, now: Time, reason: &'static str, state: &str, line: Line) {
        let this = Reason { subject: line.subject.clone(), reason, state: state.to_owned() };
        self.limiter.drop_pending(|other| other.subject == this.subject && other.reason == this.reason);
        self.pass(now, this, line);
    }

    /// Writes what was left out, where its time has come. To be called about once a second.
    pub fn overdue(&mut self, now: Time) {
        for (line, left_out) in self.limiter.overdue(now) {
            line.write(left_out);
        }
    }

    fn pass(&mut self, now: Time, reason: Reason, line: Line) {
        if let Some((line, left_out)) = self.limiter.admit(now, reason, line) {
            line.write(left_out);
        }
    }
}

impl Line {
    pub fn info(subject: Subject, text: String) -> Self {
        Line { level: Level::INFO, subject, change: None, text }
    }

    pub fn warn(subject: Subject, text: String) -> Self {
        Line { level: Level::WARN, subject, change: None, text }
    }

    pub fn error(subject: Subject, text: String) -> Self {
        Line { level: Level::ERROR, subject, change: None, text }
    }

    /// With what changed as fields of its own.
    pub fn change(self, from: &str, to: &str) -> Self {
        Line { change: Some((from.to_owned(), to.to_owned())), ..self }
    }

    /// Writes it without a limit: what is limited already.
    pub fn write(&self, left_out: LeftOut) {
        let Line { level, subject, change, text } = self;
        let (instance, check, plugin, interface) = match subject {
            Subject::Instance(name) => (Some(name.as_str()), None, None, None),
            Subject::Check(name) => (None, Some(name.as_str()), None, None),
            Subject::Plugin(name) => (None, None, Some(name.as_str()), None),
            Subject::Interface(name) => (None, None, None, Some(name.as_str())),
            Subject::Daemon => (None, None, None, None),
        };
        let (from, to) = change.as_ref().map(|(from, to)| (from.as_str(), to.as_str())).unzip();
        match *level {
            Level::ERROR => error!(instance, check, plugin, interface, from, to, "{text}{left_out}"),
            Level::WARN => warn!(instance, check, plugin, interface, from, to, "{text}{left_out}"),
            _ => info!(instance, check, plugin, interface, from, to, "{text}{left_out}"),
        }
    }
}

#[cfg(test)]
pub mod tests {
    use std::io::{self, Write};
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

    /// The lines that `run` logs.
    pub fn logged(run: impl FnOnce()) -> Vec<String> {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let format = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).without_time();
        tracing::subscriber::with_default(format.with_target(false).finish(), run);
        let bytes = buffer.0.lock().unwrap();
        String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect()
    }

    fn at(milliseconds: u64) -> Time {
        Time::from_nanos((5_000 + milliseconds) * 1_000_000)
    }

    fn web() -> Subject {
        Subject::Instance("web".to_owned())
    }

    #[test]
    fn a_line_is_told_once_a_second_for_each_subject_and_reason_with_a_count() {
        let lines = logged(|| {
            let mut log = Log::default();
            for millisecond in 0..2_500 {
                log.say(at(millisecond), "send", Line::warn(web(), format!("no buffer {millisecond}")));
                log.say(
                    at(millisecond),
                    "socket",
                    Line::error(Subject::Interface("eth0".to_owned()), "none".to_owned()),
                );
                log.overdue(at(millisecond));
            }
        });
        let of_web: Vec<_> = lines.iter().filter(|line| line.contains("no buffer")).collect();
        assert_eq!((of_web.len(), lines.len()), (3, 6), "{lines:?}");
        assert!(of_web[1].contains("no buffer 1000 (and 999 more in the last 1 s)"), "{of_web:?}");
        assert!(of_web[1].contains("WARN") && of_web[1].contains("instance=\"web\""), "{of_web:?}");
    }

    #[test]
    fn the_last_line_about_something_that_flaps_says_what_it_is_now() {
        for last in 1..20 {
            let lines = logged(|| {
                let mut log = Log::default();
                for turn in 0..=last {
                    let state = if turn % 2 == 0 { "pass" } else { "fail" };
                    log.say_state(at(turn * 170), "verdict", state, Line::info(web(), state.to_owned()));
                    log.overdue(at(turn * 170));
                }
                log.overdue(at(last * 170 + 1_000));
                log.overdue(at(last * 170 + 2_000));
            });
            let expected = if last % 2 == 0 { "pass" } else { "fail" };
            assert!(lines.last().unwrap().contains(expected), "{lines:?}");
            assert!(lines.len() as u64 <= 2 * (last * 170 / 1_000 + 2), "{lines:?}");
        }
    }

    #[test]
    fn a_change_has_fields_of_its_own() {
        let lines = logged(|| Line::info(web(), "text".to_owned()).change("pass", "fail").write(LeftOut::default()));
        assert!(lines[0].contains("from=\"pass\"") && lines[0].contains("to=\"fail\""), "{lines:?}");
        assert!(!lines[0].contains("check"), "{lines:?}");
    }
}
