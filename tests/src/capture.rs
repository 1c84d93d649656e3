//! The advertisements, ARP packets and ICMPv6 packets on the wire, with the kernel's time stamps and the port at which they came in,
//! whatever source they claim.

use std::collections::HashMap;
use std::io::IoSliceMut;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, LinkAddr, MsgFlags, recvmsg, setsockopt, sockopt};
use nix::time::{ClockId, clock_gettime};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use crate::background::{Background, Running};
use crate::bytes::field;
use crate::frame::PROTOCOL;
use crate::site::{Node, Site};

/// EtherTypes.
const IPV4: [u8; 2] = [0x08, 0x00];
const ARP: [u8; 2] = [0x08, 0x06];

/// An Ethernet frame.
#[derive(Debug, Clone)]
pub struct Frame {
    /// When the switch received it.
    pub at: Instant,
    /// The host at whose port it came in.
    pub from: Node,
    /// From the Ethernet header on.
    pub bytes: Vec<u8>,
}

/// A VRRP advertisement.
#[derive(Debug, Clone)]
pub struct Advertisement {
    /// When the switch received it.
    pub at: Instant,
    /// The host at whose port it came in.
    pub from: Node,
    /// From the IP header on, at least 28 bytes.
    pub packet: Vec<u8>,
}

impl Advertisement {
    /// The type of service (DSCP and ECN) of the IP header.
    pub fn tos(&self) -> u8 {
        self.packet[1]
    }

    /// The TTL of the IP header.
    pub fn ttl(&self) -> u8 {
        self.packet[8]
    }

    /// The destination in the IP header.
    pub fn destination(&self) -> Ipv4Addr {
        Ipv4Addr::new(self.packet[16], self.packet[17], self.packet[18], self.packet[19])
    }

    /// The VRRP message, by the lengths in the IP header.
    pub fn message(&self) -> &[u8] {
        let header = usize::from(self.packet[0] & 0xf) * 4;
        let total = usize::from(u16::from_be_bytes([self.packet[2], self.packet[3]]));
        self.packet.get(header..total).unwrap_or_default()
    }

    /// The virtual router.
    pub fn vrid(&self) -> u8 {
        self.message().get(1).copied().unwrap_or(0)
    }

    /// The priority.
    pub fn priority(&self) -> u8 {
        self.message().get(2).copied().unwrap_or(0)
    }
}

/// A capture at the switch, from its start until it is dropped.
#[derive(Debug)]
pub struct Capture {
    frames: Arc<Mutex<Vec<Frame>>>,
    _thread: Background,
}

impl Capture {
    /// Starts capturing; whatever is sent after this is seen.
    ///
    /// # Errors
    /// If the thread does not start, or no packet socket can be opened.
    pub fn start(site: &Site) -> anyhow::Result<Self> {
        let frames = Arc::new(Mutex::new(Vec::new()));
        let to = Arc::clone(&frames);
        let thread = Background::start(site.switch(), "the capture", move |running| {
            record(&to, running).expect("a packet socket as root");
        })?;
        Ok(Self { frames, _thread: thread })
    }

    /// All frames so far.
    pub fn frames(&self) -> Vec<Frame> {
        self.frames.lock().expect("no thread panics with it").clone()
    }

    /// The advertisements that a host has sent for a virtual router after `since`.
    pub fn advertisements(&self, from: Node, vrid: u8, since: Instant) -> Vec<Advertisement> {
        self.frames
            .lock()
            .expect("no thread panics with it")
            .iter()
            .filter(|frame| frame.from == from && frame.at >= since)
            .filter(|frame| frame.bytes.len() >= 14 + 28 && field(&frame.bytes, 12) == Some(IPV4))
            .map(|frame| Advertisement { at: frame.at, from, packet: frame.bytes[14..].to_vec() })
            .filter(|advertisement| advertisement.vrid() == vrid)
            .collect()
    }

    /// When a host has sent gratuitous ARP for an address after `since`: sender and target are the address.
    pub fn announcements(&self, from: Node, address: Ipv4Addr, since: Instant) -> Vec<Instant> {
        let address = address.octets();
        self.frames
            .lock()
            .expect("no thread panics with it")
            .iter()
            .filter(|frame| frame.from == from && frame.at >= since)
            .filter(|frame| field(&frame.bytes, 12) == Some(ARP))
            .filter(|frame| [28, 38].into_iter().all(|at| field(&frame.bytes, at) == Some(address)))
            .map(|frame| frame.at)
            .collect()
    }
}

/// The longest time between two successive times, with `from` before the first and `to` after the last.
pub fn longest_gap(times: impl IntoIterator<Item = Instant>, from: Instant, to: Instant) -> Duration {
    let mut last = from;
    let mut longest = Duration::ZERO;
    for time in times.into_iter().chain([to]) {
        longest = longest.max(time.saturating_duration_since(last));
        last = time;
    }
    longest
}

const fn statement(code: u16, k: u32) -> SockFilter {
    jump(code, 0, 0, k)
}

const fn jump(code: u16, yes: u8, no: u8, k: u32) -> SockFilter {
    SockFilter::new(code, yes, no, k)
}

/// Accepts ARP, IPv4 with protocol 112, and IPv6 with protocol 112 or ICMPv6 (classic BPF). The traffic of a test's client
/// would fill the capture.
const FILTER: [SockFilter; 11] = [
    statement(0x28, 12),
    jump(0x15, 7, 0, 0x0806),
    jump(0x15, 0, 2, 0x0800),
    statement(0x30, 23),
    jump(0x15, 4, 5, PROTOCOL as u32),
    jump(0x15, 0, 4, 0x86dd),
    statement(0x30, 20),
    jump(0x15, 1, 0, PROTOCOL as u32),
    jump(0x15, 0, 1, 58),
    statement(0x06, 0x40000),
    statement(0x06, 0),
];

fn record(frames: &Mutex<Vec<Frame>>, running: &Running) -> anyhow::Result<()> {
    let ports = Node::ALL
        .iter()
        .map(|&node| Ok((nix::net::if_::if_nametoindex(node.port().as_str())? as usize, node)))
        .collect::<anyhow::Result<HashMap<_, _>>>()?;
    let protocol = i32::from((libc::ETH_P_ALL as u16).to_be());
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(protocol)))?;
    socket.attach_filter(&FILTER)?;
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    socket.set_recv_buffer_size(4 << 20)?;
    setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
    running.ready();
    let mut buffer = [0; 2048];
    let mut control = nix::cmsg_space!(nix::sys::time::TimeSpec);
    while running.goes_on() {
        let mut slices = [IoSliceMut::new(&mut buffer)];
        let received = recvmsg::<LinkAddr>(socket.as_raw_fd(), &mut slices, Some(&mut control), MsgFlags::empty());
        let message = match received {
            Ok(message) => message,
            Err(Errno::EAGAIN | Errno::EINTR) => continue,
            Err(error) => return Err(error.into()),
        };
        let Some(link) = message.address else { continue };
        let Some(&from) = ports.get(&link.ifindex()) else { continue };
        if link.pkttype() == libc::PACKET_OUTGOING {
            continue;
        }
        let stamp = message.cmsgs()?.find_map(|message| match message {
            ControlMessageOwned::ScmTimestampns(time) => Some(Duration::from(time)),
            _ => None,
        });
        let now = Instant::now();
        let wall = Duration::from(clock_gettime(ClockId::CLOCK_REALTIME)?);
        let age = stamp.map_or(Duration::ZERO, |stamp| wall.saturating_sub(stamp));
        let length = message.bytes;
        frames.lock().expect("no thread panics with it").push(Frame {
            at: now.checked_sub(age).unwrap_or(now),
            from,
            bytes: buffer[..length].to_vec(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gap_counts_from_the_start_and_to_the_end() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(longest_gap([at(10), at(30)], start, at(35)), Duration::from_millis(20));
        assert_eq!(longest_gap([at(10), at(30)], start, at(90)), Duration::from_millis(60));
        assert_eq!(longest_gap([], start, at(90)), Duration::from_millis(90));
    }
}
