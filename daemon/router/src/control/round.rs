//! One request to the threads that have the answer, for all clients that wait for it.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use vouchd_net::{Notifier, Receiver, channel};

use crate::{protocol, supervisor};

/// The time that the threads have to answer. Less than a client waits, so that it learns which of them hangs.
const ANSWER: Duration = Duration::from_millis(600);

/// Minimum gap between two requests, so that they take little of the protocol thread's time.
const PAUSE: Duration = Duration::from_millis(20);

/// The request underway, if any.
pub(crate) struct Round {
    state: State,
    /// When the next request may start.
    next: Instant,
}

enum State {
    Idle,
    Asked { deadline: Instant, protocol: Reply<protocol::Snapshot>, health: Reply<supervisor::Snapshot> },
    Failed(String),
}

enum Reply<T> {
    Expected(Receiver<T>),
    Received(T),
}

type Answer = Result<(protocol::Snapshot, supervisor::Snapshot), String>;

impl Round {
    pub(crate) fn new() -> Self {
        Round { state: State::Idle, next: Instant::now() }
    }

    pub(crate) fn may_start(&self, now: Instant) -> bool {
        matches!(self.state, State::Idle) && now >= self.next
    }

    /// When to call [`take`](Self::take) or [`start`](Self::start) next. `wanted` says whether a client waits for a request to
    /// start.
    pub(crate) fn deadline(&self, wanted: bool) -> Option<Instant> {
        match &self.state {
            State::Idle => wanted.then_some(self.next),
            State::Asked { deadline, .. } => Some(*deadline),
            State::Failed(_) => Some(self.next),
        }
    }

    /// What to poll.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let expected = match &self.state {
            State::Asked { protocol, health, .. } => [protocol.descriptor(), health.descriptor()],
            State::Idle | State::Failed(_) => [None, None],
        };
        expected.into_iter().flatten()
    }

    /// Sends a request.
    pub(crate) fn start(
        &mut self,
        now: Instant,
        protocol: &Notifier<protocol::Command>,
        health: &Notifier<supervisor::Command>,
    ) {
        self.next = now + PAUSE;
        self.state = ask(now, protocol, health).unwrap_or_else(State::Failed);
    }

    /// The answer, if it is there or overdue. `Err` has the reason why there is none.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Answer> {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Idle => None,
            State::Failed(error) => Some(Err(error)),
            State::Asked { deadline, protocol, health } => match (protocol.poll(), health.poll()) {
                (Ok(Reply::Received(protocol)), Ok(Reply::Received(health))) => Some(Ok((protocol, health))),
                (Err(Ended), _) => Some(Err(ended("protocol"))),
                (_, Err(Ended)) => Some(Err(ended("health"))),
                (Ok(Reply::Expected(_)), Ok(_)) if now >= deadline => Some(Err(silent("protocol"))),
                (Ok(_), Ok(Reply::Expected(_))) if now >= deadline => Some(Err(silent("health"))),
                (Ok(protocol), Ok(health)) => {
                    self.state = State::Asked { deadline, protocol, health };
                    None
                }
            },
        }
    }
}

fn ask(
    now: Instant,
    to_protocol: &Notifier<protocol::Command>,
    to_health: &Notifier<supervisor::Command>,
) -> Result<State, String> {
    let open = |error: std::io::Error| format!("could not ask the router's threads: {error}");
    let (protocol, from_protocol) = channel().map_err(open)?;
    let (health, from_health) = channel().map_err(open)?;
    to_protocol.send(protocol::Command::Snapshot(protocol)).map_err(|_| ended("protocol"))?;
    to_health.send(supervisor::Command::Snapshot(health)).map_err(|_| ended("health"))?;
    let (protocol, health) = (Reply::Expected(from_protocol), Reply::Expected(from_health));
    Ok(State::Asked { deadline: now + ANSWER, protocol, health })
}

fn silent(thread: &str) -> String {
    format!("the {thread} thread of the router has not answered for {:.1} s", ANSWER.as_secs_f64())
}

fn ended(thread: &str) -> String {
    format!("the {thread} thread of the router has ended")
}

/// The thread has ended without an answer.
struct Ended;

impl<T> Reply<T> {
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Reply::Expected(receiver) => Some(receiver.as_fd()),
            Reply::Received(_) => None,
        }
    }

    fn poll(self) -> Result<Self, Ended> {
        match self {
            Reply::Received(value) => Ok(Reply::Received(value)),
            Reply::Expected(receiver) => match receiver.drain() {
                Ok(values) => Ok(values.into_iter().next().map_or(Reply::Expected(receiver), Reply::Received)),
                Err(_) => Err(Ended),
            },
        }
    }
}
