//! The client: fetches a page from the virtual address every 10 ms, without waiting for earlier fetches to end, and records
//! the result of each.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, connect, socket};

use super::timeline::{Event, Place, What};
use super::topology::{NodeId, VIRTUAL};

/// Interval between two fetches.
pub(crate) const EVERY: Duration = Duration::from_millis(10);
/// A fetch without an answer after this time has failed.
const TIMEOUT: Duration = Duration::from_millis(500);
/// The largest answer in bytes. Those of the demo's web servers are much smaller.
const MAX_ANSWER: usize = 4096;

/// A fetch that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fetch {
    pub(crate) sent: Instant,
    /// The node that answered, and when. `None` if the fetch failed.
    pub(crate) answer: Option<(NodeId, Instant)>,
}

/// All fetches so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Record(Arc<Mutex<Vec<Fetch>>>);

impl Record {
    pub(crate) fn fetches(&self) -> Vec<Fetch> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn add(&self, fetch: Fetch) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(fetch);
    }
}

/// Starts a thread that fetches until the process ends.
pub(crate) fn start(events: Sender<Event>) -> Record {
    let record = Record::default();
    let mut client = Client { open: Vec::new(), view: View::new(), record: record.clone(), events };
    thread::spawn(move || client.run());
    record
}

struct Client {
    open: Vec<Open>,
    view: View,
    record: Record,
    events: Sender<Event>,
}

/// A fetch that is in progress.
struct Open {
    sent: Instant,
    stream: TcpStream,
    stage: Stage,
}

enum Stage {
    Connecting,
    Reading(Vec<u8>),
}

/// How a fetch ended.
enum End {
    Answered(NodeId),
    Failed(String),
}

impl Client {
    fn run(&mut self) {
        let mut next = Instant::now();
        loop {
            let now = Instant::now();
            if next <= now {
                match Open::start(now) {
                    Ok(open) => self.open.push(open),
                    Err(error) => self.ended(now, now, End::Failed(error.to_string())),
                }
                // After a stall, missed fetches are skipped.
                next = (next + EVERY).max(now);
            }
            self.wait(next.saturating_duration_since(now));
            self.progress();
        }
    }

    fn wait(&self, limit: Duration) {
        let mut waiting: Vec<_> =
            self.open.iter().map(|open| PollFd::new(open.stream.as_fd(), open.interest())).collect();
        // Rounded up, so that the loop does not spin through the last millisecond.
        let millis = limit.as_micros().div_ceil(1000);
        let limit = PollTimeout::try_from(millis).unwrap_or(PollTimeout::ZERO);
        // An interrupted wait only ends early.
        let _ = poll(&mut waiting, limit);
    }

    fn progress(&mut self) {
        for mut open in std::mem::take(&mut self.open) {
            let end = open.progress();
            let now = Instant::now();
            match end {
                Some(end) => self.ended(open.sent, now, end),
                None if now >= open.sent + TIMEOUT => {
                    let why = format!("timed out after {} ms", TIMEOUT.as_millis());
                    self.ended(open.sent, now, End::Failed(why));
                }
                None => self.open.push(open),
            }
        }
    }

    fn ended(&mut self, sent: Instant, now: Instant, end: End) {
        let answer = match &end {
            End::Answered(node) => Some((*node, now)),
            End::Failed(_) => None,
        };
        self.record.add(Fetch { sent, answer });
        if let Some(what) = self.view.update(sent, now, end) {
            let _ = self.events.send(Event { at: now, place: Place::Client, what });
        }
    }
}

impl Open {
    fn start(now: Instant) -> io::Result<Self> {
        let socket: OwnedFd =
            socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC, None)?;
        let server = SockaddrIn::from(SocketAddrV4::new(VIRTUAL, 80));
        match connect(socket.as_raw_fd(), &server) {
            Ok(()) | Err(Errno::EINPROGRESS) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(Self { sent: now, stream: TcpStream::from(socket), stage: Stage::Connecting })
    }

    fn interest(&self) -> PollFlags {
        match self.stage {
            Stage::Connecting => PollFlags::POLLOUT,
            Stage::Reading(_) => PollFlags::POLLIN,
        }
    }

    /// Goes on as far as possible without blocking.
    fn progress(&mut self) -> Option<End> {
        match self.step() {
            Ok(end) => end,
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => Some(End::Failed(describe(&error))),
        }
    }

    fn step(&mut self) -> io::Result<Option<End>> {
        if let Stage::Connecting = self.stage {
            if let Some(error) = self.stream.take_error()? {
                return Err(error);
            }
            match write!(self.stream, "GET / HTTP/1.1\r\nHost: {VIRTUAL}\r\nConnection: close\r\n\r\n") {
                Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(None),
                result => result?,
            }
            self.stage = Stage::Reading(Vec::new());
        }
        let Stage::Reading(answer) = &mut self.stage else {
            return Ok(None);
        };
        let mut buffer = [0; 1024];
        loop {
            match self.stream.read(&mut buffer)? {
                0 => return Ok(Some(understand(answer))),
                length => answer.extend_from_slice(&buffer[..length]),
            }
            if answer.len() > MAX_ANSWER {
                return Ok(Some(End::Failed("the answer is too long".to_owned())));
            }
        }
    }
}

fn understand(answer: &[u8]) -> End {
    let text = String::from_utf8_lossy(answer);
    let body = text
        .starts_with("HTTP/1.1 200 ")
        .then(|| text.split_once("\r\n\r\n"))
        .flatten()
        .map_or("", |(_, body)| body.trim_end());
    match NodeId::named(body) {
        Some(node) => End::Answered(node),
        None => End::Failed("the answer is not from a node".to_owned()),
    }
}

/// The error without its number.
fn describe(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        ErrorKind::ConnectionReset => "connection reset".to_owned(),
        ErrorKind::HostUnreachable => "host unreachable".to_owned(),
        _ => error.to_string(),
    }
}

/// Turns fetches into the few events that are worth a line. Failures before the first answer are not.
#[derive(Debug)]
struct View {
    /// The last fetch that was answered.
    last: Option<Answered>,
    silent: bool,
}

#[derive(Debug, Clone, Copy)]
struct Answered {
    by: NodeId,
    sent: Instant,
    at: Instant,
}

impl View {
    fn new() -> Self {
        Self { last: None, silent: true }
    }

    fn update(&mut self, sent: Instant, now: Instant, end: End) -> Option<What> {
        match end {
            End::Answered(by) => {
                let last = self.last.replace(Answered { by, sent, at: now });
                let was_silent = std::mem::take(&mut self.silent);
                match last {
                    Some(last) if last.by == by && !was_silent => None,
                    Some(last) => Some(What::Answers(by, Some(now - last.at))),
                    None => Some(What::Answers(by, None)),
                }
            }
            End::Failed(why) => {
                // A fetch may time out after a later one was answered. That is not worth a line.
                let overtaken = self.last.is_some_and(|last| last.sent > sent);
                if self.silent || overtaken {
                    return None;
                }
                self.silent = true;
                Some(What::Silent(why))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_changes_are_reported_and_a_late_failure_is_not_a_change() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let failed = || End::Failed("refused".to_owned());
        let silent = Some(What::Silent("refused".to_owned()));
        let mut view = View::new();
        let steps = [
            (0, 1, failed(), None),
            (20, 21, End::Answered(NodeId::A), Some(What::Answers(NodeId::A, None))),
            (30, 31, End::Answered(NodeId::A), None),
            (40, 41, failed(), silent),
            (45, 46, failed(), None),
            (60, 61, End::Answered(NodeId::B), Some(What::Answers(NodeId::B, Some(Duration::from_millis(30))))),
            (50, 550, failed(), None),
        ];
        for (sent, now, end, expected) in steps {
            assert_eq!(view.update(at(sent), at(now), end), expected, "sent at {sent}");
        }
    }

    #[test]
    fn answer_counts_only_if_it_is_from_a_node() {
        let page = |status, body| format!("HTTP/1.1 {status}\r\nX: y\r\n\r\n{body}\n").into_bytes();
        for (answer, by) in [
            (page("200 OK", "node-b"), Some(NodeId::B)),
            (page("500 Oops", "node-b"), None),
            (page("200 OK", "router"), None),
            (Vec::new(), None),
        ] {
            let found = match understand(&answer) {
                End::Answered(node) => Some(node),
                End::Failed(_) => None,
            };
            assert_eq!(found, by, "{}", String::from_utf8_lossy(&answer));
        }
    }
}
