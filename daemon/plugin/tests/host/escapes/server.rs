//! Servers that record the requests that reach them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// The requests that reached a server, by their first lines; empty for a connection without a request.
pub struct Arrived {
    address: SocketAddr,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Arrived {
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.lines.lock().unwrap())
    }

    /// Takes all that reached the server before this call, with what it has accepted but not recorded yet: connections are
    /// served one after the other, so that it is done once a last request was answered.
    pub fn take_all(&self) -> Vec<String> {
        let mut last = TcpStream::connect(self.address).unwrap();
        last.write_all(b"GET /last HTTP/1.1\r\n\r\n").unwrap();
        last.read_to_end(&mut Vec::new()).unwrap();
        let mut lines = self.take();
        assert_eq!(lines.pop().as_deref(), Some("GET /last HTTP/1.1"));
        lines
    }
}

/// Answers every request with what `answer` makes of its path.
pub fn serve(listener: TcpListener, answer: impl Fn(&str) -> String + Send + 'static) -> (SocketAddr, Arrived) {
    let address = listener.local_addr().unwrap();
    let arrived = Arrived { address, lines: Arc::default() };
    let log = Arc::clone(&arrived.lines);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let request = first_line(&stream);
            let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
            log.lock().unwrap().push(request);
            let _ = (&stream).write_all(answer(&path).as_bytes());
        }
    });
    (address, arrived)
}

fn first_line(stream: &TcpStream) -> String {
    let _ = stream.set_read_timeout(Some(Duration::from_millis(200)));
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    let _ = reader.read_line(&mut first);
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|n| n > 0) && line.trim() != "" {
        line.clear();
    }
    first.trim().to_owned()
}

pub fn ok() -> String {
    "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok".to_owned()
}
