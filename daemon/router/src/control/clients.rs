//! Those who are connected to the control socket: each writes a line, waits for its answer, and reads it.
//!
//! Whoever does nothing must not keep others out. A user has so many places; when they are taken, the one goes who has
//! been idle for longest. Nobody is waited for.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags};
use nix::sys::socket::{getsockopt, sockopt};

/// Clients that one user may have at the same time.
pub const PER_USER: usize = 32;

/// Clients of all users together.
const ALL: usize = 128;

/// How long a client may take to write its line, and to read its answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// The longest line that is read.
const LINE: usize = 256;

/// Names a client as long as it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Id(u64);

/// A client's line.
pub type Request = String;

#[derive(Debug, Default)]
pub struct Clients {
    /// The oldest first.
    clients: Vec<Client>,
    next: u64,
}

#[derive(Debug)]
struct Client {
    id: Id,
    stream: UnixStream,
    user: u32,
    state: State,
}

#[derive(Debug)]
enum State {
    /// It has not written its line yet.
    Idle {
        until: Instant,
        line: Vec<u8>,
    },
    /// It has, and nobody has been asked for the answer.
    Asking,
    /// Somebody has been asked.
    Waiting,
    Reading {
        until: Instant,
        document: Arc<[u8]>,
        at: usize,
    },
}

/// What became of a client that was looked at.
enum Progress {
    Stays,
    Asks(Request),
    Ends,
}

impl Clients {
    /// A new client. When there are too many it takes the place of another.
    pub fn add(&mut self, now: Instant, stream: UnixStream) {
        // Who can't be known has gone already.
        let Ok(peer) = getsockopt(&stream, sockopt::PeerCredentials) else { return };
        if stream.set_nonblocking(true).is_err() {
            return;
        }
        let user = peer.uid();
        if self.of(user) >= PER_USER {
            self.make_room(user);
        } else if self.clients.len() >= ALL {
            let users = self.clients.iter().map(|client| client.user);
            if let Some(greediest) = users.max_by_key(|user| self.of(*user)) {
                self.make_room(greediest);
            }
        }
        let id = Id(self.next);
        self.next += 1;
        let state = State::Idle { until: now + PATIENCE, line: Vec::new() };
        self.clients.push(Client { id, stream, user, state });
    }

    fn of(&self, user: u32) -> usize {
        self.clients.iter().filter(|client| client.user == user).count()
    }

    /// The user's oldest idle client goes; if none is idle, its oldest.
    fn make_room(&mut self, user: u32) {
        let idle = self.clients.iter().position(|client| client.user == user && client.is_idle());
        let goes = idle.or_else(|| self.clients.iter().position(|client| client.user == user));
        goes.map(|at| self.clients.remove(at));
    }

    /// The oldest idle client goes. False if there is none.
    pub fn drop_idle(&mut self) -> bool {
        let idle = self.clients.iter().position(Client::is_idle);
        idle.map(|at| self.clients.remove(at)).is_some()
    }

    /// What to poll.
    pub fn descriptors(&self) -> impl Iterator<Item = PollFd<'_>> {
        self.clients.iter().map(|client| PollFd::new(client.stream.as_fd(), client.waits_for()))
    }

    /// When the next one's patience ends.
    pub fn deadline(&self) -> Option<Instant> {
        self.clients.iter().filter_map(Client::until).min()
    }

    /// Reads and writes what there is, and drops those that have ended or taken too long. Returns what was asked.
    pub fn serve(&mut self, now: Instant) -> Vec<(Id, Request)> {
        let mut requests = Vec::new();
        self.clients.retain_mut(|client| match client.advance() {
            Progress::Ends => false,
            Progress::Stays => client.until().is_none_or(|until| now < until),
            Progress::Asks(request) => {
                client.state = State::Asking;
                requests.push((client.id, request));
                true
            }
        });
        requests
    }

    /// Whether somebody asks whose answer nobody has been asked for.
    pub fn are_asking(&self) -> bool {
        self.clients.iter().any(|client| matches!(client.state, State::Asking))
    }

    /// All who ask wait for the answer that is being asked for.
    pub fn wait(&mut self) {
        for client in self.clients.iter_mut().filter(|client| matches!(client.state, State::Asking)) {
            client.state = State::Waiting;
        }
    }

    /// This document is the answer to all who wait.
    pub fn answer_waiting(&mut self, now: Instant, document: &Arc<[u8]>) {
        for client in self.clients.iter_mut().filter(|client| matches!(client.state, State::Waiting)) {
            client.answer(now, document);
        }
    }

    /// This document is the answer to one.
    pub fn answer(&mut self, now: Instant, id: Id, document: &Arc<[u8]>) {
        self.clients.iter_mut().filter(|client| client.id == id).for_each(|client| client.answer(now, document));
    }
}

impl Client {
    fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle { .. })
    }

    fn until(&self) -> Option<Instant> {
        match self.state {
            State::Idle { until, .. } | State::Reading { until, .. } => Some(until),
            // Whoever was asked has a deadline.
            State::Asking | State::Waiting => None,
        }
    }

    fn waits_for(&self) -> PollFlags {
        match self.state {
            State::Idle { .. } => PollFlags::POLLIN,
            // Only for the client's end.
            State::Asking | State::Waiting => PollFlags::empty(),
            State::Reading { .. } => PollFlags::POLLOUT,
        }
    }

    fn answer(&mut self, now: Instant, document: &Arc<[u8]>) {
        self.state = State::Reading { until: now + PATIENCE, document: Arc::clone(document), at: 0 };
    }

    fn advance(&mut self) -> Progress {
        let advanced = match &mut self.state {
            State::Idle { line, .. } => read_line(&self.stream, line),
            State::Asking | State::Waiting => {
                return if is_gone(&self.stream) { Progress::Ends } else { Progress::Stays };
            }
            State::Reading { document, at, .. } => write_rest(&self.stream, document, at),
        };
        match advanced {
            Ok(progress) => progress,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Progress::Stays,
            Err(_) => Progress::Ends,
        }
    }
}

fn read_line(mut stream: &UnixStream, line: &mut Vec<u8>) -> io::Result<Progress> {
    let mut buffer = [0; LINE];
    let length = stream.read(&mut buffer)?;
    line.extend(buffer.iter().take(length));
    match line.iter().position(|byte| *byte == b'\n') {
        Some(end) => Ok(Progress::Asks(String::from_utf8_lossy(line.get(..end).unwrap_or_default()).trim().to_owned())),
        None if length == 0 || line.len() >= LINE => Ok(Progress::Ends),
        None => Ok(Progress::Stays),
    }
}

fn write_rest(mut stream: &UnixStream, document: &[u8], at: &mut usize) -> io::Result<Progress> {
    loop {
        let rest = document.get(*at..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(Progress::Ends);
        }
        *at += stream.write(rest)?;
    }
}

/// Whether the other end is closed, both ways: one that only stopped writing still reads.
fn is_gone(stream: &UnixStream) -> bool {
    let mut fds = [PollFd::new(stream.as_fd(), PollFlags::empty())];
    let polled = nix::poll::poll(&mut fds, nix::poll::PollTimeout::ZERO);
    polled.is_ok_and(|_| fds.iter().any(|fd| fd.revents().is_some_and(|events| events.contains(PollFlags::POLLHUP))))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bench {
        clients: Clients,
        start: Instant,
    }

    impl Bench {
        fn new() -> Self {
            Bench { clients: Clients::default(), start: Instant::now() }
        }

        /// Our end of a new client.
        fn connect(&mut self) -> UnixStream {
            let (ours, theirs) = UnixStream::pair().unwrap();
            self.clients.add(self.start, theirs);
            ours.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            ours
        }

        fn requests(&mut self) -> Vec<Request> {
            self.clients.serve(self.start).into_iter().map(|(_, request)| request).collect()
        }
    }

    fn said(mut stream: UnixStream) -> String {
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn idle_clients_make_room_for_one_that_asks() {
        let mut bench = Bench::new();
        let mut asking = bench.connect();
        asking.write_all(b"status\n").unwrap();
        assert_eq!(bench.requests(), ["status"]);
        let idle: Vec<_> = (0..1_500).map(|_| bench.connect()).collect();
        assert_eq!(bench.clients.clients.len(), PER_USER);
        bench.clients.wait();
        bench.clients.answer_waiting(bench.start, &b"{}\n".as_slice().into());
        assert_eq!(bench.requests(), [""; 0]);
        assert_eq!(said(asking), "{}\n");
        drop(idle);
    }

    #[test]
    fn a_line_may_come_in_pieces_and_a_long_one_ends_the_client() {
        let mut bench = Bench::new();
        let (mut slow, mut long) = (bench.connect(), bench.connect());
        slow.write_all(b"sta").unwrap();
        long.write_all(&[b'x'; 300]).unwrap();
        assert_eq!(bench.requests(), [""; 0]);
        slow.write_all(b"tus\nmore").unwrap();
        assert_eq!(bench.requests(), ["status"]);
        assert_eq!(bench.clients.clients.len(), 1, "the long one is gone");
    }

    #[test]
    fn a_client_that_does_nothing_is_dropped_in_the_end_and_one_that_has_gone_at_once() {
        let mut bench = Bench::new();
        let (_idle, mut gone) = (bench.connect(), bench.connect());
        gone.write_all(b"status\n").unwrap();
        assert_eq!(bench.requests(), ["status"]);
        drop(gone);
        assert_eq!(bench.requests(), [""; 0]);
        assert_eq!(bench.clients.clients.len(), 1);
        assert_eq!(bench.clients.deadline(), Some(bench.start + PATIENCE));
        bench.start += PATIENCE;
        assert_eq!(bench.requests(), [""; 0]);
        assert!(bench.clients.clients.is_empty());
    }

    #[test]
    fn an_answer_larger_than_the_sockets_buffer_goes_out_as_it_is_read() {
        let mut bench = Bench::new();
        let mut client = bench.connect();
        client.write_all(b"status\n").unwrap();
        let [(id, _)] = bench.clients.serve(bench.start).try_into().unwrap();
        let document: Arc<[u8]> = vec![b'x'; 4 << 20].into();
        bench.clients.answer(bench.start, id, &document);
        let reader = std::thread::spawn(move || said(client).len());
        while !bench.clients.clients.is_empty() {
            bench.requests();
        }
        assert_eq!(reader.join().unwrap(), document.len());
    }
}
