//! The web servers behind the proxies: each answers every request with its own name.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;

use crate::site::{Node, Site};

/// A web server on port 80 of its host.
#[derive(Debug)]
pub struct Web {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Web {
    /// Serves from now on.
    ///
    /// # Errors
    /// When the port can't be bound.
    pub fn start(site: &Site, node: Node) -> anyhow::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&stop);
        let (ready, is_ready) = std::sync::mpsc::channel();
        let thread = site.host(node).in_network(move || {
            let listener = TcpListener::bind(("0.0.0.0", 80)).expect("a free port on a new host");
            listener.set_nonblocking(true).expect("a plain descriptor");
            let _ = ready.send(());
            serve(&listener, node.name(), &end);
        })?;
        is_ready.recv().context("the web server did not start")?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(listener: &TcpListener, body: &str, stop: &AtomicBool) {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::os::fd::AsFd;
    let answer =
        format!("HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}\n", body.len() + 1);
    while !stop.load(Ordering::Relaxed) {
        let mut descriptors = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        let _ = poll(&mut descriptors, PollTimeout::from(100_u8));
        while let Ok((mut stream, _)) = listener.accept() {
            // The proxies send one small request a connection; whoever does not is cut off.
            let _ = stream.set_nonblocking(false);
            let _ = stream.set_read_timeout(Some(Duration::from_millis(200)));
            let _ = stream.read(&mut [0; 4096]).and_then(|_| stream.write_all(answer.as_bytes()));
        }
    }
}
