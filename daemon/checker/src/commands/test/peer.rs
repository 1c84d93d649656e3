//! The other side of a scripted run's probes: a small server on a port of its own, and a port that refuses connections.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, getsockname, socket};
use vouchd_config::script::Peer;

/// No connection is kept for longer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Of a request.
const LONGEST_LINE: u64 = 64 << 10;

/// Both ports, for as long as this lives.
pub struct Peers {
    server: SocketAddr,
    closed: SocketAddr,
    behaviour: Arc<Mutex<Peer>>,
    /// Bound and not listening: it refuses, and nobody else gets the port.
    _refusing: OwnedFd,
}

impl Peers {
    /// # Errors
    /// When there is no loopback, or no free port.
    pub fn start() -> anyhow::Result<Peers> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listening on loopback")?;
        let (refusing, closed) = refusing_port().context("binding on loopback")?;
        let server = listener.local_addr()?;
        let behaviour = Arc::new(Mutex::new(Peer::Silent));
        let now = Arc::clone(&behaviour);
        // It ends with the process.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let peer = now.lock().unwrap_or_else(PoisonError::into_inner).clone();
                // A plugin that hangs up is what some tests are about.
                thread::spawn(move || serve(&stream, &peer));
            }
        });
        Ok(Peers { server, closed, behaviour, _refusing: refusing })
    }

    /// What stands for the ports in a script.
    pub fn words(&self) -> [(&'static str, String); 2] {
        [("peer", self.server.to_string()), ("closed", self.closed.to_string())]
    }

    /// For all connections from now on.
    pub fn behave(&self, peer: &Peer) {
        self.behaviour.lock().unwrap_or_else(PoisonError::into_inner).clone_from(peer);
    }
}

fn refusing_port() -> nix::Result<(OwnedFd, SocketAddr)> {
    let refusing = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    bind(refusing.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0))?;
    let bound: SockaddrIn = getsockname(refusing.as_raw_fd())?;
    Ok((refusing, SocketAddr::from((bound.ip(), bound.port()))))
}

fn serve(stream: &TcpStream, peer: &Peer) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut out = stream;
    match peer {
        Peer::Silent => {}
        Peer::Sends(text) => {
            out.write_all(text.as_bytes())?;
            stream.shutdown(Shutdown::Write)?;
        }
        Peer::Http { status, body } => {
            for line in BufReader::new(stream.take(LONGEST_LINE)).lines() {
                if line?.is_empty() {
                    break;
                }
            }
            let length = body.len();
            write!(out, "HTTP/1.1 {status} Test\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")?;
            stream.shutdown(Shutdown::Write)?;
        }
    }
    // Until the other side hangs up: closing earlier could cost it what it has not read yet.
    let mut rest = [0; 4096];
    let mut stream = stream;
    while stream.read(&mut rest)? > 0 {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(peers: &Peers, request: &str) -> String {
        let mut stream = TcpStream::connect(peers.server).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn the_server_does_what_the_run_says_and_the_closed_port_refuses() {
        let peers = Peers::start().unwrap();
        assert_eq!(ask(&peers, "hello"), "");
        peers.behave(&Peer::Sends("220 hi\r\n".to_owned()));
        assert_eq!(ask(&peers, "hello"), "220 hi\r\n");
        peers.behave(&Peer::Http { status: 503, body: "busy".to_owned() });
        let expected = "HTTP/1.1 503 Test\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbusy";
        assert_eq!(ask(&peers, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"), expected);
        assert_eq!(TcpStream::connect(peers.closed).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }
}
