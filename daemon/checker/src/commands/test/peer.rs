//! The peers of a scripted run's probes: a small server, and a port that refuses connections.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, getsockname, socket};
use vouchd_config::script::Peer;

/// The longest time that a connection waits for data.
const PATIENCE: Duration = Duration::from_secs(30);
/// The largest request header, in bytes.
const MAX_HEADER: u64 = 64 << 10;

/// Both ports.
pub(crate) struct Peers {
    server: SocketAddr,
    closed: SocketAddr,
    behaviour: Arc<Mutex<Peer>>,
    /// Bound but not listening: the port refuses connections, and no other process can use it.
    _refusing: OwnedFd,
}

impl Peers {
    /// Starts the server.
    ///
    /// # Errors
    /// When there is no loopback interface or no free port.
    pub(crate) fn start() -> anyhow::Result<Peers> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listening on loopback")?;
        let (refusing, closed) = refusing_port().context("binding on loopback")?;
        let server = listener.local_addr()?;
        let behaviour = Arc::new(Mutex::new(Peer::Silent));
        let now = Arc::clone(&behaviour);
        // The thread ends with the process.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let peer = now.lock().unwrap_or_else(PoisonError::into_inner).clone();
                // Errors don't matter: a plugin may hang up at any time.
                thread::spawn(move || serve(&stream, &peer));
            }
        });
        Ok(Peers { server, closed, behaviour, _refusing: refusing })
    }

    /// The words that stand for the ports in a script, and their values.
    pub(crate) fn words(&self) -> [(&'static str, String); 2] {
        [("peer", self.server.to_string()), ("closed", self.closed.to_string())]
    }

    /// Sets how the server behaves in all connections from now on.
    pub(crate) fn behave(&self, peer: &Peer) {
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
            for line in BufReader::new(stream.take(MAX_HEADER)).lines() {
                if line?.is_empty() {
                    break;
                }
            }
            let length = body.len();
            write!(out, "HTTP/1.1 {status} Test\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")?;
            stream.shutdown(Shutdown::Write)?;
        }
    }
    // Waits until the plugin hangs up: closing earlier could discard data that it has not read yet.
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
    fn server_behaves_as_the_run_says_and_the_closed_port_refuses() {
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
