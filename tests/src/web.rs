//! HTTP servers, and the web servers behind the proxies: each answers every request with its own name.

use std::io::{Read, Write};
use std::net::{TcpListener, ToSocketAddrs};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::background::{Background, Running};
use crate::site::{Node, Site};

/// A web server on port 80 of its host, until it is dropped.
#[derive(Debug)]
pub struct Web {
    _server: Background,
}

impl Web {
    /// Serves from now on.
    ///
    /// # Errors
    /// If the thread does not start or the port is taken.
    pub fn start(site: &Site, node: Node) -> anyhow::Result<Self> {
        let (name, length) = (node.name(), node.name().len() + 1);
        let answer = format!("HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n{name}\n");
        let server = Background::start(site.host(node), "the web server", move |running| {
            serve(("0.0.0.0", 80), running, |_| answer.clone());
        })?;
        Ok(Self { _server: server })
    }
}

/// Serves HTTP at `address` until the owner ends it. Each connection gets one answer: that of `answer` to the path of its
/// request. The path is empty if no request comes within 200 ms.
///
/// # Panics
/// If the address cannot be bound.
pub fn serve(address: impl ToSocketAddrs, running: &Running, mut answer: impl FnMut(&str) -> String) {
    let listener = TcpListener::bind(address).expect("a free port on a new host");
    listener.set_nonblocking(true).expect("a plain descriptor");
    running.ready();
    while running.goes_on() {
        let mut descriptors = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        let _ = poll(&mut descriptors, PollTimeout::from(100_u8));
        while let Ok((mut stream, _)) = listener.accept() {
            let _ = stream.set_nonblocking(false);
            let _ = stream.set_read_timeout(Some(Duration::from_millis(200)));
            let mut buffer = [0; 4096];
            let length = stream.read(&mut buffer).unwrap_or(0);
            let request = String::from_utf8_lossy(&buffer[..length]);
            let path = request.split(' ').nth(1).unwrap_or_default();
            let _ = stream.write_all(answer(path).as_bytes());
        }
    }
}
