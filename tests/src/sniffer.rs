//! What a host sends to whom, on all its interfaces: loopback, too.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use nix::errno::Errno;
use nix::sys::socket::{LinkAddr, recvfrom};
use socket2::{Domain, Protocol, Socket, Type};

use crate::host::Host;

/// Where a packet went. What follows the addresses is zero where the protocol has none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Packet {
    /// As in the IP header: 6 is TCP, 17 is UDP.
    pub protocol: u8,
    pub source_port: u16,
    pub to: IpAddr,
    pub port: u16,
    /// Of UDP, what was sent.
    pub payload: Vec<u8>,
}

/// Listens on a host from its start until it is dropped.
#[derive(Debug)]
pub struct Sniffer {
    packets: Arc<Mutex<BTreeSet<Packet>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Sniffer {
    /// # Errors
    /// When the socket can't be made.
    pub fn start(host: &Host) -> anyhow::Result<Self> {
        let packets = Arc::new(Mutex::new(BTreeSet::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (ready, is_ready) = std::sync::mpsc::channel();
        let (to, end) = (Arc::clone(&packets), Arc::clone(&stop));
        let thread = host.in_network(move || {
            record(&to, &end, || ready.send(()).unwrap_or_default()).expect("a packet socket as root");
        })?;
        is_ready.recv().context("the sniffer did not start")?;
        Ok(Self { packets, stop, thread: Some(thread) })
    }

    /// What was sent so far, each of its kind once.
    pub fn sent(&self) -> Vec<Packet> {
        self.packets.lock().expect("no thread panics with it").iter().cloned().collect()
    }
}

impl Drop for Sniffer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn record(packets: &Mutex<BTreeSet<Packet>>, stop: &AtomicBool, ready: impl FnOnce()) -> anyhow::Result<()> {
    let protocol = i32::from((libc::ETH_P_ALL as u16).to_be());
    // Without the link's header: every packet begins with that of IP.
    let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(Protocol::from(protocol)))?;
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    socket.set_recv_buffer_size(4 << 20)?;
    ready();
    let mut buffer = [0; 65536];
    while !stop.load(Ordering::Relaxed) {
        let (length, link) = match recvfrom::<LinkAddr>(socket.as_raw_fd(), &mut buffer) {
            Ok((length, link)) => (length, link),
            Err(Errno::EAGAIN | Errno::EINTR) => continue,
            Err(error) => return Err(error.into()),
        };
        let is_sent = link.is_some_and(|link| link.pkttype() == libc::PACKET_OUTGOING);
        if is_sent && let Some(packet) = parse(&buffer[..length]) {
            packets.lock().expect("no thread panics with it").insert(packet);
        }
    }
    Ok(())
}

/// None for what is no IP, or cut off.
fn parse(bytes: &[u8]) -> Option<Packet> {
    let (protocol, to, rest): (u8, IpAddr, &[u8]) = match bytes.first()? >> 4 {
        4 => {
            let to: [u8; 4] = bytes.get(16..20)?.try_into().ok()?;
            (*bytes.get(9)?, to.into(), bytes.get(usize::from(bytes[0] & 15) * 4..)?)
        }
        6 => {
            let to: [u8; 16] = bytes.get(24..40)?.try_into().ok()?;
            (*bytes.get(6)?, to.into(), bytes.get(40..)?)
        }
        _ => return None,
    };
    let port = |at: usize| rest.get(at..at + 2).map(|port| u16::from_be_bytes([port[0], port[1]]));
    let (source_port, port) = match protocol {
        6 | 17 => (port(0)?, port(2)?),
        _ => (0, 0),
    };
    let payload = if protocol == 17 { rest.get(8..)?.to_vec() } else { Vec::new() };
    Some(Packet { protocol, source_port, to, port, payload })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_known_by_where_it_goes() {
        let mut bytes = vec![0; 28];
        bytes[0] = 0x45;
        bytes[9] = 17;
        bytes[16..20].copy_from_slice(&[10, 0, 0, 1]);
        bytes[20..24].copy_from_slice(&[0x80, 0, 0, 53]);
        bytes.extend(b"question");
        let packet = parse(&bytes).expect("a packet");
        assert_eq!((packet.protocol, packet.to.to_string().as_str(), packet.port), (17, "10.0.0.1", 53));
        assert_eq!(packet.payload, b"question");
        assert_eq!(parse(&bytes[..20]), None);
        assert_eq!(parse(&[0, 1, 2]), None);
    }
}
