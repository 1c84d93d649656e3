//! The tester's end of the cable: it records every frame that a router sends, with the kernel's time stamp, and sends any
//! frame, whatever its source.

use std::io::IoSliceMut;
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, LinkAddr, MsgFlags, SockaddrLike, bind, recvmsg, setsockopt, sockopt,
};
use nix::time::{ClockId, clock_gettime};
use socket2::{Domain, Protocol, Socket, Type};
use vouchd_tests::background::{Background, Running};
use vouchd_tests::host::Host;

/// A frame that came in.
#[derive(Debug, Clone)]
pub struct Frame {
    /// When the kernel received it.
    pub at: Instant,
    /// The port at which it came in, as an index into the list of ports.
    pub port: usize,
    /// From the Ethernet header on.
    pub bytes: Vec<u8>,
}

/// The ports of the tester's host.
#[derive(Debug)]
pub struct Wire {
    frames: Arc<Mutex<Vec<Frame>>>,
    sockets: Vec<Arc<Socket>>,
    _thread: Background,
}

/// A port to send frames from. Cheap to clone, for a thread of its own.
#[derive(Debug, Clone)]
pub struct Port(Arc<Socket>);

impl Wire {
    /// Records what comes in at these interfaces of a host from now on.
    ///
    /// # Errors
    /// If a packet socket cannot be opened.
    pub fn start(host: &Host, ports: &[String]) -> anyhow::Result<Self> {
        let frames = Arc::new(Mutex::new(Vec::new()));
        let (to, names) = (Arc::clone(&frames), ports.to_vec());
        let thread = Background::start(host, "the recording", move |running| {
            record(&to, &names, running).expect("a packet socket as root");
        })?;
        let names = ports.to_vec();
        let opened =
            host.in_network(move || names.iter().map(|name| open(name)).collect::<anyhow::Result<Vec<_>>>())?;
        let sockets = opened.join().expect("the thread does not panic")?;
        Ok(Self { frames, sockets, _thread: thread })
    }

    /// A port by its index.
    pub fn port(&self, index: usize) -> Port {
        Port(Arc::clone(&self.sockets[index]))
    }

    /// The frames that came in since a time, in order.
    pub fn since(&self, since: Instant) -> Vec<Frame> {
        self.lock().iter().filter(|frame| frame.at >= since).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Frame>> {
        self.frames.lock().expect("no thread panics with it")
    }
}

impl Port {
    /// Sends a frame, and returns when.
    ///
    /// # Errors
    /// If the kernel refuses it.
    pub fn send(&self, frame: &[u8]) -> anyhow::Result<Instant> {
        let at = Instant::now();
        self.0.send(frame).context("sending a frame")?;
        Ok(at)
    }
}

fn open(port: &str) -> anyhow::Result<Arc<Socket>> {
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))?;
    let address = libc::sockaddr_ll {
        sll_family: AddressFamily::Packet as u16,
        sll_protocol: 0,
        sll_ifindex: i32::try_from(nix::net::if_::if_nametoindex(port)?)?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let length = u32::try_from(size_of::<libc::sockaddr_ll>())?;
    // SAFETY: the pointer is to a whole `sockaddr_ll` of that length.
    let address = unsafe { LinkAddr::from_raw((&raw const address).cast(), Some(length)) }.context("a link address")?;
    bind(socket.as_raw_fd(), &address)?;
    Ok(Arc::new(socket))
}

/// What the tester itself sends is not recorded: a flood would fill the queue.
fn ignore_outgoing(socket: &Socket) -> anyhow::Result<()> {
    let on: libc::c_int = 1;
    let length = libc::socklen_t::try_from(size_of_val(&on))?;
    let (descriptor, option) = (socket.as_raw_fd(), libc::PACKET_IGNORE_OUTGOING);
    // SAFETY: the pointer is to an integer of that length.
    let result = unsafe { libc::setsockopt(descriptor, libc::SOL_PACKET, option, (&raw const on).cast(), length) };
    ensure!(result == 0, "PACKET_IGNORE_OUTGOING: {}", Errno::last());
    Ok(())
}

fn record(frames: &Mutex<Vec<Frame>>, ports: &[String], running: &Running) -> anyhow::Result<()> {
    let ports = ports
        .iter()
        .map(|port| Ok(nix::net::if_::if_nametoindex(port.as_str())? as usize))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let protocol = i32::from((libc::ETH_P_ALL as u16).to_be());
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(protocol)))?;
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    socket.set_recv_buffer_size(4 << 20)?;
    setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
    ignore_outgoing(&socket)?;
    running.ready();
    let mut buffer = [0; 2048];
    let mut control = nix::cmsg_space!(nix::sys::time::TimeSpec);
    while running.goes_on() {
        let mut slices = [IoSliceMut::new(&mut buffer)];
        let message = match recvmsg::<LinkAddr>(socket.as_raw_fd(), &mut slices, Some(&mut control), MsgFlags::empty())
        {
            Ok(message) => message,
            // The port's link went down.
            Err(Errno::EAGAIN | Errno::EINTR | Errno::ENETDOWN) => continue,
            Err(error) => return Err(error.into()),
        };
        let Some(link) = message.address else { continue };
        let Some(port) = ports.iter().position(|&port| port == link.ifindex()) else { continue };
        let stamp = message.cmsgs()?.find_map(|message| match message {
            ControlMessageOwned::ScmTimestampns(time) => Some(Duration::from(time)),
            _ => None,
        });
        let now = Instant::now();
        let wall = Duration::from(clock_gettime(ClockId::CLOCK_REALTIME)?);
        let age = stamp.map_or(Duration::ZERO, |stamp| wall.saturating_sub(stamp));
        let length = message.bytes;
        let frame = Frame { at: now.checked_sub(age).unwrap_or(now), port, bytes: buffer[..length].to_vec() };
        frames.lock().expect("no thread panics with it").push(frame);
    }
    Ok(())
}
