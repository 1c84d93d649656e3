//! What the attempts could reach: a name server that plays tricks, and web servers. They count the questions and
//! connections.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use vouchd_tests::background::{Background, Running};
use vouchd_tests::web::serve;
use vouchd_tests::{Node, Site};

/// A server on a host, until it is dropped.
pub struct Server {
    came: Arc<AtomicUsize>,
    _thread: Background,
}

impl Server {
    fn start(
        site: &Site,
        node: Node,
        work: impl FnOnce(&Running, &AtomicUsize) + Send + 'static,
    ) -> anyhow::Result<Self> {
        let came = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&came);
        let thread = Background::start(site.host(node), "the server", move |running| work(running, &count))?;
        Ok(Server { came, _thread: thread })
    }

    /// The number of questions or requests so far.
    pub fn came(&self) -> usize {
        self.came.load(Ordering::Relaxed)
    }
}

const METADATA: [u8; 4] = [169, 254, 169, 254];

/// A name server for the names of the test. A question for another name or type is answered without an address.
pub fn names(site: &Site, node: Node) -> anyhow::Result<Server> {
    let web = Node::Web01.address().octets();
    Server::start(site, node, move |running, came| {
        let socket = UdpSocket::bind("0.0.0.0:53").expect("a free port on a new host");
        socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a plain socket");
        running.ready();
        let mut buffer = [0; 512];
        let mut rebound = 0;
        while running.goes_on() {
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
    // The question as an answer, followed by the records. Their name refers to that of the question.
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

/// A web server. It redirects a request below `/public/to/` to what follows in the path.
pub fn web(site: &Site, node: Node, address: &'static str) -> anyhow::Result<Server> {
    Server::start(site, node, move |running, came| {
        serve(address, running, |path| {
            came.fetch_add(1, Ordering::Relaxed);
            match path.strip_prefix("/public/to/") {
                Some(to) => {
                    format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                }
                None => "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok".to_owned(),
            }
        });
    })
}
