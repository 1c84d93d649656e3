//! A client that fetches `http://VIP/` every 10 ms, each time on a new connection.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::ensure;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, Socket, Type};

use crate::background::{Background, Running};
use crate::outage::{Fetch, outage};
use crate::site::{Node, Site, VIP};
use crate::wait::until;

/// Time between the starts of two fetches.
pub const PERIOD: Duration = Duration::from_millis(10);

/// A fetch that takes longer has failed. Far below the kernel's first retransmission (1 s), so that a fetch begun during
/// an outage never succeeds after it.
const TIMEOUT: Duration = Duration::from_millis(200);

/// A client that fetches until it is dropped.
#[derive(Debug)]
pub struct Client {
    fetches: Arc<Mutex<Vec<Fetch>>>,
    _thread: Background,
}

impl Client {
    /// Starts fetching from the virtual address, and waits until the service works.
    ///
    /// # Errors
    /// If it does not within 5 s.
    pub fn start(site: &Site) -> anyhow::Result<Self> {
        let fetches = Arc::new(Mutex::new(Vec::new()));
        let to = Arc::clone(&fetches);
        let thread = Background::start(site.host(Node::Client), "the client", move |running| {
            running.ready();
            fetch_all(VIP, &to, running);
        })?;
        let client = Self { fetches, _thread: thread };
        client.wait_for_service()?;
        Ok(client)
    }

    /// Waits until twenty fetches in a row have succeeded that began after this call.
    ///
    /// # Errors
    /// If they have not within 5 s.
    pub fn wait_for_service(&self) -> anyhow::Result<()> {
        let since = Instant::now();
        until("twenty successful fetches in a row", Duration::from_secs(5), || {
            let mut fetches = self.since(since);
            fetches.sort_by_key(|fetch| std::cmp::Reverse(fetch.start));
            fetches.len() >= 20 && fetches.iter().take(20).all(|fetch| fetch.result.is_ok())
        })
    }

    fn since(&self, since: Instant) -> Vec<Fetch> {
        let fetches = self.fetches.lock().expect("no thread panics with it");
        fetches.iter().filter(|fetch| fetch.start >= since).cloned().collect()
    }

    /// The longest time without service after `since`; see [`outage`].
    pub fn outage_since(&self, since: Instant) -> Duration {
        // A fetch still in flight has no result yet; what began before it has one.
        let fetches = self.fetches.lock().expect("no thread panics with it").clone();
        outage(&fetches, PERIOD, since)
    }

    /// Prints the longest time without service after `since`.
    ///
    /// # Errors
    /// If it is above `limit`.
    pub fn outage_at_most(&self, what: &str, limit: Duration, since: Instant) -> anyhow::Result<()> {
        let outage = self.outage_since(since);
        println!("{what}: out of service for {:.3} s", outage.as_secs_f64());
        ensure!(outage <= limit, "{what}: out of service for {outage:?}, at most {limit:?} is allowed");
        Ok(())
    }
}

/// A fetch in flight.
struct Flight {
    start: Instant,
    socket: Socket,
    /// `None` while connecting.
    answer: Option<Vec<u8>>,
}

enum Progress {
    Waiting,
    Done(Result<String, String>),
}

impl Flight {
    fn start(to: Ipv4Addr) -> Result<Self, String> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).map_err(|e| e.to_string())?;
        socket.set_nonblocking(true).map_err(|e| e.to_string())?;
        let start = Instant::now();
        match socket.connect(&SocketAddrV4::new(to, 80).into()) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error.to_string()),
            Ok(()) | Err(_) => Ok(Self { start, socket, answer: None }),
        }
    }

    fn waits_for(&self) -> PollFlags {
        if self.answer.is_some() { PollFlags::POLLIN } else { PollFlags::POLLOUT }
    }

    fn advance(&mut self) -> Progress {
        match self.try_advance() {
            Ok(progress) => progress,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Progress::Waiting,
            Err(error) => Progress::Done(Err(error.to_string())),
        }
    }

    fn try_advance(&mut self) -> std::io::Result<Progress> {
        let Some(answer) = &mut self.answer else {
            if let Some(error) = self.socket.take_error()? {
                return Err(error);
            }
            self.socket.write_all(b"GET / HTTP/1.0\r\nHost: site\r\nConnection: close\r\n\r\n")?;
            self.answer = Some(Vec::new());
            return Ok(Progress::Waiting);
        };
        let mut buffer = [0; 4096];
        loop {
            match self.socket.read(&mut buffer)? {
                0 => return Ok(Progress::Done(body(answer))),
                length => answer.extend(&buffer[..length]),
            }
        }
    }
}

fn body(answer: &[u8]) -> Result<String, String> {
    let text = String::from_utf8_lossy(answer);
    let status = text.split_whitespace().nth(1).unwrap_or("no status");
    if status != "200" {
        return Err(format!("HTTP {status}"));
    }
    Ok(text.split_once("\r\n\r\n").map_or("", |(_, body)| body.trim()).to_owned())
}

fn fetch_all(to: Ipv4Addr, fetches: &Mutex<Vec<Fetch>>, running: &Running) {
    let record = |start: Instant, result| {
        let fetch = Fetch { start, took: start.elapsed(), result };
        fetches.lock().expect("no thread panics with it").push(fetch);
    };
    let mut flights: Vec<Flight> = Vec::new();
    let mut next = Instant::now();
    while running.goes_on() {
        let now = Instant::now();
        if now >= next {
            match Flight::start(to) {
                Ok(flight) => flights.push(flight),
                Err(error) => record(now, Err(error)),
            }
            // After a stall of the test itself the client does not make up for lost time.
            next = (next + PERIOD).max(now);
        }
        let mut descriptors: Vec<_> =
            flights.iter().map(|flight| PollFd::new(flight.socket.as_fd(), flight.waits_for())).collect();
        let pause = next.saturating_duration_since(Instant::now()).as_millis();
        let _ = poll(&mut descriptors, PollTimeout::try_from(pause).unwrap_or(PollTimeout::ZERO));
        let ready: Vec<bool> = descriptors.iter().map(|fd| fd.any().unwrap_or(false)).collect();
        let mut ready = ready.into_iter();
        flights.retain_mut(|flight| {
            let progress = if ready.next().unwrap_or(false) {
                flight.advance()
            } else if flight.start.elapsed() > TIMEOUT {
                Progress::Done(Err("timed out".to_owned()))
            } else {
                Progress::Waiting
            };
            match progress {
                Progress::Waiting => true,
                Progress::Done(result) => {
                    record(flight.start, result);
                    false
                }
            }
        });
    }
}
