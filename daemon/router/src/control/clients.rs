//! The clients of the control socket: each writes a line, waits for its answer, and reads it.
//!
//! Idle clients must not keep others out, so the number of clients of each user is limited, and a new one replaces the one
//! that has been idle for longest. Nothing here waits for a client.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags};
use nix::sys::socket::{getsockopt, sockopt};

/// Maximum number of clients of one user.
pub(crate) const PER_USER: usize = 32;

/// Maximum number of clients of all users together.
const ALL: usize = 128;

/// The time that a client has to write its line, and again to read its answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Maximum length of a line in bytes.
const LINE: usize = 256;

/// Identifies a client while it is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Id(u64);

/// A client's line.
pub(crate) type Request = String;

/// All connected clients.
#[derive(Debug, Default)]
pub(crate) struct Clients {
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
    /// The client has not written its line yet.
    Idle { until: Instant, line: Vec<u8> },
    /// The client has written its line; the answer has not been requested from the threads yet.
    Asking,
    /// The answer has been requested.
    Waiting,
    /// The client reads its answer.
    Reading { until: Instant, document: Arc<[u8]>, at: usize },
}

/// The result of serving a client.
enum Progress {
    Stays,
    Asks(Request),
    Ends,
}

impl Clients {
    /// Adds a client. If there are too many, it replaces another.
    pub(crate) fn add(&mut self, now: Instant, stream: UnixStream) {
        // Fails only if the client has gone already.
        let Ok(peer) = getsockopt(&stream, sockopt::PeerCredentials) else { return };
        if stream.set_nonblocking(true).is_err() {
            return;
        }
        let user = peer.uid();
        if self.count_of(user) >= PER_USER {
            self.make_room(user);
        } else if self.clients.len() >= ALL {
            let users = self.clients.iter().map(|client| client.user);
            if let Some(greediest) = users.max_by_key(|user| self.count_of(*user)) {
                self.make_room(greediest);
            }
        }
        let id = Id(self.next);
        self.next += 1;
        let state = State::Idle { until: now + PATIENCE, line: Vec::new() };
        self.clients.push(Client { id, stream, user, state });
    }

    fn count_of(&self, user: u32) -> usize {
        self.clients.iter().filter(|client| client.user == user).count()
    }

    /// Drops the user's oldest idle client, or if none is idle, its oldest.
    fn make_room(&mut self, user: u32) {
        let idle = self.clients.iter().position(|client| client.user == user && client.is_idle());
        let goes = idle.or_else(|| self.clients.iter().position(|client| client.user == user));
        goes.map(|at| self.clients.remove(at));
    }

    /// Drops the oldest idle client. Returns false if there is none.
    pub(crate) fn drop_idle(&mut self) -> bool {
        let idle = self.clients.iter().position(Client::is_idle);
        idle.map(|at| self.clients.remove(at)).is_some()
    }

    /// What to poll.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = PollFd<'_>> {
        self.clients.iter().map(|client| PollFd::new(client.stream.as_fd(), client.waits_for()))
    }

    /// When the next client times out.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.clients.iter().filter_map(Client::until).min()
    }

    /// Reads and writes without waiting, and drops clients that have ended or timed out. Returns the new requests.
    pub(crate) fn serve(&mut self, now: Instant) -> Vec<(Id, Request)> {
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

    /// Whether there are clients whose answer has not been requested yet.
    pub(crate) fn are_asking(&self) -> bool {
        self.clients.iter().any(|client| matches!(client.state, State::Asking))
    }

    /// Marks the answer of all of these as requested.
    pub(crate) fn mark_waiting(&mut self) {
        for client in self.clients.iter_mut().filter(|client| matches!(client.state, State::Asking)) {
            client.state = State::Waiting;
        }
    }

    /// Sends the answer to all clients that wait.
    pub(crate) fn answer_waiting(&mut self, now: Instant, document: &Arc<[u8]>) {
        for client in self.clients.iter_mut().filter(|client| matches!(client.state, State::Waiting)) {
            client.answer(now, document);
        }
    }

    /// Sends an answer to one client.
    pub(crate) fn answer(&mut self, now: Instant, id: Id, document: &Arc<[u8]>) {
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
            // The request to the threads has a deadline.
            State::Asking | State::Waiting => None,
        }
    }

    fn waits_for(&self) -> PollFlags {
        match self.state {
            State::Idle { .. } => PollFlags::POLLIN,
            // Only the client's end wakes.
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

/// Whether the other end is closed both ways. A client that only stopped writing still reads.
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

        /// The client's end of a new connection.
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

    fn answer_to(mut stream: UnixStream) -> String {
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn idle_clients_do_not_displace_one_that_waits() {
        let mut bench = Bench::new();
        let mut asking = bench.connect();
        asking.write_all(b"status\n").unwrap();
        assert_eq!(bench.requests(), ["status"]);
        let idle: Vec<_> = (0..1_500).map(|_| bench.connect()).collect();
        assert_eq!(bench.clients.clients.len(), PER_USER);
        bench.clients.mark_waiting();
        bench.clients.answer_waiting(bench.start, &b"{}\n".as_slice().into());
        assert_eq!(bench.requests(), [""; 0]);
        assert_eq!(answer_to(asking), "{}\n");
        drop(idle);
    }

    #[test]
    fn line_may_arrive_in_pieces_and_a_long_one_ends_the_client() {
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
    fn idle_client_times_out_and_one_that_has_gone_is_dropped_at_once() {
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
    fn answer_larger_than_the_socket_buffer_is_sent_as_the_client_reads() {
        let mut bench = Bench::new();
        let mut client = bench.connect();
        client.write_all(b"status\n").unwrap();
        let [(id, _)] = bench.clients.serve(bench.start).try_into().unwrap();
        let document: Arc<[u8]> = vec![b'x'; 4 << 20].into();
        bench.clients.answer(bench.start, id, &document);
        let reader = std::thread::spawn(move || answer_to(client).len());
        while !bench.clients.clients.is_empty() {
            bench.requests();
        }
        assert_eq!(reader.join().unwrap(), document.len());
    }
}
