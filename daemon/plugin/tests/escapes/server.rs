//! Servers that write down what reaches them.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What was asked of a server, one line a request; a connection that said nothing is an empty line.
#[derive(Clone, Default)]
pub struct Arrived(Arc<Mutex<Vec<String>>>);

impl Arrived {
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

/// Answers every request with what `answer` makes of its path.
pub fn serve(listener: TcpListener, answer: impl Fn(&str) -> String + Send + 'static) -> (SocketAddr, Arrived) {
    let address = listener.local_addr().unwrap();
    let arrived = Arrived::default();
    let log = arrived.clone();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let request = first_line(&stream);
            let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
            log.0.lock().unwrap().push(request);
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
