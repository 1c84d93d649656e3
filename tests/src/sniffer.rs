//! What a host sends, on all its interfaces including loopback.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{LinkAddr, recvfrom};
use socket2::{Domain, Protocol, Socket, Type};

use crate::background::{Background, Running};
use crate::bytes::field;
use crate::host::Host;

/// A packet that a host has sent, by where it went.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Packet {
    /// As in the IP header: 6 is TCP, 17 is UDP.
    pub protocol: u8,
    /// 0 for other protocols than TCP and UDP.
    pub source_port: u16,
    /// The destination.
    pub to: IpAddr,
    /// The destination's port; 0 for other protocols than TCP and UDP.
    pub port: u16,
    /// The payload of UDP; empty for other protocols.
    pub payload: Vec<u8>,
}

/// Listens on a host from its start until it is dropped.
#[derive(Debug)]
pub struct Sniffer {
    packets: Arc<Mutex<BTreeSet<Packet>>>,
    _thread: Background,
}

impl Sniffer {
    /// Records whatever the host sends after this.
    ///
    /// # Errors
    /// If the thread does not start, or no packet socket can be opened.
    pub fn start(host: &Host) -> anyhow::Result<Self> {
        let packets = Arc::new(Mutex::new(BTreeSet::new()));
        let to = Arc::clone(&packets);
        let thread = Background::start(host, "the sniffer", move |running| {
            record(&to, running).expect("a packet socket as root");
        })?;
        Ok(Self { packets, _thread: thread })
    }

    /// The packets sent so far; equal ones are listed once.
    pub fn sent(&self) -> Vec<Packet> {
        self.packets.lock().expect("no thread panics with it").iter().cloned().collect()
    }
}

fn record(packets: &Mutex<BTreeSet<Packet>>, running: &Running) -> anyhow::Result<()> {
    let protocol = i32::from((libc::ETH_P_ALL as u16).to_be());
    // Without the link's header: every packet begins with the IP header.
    let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(Protocol::from(protocol)))?;
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    socket.set_recv_buffer_size(4 << 20)?;
    running.ready();
    let mut buffer = [0; 65536];
    while running.goes_on() {
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

/// `None` unless the bytes are a whole IP header, followed by the ports if it is TCP or UDP.
fn parse(bytes: &[u8]) -> Option<Packet> {
    let (protocol, to, rest): (u8, IpAddr, &[u8]) = match bytes.first()? >> 4 {
        4 => (*bytes.get(9)?, field::<4>(bytes, 16)?.into(), bytes.get(usize::from(bytes[0] & 15) * 4..)?),
        6 => (*bytes.get(6)?, field::<16>(bytes, 24)?.into(), bytes.get(40..)?),
        _ => return None,
    };
    let port = |at| field(rest, at).map(u16::from_be_bytes);
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
    fn packet_is_identified_by_its_destination() {
        let mut bytes = vec![0; 28];
        bytes[0] = 0x45;
        bytes[9] = 17;
        bytes[16..20].copy_from_slice(&[10, 0, 0, 1]);
        bytes[20..24].copy_from_slice(&[0x80, 0, 0, 53]);
        bytes.extend(b"question");
        let packet = parse(&bytes).expect("a whole packet");
        assert_eq!((packet.protocol, packet.to.to_string().as_str(), packet.port), (17, "10.0.0.1", 53));
        assert_eq!(packet.payload, b"question");
        assert_eq!(parse(&bytes[..20]), None);
        assert_eq!(parse(&[0, 1, 2]), None);
    }
}
