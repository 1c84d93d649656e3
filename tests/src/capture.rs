//! What is on the wire: advertisements and ARP with the kernel's time stamps and the port by which they came, whatever
//! source they claim.

use std::collections::HashMap;
use std::io::IoSliceMut;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::socket::{ControlMessageOwned, LinkAddr, MsgFlags, recvmsg, setsockopt, sockopt};
use nix::time::{ClockId, clock_gettime};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use crate::frame::PROTOCOL;
use crate::site::{Node, Site};

/// An Ethernet frame that a host has sent.
#[derive(Debug, Clone)]
pub struct Frame {
    pub at: Instant,
    pub from: Node,
    pub bytes: Vec<u8>,
}

/// A VRRP advertisement that a host has sent.
#[derive(Debug, Clone)]
pub struct Advertisement {
    pub at: Instant,
    pub from: Node,
    /// From the IP header on.
    pub packet: Vec<u8>,
}

impl Advertisement {
    pub fn tos(&self) -> u8 {
        self.packet[1]
    }

    pub fn ttl(&self) -> u8 {
        self.packet[8]
    }

    pub fn destination(&self) -> Ipv4Addr {
        Ipv4Addr::new(self.packet[16], self.packet[17], self.packet[18], self.packet[19])
    }

    /// The VRRP message, by the lengths that the IP header gives.
    pub fn message(&self) -> &[u8] {
        let header = usize::from(self.packet[0] & 0xf) * 4;
        let total = usize::from(u16::from_be_bytes([self.packet[2], self.packet[3]]));
        self.packet.get(header..total).unwrap_or_default()
    }

    pub fn vrid(&self) -> u8 {
        self.message().get(1).copied().unwrap_or(0)
    }

    pub fn priority(&self) -> u8 {
        self.message().get(2).copied().unwrap_or(0)
    }
}

/// A capture at the switch, from its start until it is dropped.
#[derive(Debug)]
pub struct Capture {
    frames: Arc<Mutex<Vec<Frame>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Capture {
    /// Starts capturing; whatever is sent after this is seen.
    ///
    /// # Errors
    /// When the socket can't be made.
    pub fn start(site: &Site) -> anyhow::Result<Self> {
        let frames = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (ready, is_ready) = std::sync::mpsc::channel();
        let (to, end) = (Arc::clone(&frames), Arc::clone(&stop));
        let thread = site.switch().in_network(move || {
            record(&to, &end, || ready.send(()).unwrap_or_default()).expect("a packet socket as root");
        })?;
        is_ready.recv().context("the capture did not start")?;
        Ok(Self { frames, stop, thread: Some(thread) })
    }

    /// All frames so far.
    pub fn frames(&self) -> Vec<Frame> {
        self.frames.lock().expect("no thread panics with it").clone()
    }

    /// The advertisements that a host has sent for a virtual router since `since`.
    pub fn advertisements(&self, from: Node, vrid: u8, since: Instant) -> Vec<Advertisement> {
        self.frames
            .lock()
            .expect("no thread panics with it")
            .iter()
            .filter(|frame| frame.from == from && frame.at >= since)
            .filter(|frame| frame.bytes.len() >= 14 + 28 && frame.bytes[12..14] == [8, 0])
            .map(|frame| Advertisement { at: frame.at, from, packet: frame.bytes[14..].to_vec() })
            .filter(|advertisement| advertisement.vrid() == vrid)
            .collect()
    }

    /// When a host has sent gratuitous ARP for an address since `since`.
    pub fn announcements(&self, from: Node, address: Ipv4Addr, since: Instant) -> Vec<Instant> {
        let address = address.octets();
        self.frames
            .lock()
            .expect("no thread panics with it")
            .iter()
            .filter(|frame| frame.from == from && frame.at >= since)
            .filter(|frame| frame.bytes.len() >= 42 && frame.bytes[12..14] == [8, 6])
            .filter(|frame| frame.bytes[28..32] == address && frame.bytes[38..42] == address)
            .map(|frame| frame.at)
            .collect()
    }
}

/// The longest time between two neighbours, `from` and `to` counted as neighbours.
pub fn longest_gap(times: impl IntoIterator<Item = Instant>, from: Instant, to: Instant) -> Duration {
    let mut last = from;
    let mut longest = Duration::ZERO;
    for time in times.into_iter().chain([to]) {
        longest = longest.max(time.saturating_duration_since(last));
        last = time;
    }
    longest
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

const fn statement(code: u16, k: u32) -> SockFilter {
    jump(code, 0, 0, k)
}

const fn jump(code: u16, yes: u8, no: u8, k: u32) -> SockFilter {
    SockFilter::new(code, yes, no, k)
}

/// Takes ARP, and IPv4 with protocol 112; a test's client would fill the capture otherwise.
const FILTER: [SockFilter; 7] = [
    statement(0x28, 12),
    jump(0x15, 3, 0, 0x0806),
    jump(0x15, 0, 3, 0x0800),
    statement(0x30, 23),
    jump(0x15, 0, 1, PROTOCOL as u32),
    statement(0x06, 0x40000),
    statement(0x06, 0),
];

fn record(frames: &Mutex<Vec<Frame>>, stop: &AtomicBool, ready: impl FnOnce()) -> anyhow::Result<()> {
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
    ready();
    let mut buffer = [0; 2048];
    let mut control = nix::cmsg_space!(nix::sys::time::TimeSpec);
    while !stop.load(Ordering::Relaxed) {
        let mut slices = [IoSliceMut::new(&mut buffer)];
        let received = recvmsg::<LinkAddr>(socket.as_raw_fd(), &mut slices, Some(&mut control), MsgFlags::empty());
        let message = match received {
            Ok(message) => message,
            Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => continue,
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
    fn a_gap_counts_from_the_start_and_to_the_end() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(longest_gap([at(10), at(30)], start, at(35)), Duration::from_millis(20));
        assert_eq!(longest_gap([at(10), at(30)], start, at(90)), Duration::from_millis(60));
        assert_eq!(longest_gap([], start, at(90)), Duration::from_millis(90));
    }
}
