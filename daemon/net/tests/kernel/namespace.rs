//! A network namespace for one test, with a veth pair `near` (192.0.2.1/24) and `far`, and tools to observe it.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressMessage, AddressProtocol, CacheInfo};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{SocketAddr, protocols::NETLINK_ROUTE};
use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{MsgFlags, recv, send};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use vouchd_net::{Claim, InstanceKey, OUR_PROTOCOL, Receiver, VirtualAddress};

pub const PRIMARY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub const PEER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
pub const VIRTUAL: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);

/// Longer than anything here takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Runs `test` in a new namespace; the threads and programs that it starts are in it too. The namespace ends with them.
pub fn in_namespace(test: impl FnOnce() + Send + 'static) {
    let name = thread::current().name().unwrap_or("?").to_owned();
    let run = move || {
        match unshare(CloneFlags::CLONE_NEWNET) {
            Ok(()) => {}
            Err(Errno::EPERM) => {
                return vouchd_skip::skip(
                    "no permission for a network namespace",
                    "run the tests as root, or under `unshare -Urn`",
                );
            }
            Err(error) => panic!("a network namespace: {error}"),
        }
        ip("link set lo up");
        ip("link add near type veth peer name far");
        ip("link set near up");
        ip("link set far up");
        ip("address add 192.0.2.1/24 dev near");
        test();
    };
    // Its own thread, since a test's thread may be used for the next test.
    let thread = thread::Builder::new().name(name).spawn(run).expect("a thread");
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Runs `ip` with these arguments.
pub fn ip(arguments: &str) -> String {
    let output = Command::new("ip").args(arguments.split(' ')).output().expect("iproute2 is installed");
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The `inet` lines of an interface.
pub fn held(interface: &str) -> String {
    ip(&format!("-4 -o address show dev {interface}"))
}

pub fn holds(address: Ipv4Addr) -> bool {
    held("near").contains(&format!("inet {address}/"))
}

pub fn instance() -> InstanceKey {
    "web".into()
}

pub fn virtual_address() -> VirtualAddress {
    VirtualAddress { interface: "near".into(), address: VIRTUAL.into(), prefix: 32 }
}

/// The instance's claim while it is not active.
pub fn claim() -> Claim {
    claim_of(&instance(), "near", &[(VIRTUAL, 32)])
}

pub fn claim_of(instance: &InstanceKey, interface: &str, addresses: &[(Ipv4Addr, u8)]) -> Claim {
    let virtual_address = |&(address, prefix): &(Ipv4Addr, u8)| VirtualAddress {
        interface: interface.into(),
        address: address.into(),
        prefix,
    };
    Claim {
        instance: instance.clone(),
        addresses: addresses.iter().map(virtual_address).collect(),
        owner: false,
        adopt: false,
        attributes: Default::default(),
        routing: Default::default(),
        virtual_mac: None,
        accept: true,
        lifetime: None,
    }
}

/// Returns what comes through a channel next; fails if nothing does.
pub fn wait_for<T>(receiver: &Receiver<T>) -> Vec<T> {
    assert!(readable(receiver.as_fd(), PATIENCE), "nothing came in {PATIENCE:?}");
    receiver.drain().expect("the other end lives")
}

/// Returns everything that comes through a channel up to the first value for which `found` holds.
pub fn wait_until<T: std::fmt::Debug>(receiver: &Receiver<T>, found: impl Fn(&T) -> bool) -> Vec<T> {
    let end = Instant::now() + PATIENCE;
    let mut all = Vec::new();
    while Instant::now() < end {
        all.extend(wait_for(receiver));
        if all.iter().any(&found) {
            return all;
        }
    }
    panic!("not among {all:?}");
}

/// Waits until `condition` holds.
pub fn until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "{what}: {}", held("near"));
        thread::sleep(Duration::from_millis(5));
    }
}

fn readable(descriptor: std::os::fd::BorrowedFd<'_>, timeout: Duration) -> bool {
    let mut descriptors = [PollFd::new(descriptor, PollFlags::POLLIN)];
    poll(&mut descriptors, PollTimeout::try_from(timeout).unwrap()).unwrap() == 1
}

/// An end of the wire: receives and sends whole Ethernet frames of one type.
pub struct Wire(Socket);

impl Wire {
    pub fn open(interface: &str, ethertype: u16) -> Self {
        let index = i32::try_from(if_nametoindex(interface).unwrap()).unwrap();
        let protocol = Protocol::from(i32::from(ethertype.to_be()));
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(protocol)).unwrap();
        // SAFETY: the storage is large enough for a sockaddr_ll and zeroed; the length is that of a sockaddr_ll.
        let ((), address) = unsafe {
            SockAddr::try_init(|storage, length| {
                let address = storage.cast::<libc::sockaddr_ll>();
                (*address).sll_family = libc::AF_PACKET as u16;
                (*address).sll_protocol = ethertype.to_be();
                (*address).sll_ifindex = index;
                *length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
                Ok(())
            })
        }
        .unwrap();
        socket.bind(&address).unwrap();
        Self(socket)
    }

    /// The next frame within `timeout`.
    pub fn next(&self, timeout: Duration) -> Option<Vec<u8>> {
        if !readable(self.0.as_fd(), timeout) {
            return None;
        }
        let mut frame = vec![0; 65_536];
        let length = recv(self.0.as_raw_fd(), &mut frame, MsgFlags::empty()).unwrap();
        frame.truncate(length);
        Some(frame)
    }

    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        assert_eq!(send(self.0.as_raw_fd(), frame, MsgFlags::empty())?, frame.len());
        Ok(())
    }
}

/// The MAC address of an interface.
pub fn mac(interface: &str) -> [u8; 6] {
    let line = ip(&format!("-o link show dev {interface}"));
    let text = line.split("link/ether ").nth(1).unwrap().split(' ').next().unwrap();
    let bytes: Vec<u8> = text.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    bytes.try_into().unwrap()
}

/// Adds an address with vouchd's mark, as a killed run leaves it behind. (`ip` supports marks since 6.3 only.)
///
/// Built by hand, so that the daemon's requests are not tested with themselves.
pub fn left_behind(interface: &str, address: Ipv4Addr, prefix: u8, seconds: u32) {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.prefix_len = prefix;
    message.header.index = if_nametoindex(interface).unwrap();
    let mut lifetime = CacheInfo::default();
    (lifetime.ifa_valid, lifetime.ifa_preferred) = (seconds, seconds);
    message.attributes = vec![
        AddressAttribute::Local(address.into()),
        AddressAttribute::Address(address.into()),
        AddressAttribute::CacheInfo(lifetime),
        AddressAttribute::Protocol(AddressProtocol::Other(OUR_PROTOCOL)),
    ];
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
    let mut message =
        NetlinkMessage::new(header, NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewAddress(message)));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    let mut socket = netlink_sys::Socket::new(NETLINK_ROUTE).unwrap();
    socket.bind_auto().unwrap();
    socket.send_to(&bytes, &SocketAddr::new(0, 0), 0).unwrap();
    let (answer, _) = socket.recv_from_full().unwrap();
    let code = i32::from_ne_bytes(answer[16..20].try_into().unwrap());
    assert_eq!(code, 0, "{}", io::Error::from_raw_os_error(-code));
}
