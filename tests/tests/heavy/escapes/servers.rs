//! What the attempts could reach: a name server that plays tricks, and listeners that count who came.

use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use vouchd_tests::{Node, Site};

/// Ends its thread when it is dropped.
pub struct Server {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    /// Questions or connections.
    pub came: Arc<AtomicUsize>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn start(
    site: &Site,
    node: Node,
    serve: impl FnOnce(&AtomicBool, &AtomicUsize, std::sync::mpsc::Sender<()>) + Send + 'static,
) -> anyhow::Result<Server> {
    let (stop, came) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (end, count) = (Arc::clone(&stop), Arc::clone(&came));
    let (ready, is_ready) = std::sync::mpsc::channel();
    let thread = site.host(node).in_network(move || serve(&end, &count, ready))?;
    is_ready.recv().context("the server did not start")?;
    Ok(Server { stop, thread: Some(thread), came })
}

const METADATA: [u8; 4] = [169, 254, 169, 254];

/// Answers for the names of the test, whatever is asked with no address where there is none of that kind.
pub fn names(site: &Site, node: Node) -> anyhow::Result<Server> {
    let web = Node::Web01.address().octets();
    start(site, node, move |stop, came, ready| {
        let socket = UdpSocket::bind("0.0.0.0:53").expect("a free port on a new host");
        socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a plain socket");
        let _ = ready.send(());
        let mut buffer = [0; 512];
        let mut rebound = 0;
        while !stop.load(Ordering::Relaxed) {
            let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
            came.fetch_add(1, Ordering::Relaxed);
            let question = &buffer[..length];
            let Some(name) = asked(question) else { continue };
            let is_v6 = question.ends_with(&[0, 28, 0, 1]);
            let addresses: Vec<Vec<u8>> = match (name.as_str(), is_v6) {
                ("web.test", false) => vec![web.to_vec()],
                ("meta.test", false) => vec![METADATA.to_vec()],
                ("two.test", false) => vec![METADATA.to_vec(), web.to_vec()],
                ("rebind.test", false) => {
                    rebound += 1;
                    vec![if rebound % 2 == 1 { web.to_vec() } else { METADATA.to_vec() }]
                }
                ("mapped.test", true) => vec![[&[0; 10], &[0xff; 2][..], &METADATA].concat()],
                ("nat.test", true) => vec![[&[0, 0x64, 0xff, 0x9b], &[0; 8][..], &METADATA].concat()],
                ("six.test", true) => vec![[&[0x20, 0x02], &METADATA[..], &[0; 10]].concat()],
                ("local.test", true) => vec![[&[0xfe, 0x80], &[0; 13][..], &[1]].concat()],
                _ => Vec::new(),
            };
            let _ = socket.send_to(&answer(question, &addresses), from);
        }
    })
}

/// The name in a question, in lower case.
pub fn asked(question: &[u8]) -> Option<String> {
    let mut labels = Vec::new();
    let mut rest = question.get(12..)?;
    loop {
        let (length, after) = rest.split_first()?;
        if *length == 0 {
            return Some(labels.join("."));
        }
        let (label, after) = after.split_at_checked(usize::from(*length))?;
        labels.push(String::from_utf8_lossy(label).to_lowercase());
        rest = after;
    }
}

fn answer(question: &[u8], addresses: &[Vec<u8>]) -> Vec<u8> {
    // The question again, as an answer, with the records after it; their name is that of the question.
    let mut bytes = question.to_vec();
    bytes[2..4].copy_from_slice(&[0x81, 0x80]);
    bytes[6..8].copy_from_slice(&(addresses.len() as u16).to_be_bytes());
    for address in addresses {
        let kind = if address.len() == 16 { 28 } else { 1 };
        bytes.extend([0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 0, 0, address.len() as u8]);
        bytes.extend(address);
    }
    bytes
}

/// Answers HTTP; what is asked for below `/public/to/` is redirected to what follows.
pub fn web(site: &Site, node: Node, address: &'static str) -> anyhow::Result<Server> {
    start(site, node, move |stop, came, ready| {
        let listener = TcpListener::bind(address).expect("a free port on a new host");
        listener.set_nonblocking(true).expect("a plain socket");
        let _ = ready.send(());
        while !stop.load(Ordering::Relaxed) {
            let Ok((mut stream, _)) = listener.accept() else {
                std::thread::sleep(Duration::from_millis(5));
                continue;
            };
            came.fetch_add(1, Ordering::Relaxed);
            let _ = stream.set_nonblocking(false);
            let _ = stream.set_read_timeout(Some(Duration::from_millis(100)));
            let mut buffer = [0; 2048];
            let length = stream.read(&mut buffer).unwrap_or(0);
            let request = String::from_utf8_lossy(&buffer[..length]).into_owned();
            let path = request.split(' ').nth(1).unwrap_or_default();
            let answer = match path.strip_prefix("/public/to/") {
                Some(to) => {
                    format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                }
                None => "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok".to_owned(),
            };
            let _ = stream.write_all(answer.as_bytes());
        }
    })
}
