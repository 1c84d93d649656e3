//! One question to the threads that know: what they answer serves all clients who wait for it.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use vouchd_net::{Notifier, Receiver, channel};

use crate::{protocol, supervisor};

/// How long the threads may take: less than a client waits, so that it hears which of them hangs.
const ANSWER: Duration = Duration::from_millis(600);

/// From one question to the next: the protocol thread has other things to do than to talk about itself.
const PAUSE: Duration = Duration::from_millis(20);

pub struct Round {
    state: State,
    /// When the next one may start.
    next: Instant,
}

enum State {
    Rest,
    Asked { deadline: Instant, protocol: Reply<protocol::Snapshot>, health: Reply<supervisor::Snapshot> },
    Failed(String),
}

enum Reply<T> {
    Expected(Receiver<T>),
    Here(T),
}

type Answer = Result<(protocol::Snapshot, supervisor::Snapshot), String>;

impl Round {
    pub fn new() -> Self {
        Round { state: State::Rest, next: Instant::now() }
    }

    pub fn may_start(&self, now: Instant) -> bool {
        matches!(self.state, State::Rest) && now >= self.next
    }

    /// When to look again if nothing else happens; `wanted`: somebody waits for the next one.
    pub fn deadline(&self, wanted: bool) -> Option<Instant> {
        match &self.state {
            State::Rest => wanted.then_some(self.next),
            State::Asked { deadline, .. } => Some(*deadline),
            State::Failed(_) => Some(self.next),
        }
    }

    /// What to poll.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let expected = match &self.state {
            State::Asked { protocol, health, .. } => [protocol.descriptor(), health.descriptor()],
            State::Rest | State::Failed(_) => [None, None],
        };
        expected.into_iter().flatten()
    }

    pub fn start(
        &mut self,
        now: Instant,
        protocol: &Notifier<protocol::Command>,
        health: &Notifier<supervisor::Command>,
    ) {
        self.next = now + PAUSE;
        self.state = ask(now, protocol, health).unwrap_or_else(State::Failed);
    }

    /// The answer, if there is one by now: `Err` says what is wrong.
    pub fn take(&mut self, now: Instant) -> Option<Answer> {
        match std::mem::replace(&mut self.state, State::Rest) {
            State::Rest => None,
            State::Failed(error) => Some(Err(error)),
            State::Asked { deadline, protocol, health } => match (protocol.look(), health.look()) {
                (Ok(Reply::Here(protocol)), Ok(Reply::Here(health))) => Some(Ok((protocol, health))),
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
    let open = |error: std::io::Error| format!("the router can't look at itself: {error}");
    let (protocol, from_protocol) = channel().map_err(open)?;
    let (health, from_health) = channel().map_err(open)?;
    to_protocol.send(protocol::Command::Snapshot(protocol)).map_err(|_| ended("protocol"))?;
    to_health.send(supervisor::Command::Snapshot(health)).map_err(|_| ended("health"))?;
    let (protocol, health) = (Reply::Expected(from_protocol), Reply::Expected(from_health));
    Ok(State::Asked { deadline: now + ANSWER, protocol, health })
}

fn silent(thread: &str) -> String {
    format!("the {thread} thread of the router does not answer for {:.1} s", ANSWER.as_secs_f64())
}

fn ended(thread: &str) -> String {
    format!("the {thread} thread of the router has ended")
}

/// Nothing can come any more.
struct Ended;

impl<T> Reply<T> {
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Reply::Expected(receiver) => Some(receiver.as_fd()),
            Reply::Here(_) => None,
        }
    }

    fn look(self) -> Result<Self, Ended> {
        match self {
            Reply::Here(value) => Ok(Reply::Here(value)),
            Reply::Expected(receiver) => match receiver.drain() {
                Ok(values) => Ok(values.into_iter().next().map_or(Reply::Expected(receiver), Reply::Here)),
                Err(_) => Err(Ended),
            },
        }
    }
}
