//! The demo's network: its links, their addresses, and the addresses that come and go. A socket acts on the network
//! namespace in which its thread was when it opened the socket.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::pin::pin;

use futures_util::{Stream, StreamExt};
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::packet_route::link::{InfoData, InfoVeth};
use rtnetlink::sys::SocketAddr;
use rtnetlink::{LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth, MulticastGroup, new_multicast_connection};
use tokio::runtime::{Builder, Runtime};
use vouchd_net::RequestSocket;

/// Requests to the kernel, one at a time.
pub(crate) struct Network(RequestSocket);

impl Network {
    pub(crate) fn open() -> io::Result<Self> {
        RequestSocket::open().map(Self)
    }

    pub(crate) fn add_bridge(&mut self, name: &str) -> io::Result<()> {
        self.0.change(|handle| handle.link().add(LinkBridge::new(name).build()).execute())
    }

    /// Adds a pair of interfaces: `name` here, `peer` in the network namespace `elsewhere`.
    pub(crate) fn add_veth(&mut self, name: &str, peer: &str, elsewhere: BorrowedFd<'_>) -> io::Result<()> {
        let other = LinkMessageBuilder::<LinkUnspec>::new().name(peer).setns_by_fd(elsewhere.as_raw_fd()).build();
        let link = LinkVeth::new(name, peer).set_info_data(InfoData::Veth(InfoVeth::Peer(other))).build();
        self.0.change(|handle| handle.link().add(link).execute())
    }

    pub(crate) fn set_up(&mut self, name: &str) -> io::Result<()> {
        let link = LinkUnspec::new_with_name(name).up().build();
        self.0.change(|handle| handle.link().change(link).execute())
    }

    /// Plugs an interface into a bridge.
    pub(crate) fn attach(&mut self, name: &str, bridge: &str) -> io::Result<()> {
        let link = LinkUnspec::new_with_name(name).controller(index(bridge)?).build();
        self.0.change(|handle| handle.link().change(link).execute())
    }

    pub(crate) fn add_address(&mut self, name: &str, address: Ipv4Addr, prefix: u8) -> io::Result<()> {
        let index = index(name)?;
        self.0.change(|handle| handle.address().add(index, address.into(), prefix).execute())
    }
}

/// An IPv4 address that came to an interface or left it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AddressChange {
    Added(Ipv4Addr),
    Removed(Ipv4Addr),
}

/// Notifications about IPv4 addresses that come and go, whoever changes them.
pub(crate) struct AddressWatch {
    notifications: Box<dyn Stream<Item = (NetlinkMessage<RouteNetlinkMessage>, SocketAddr)> + Send + Unpin>,
    runtime: Runtime,
}

impl AddressWatch {
    pub(crate) fn open() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_io().build()?;
        let context = runtime.enter();
        let (connection, _, notifications) = new_multicast_connection(&[MulticastGroup::Ipv4Ifaddr])?;
        runtime.spawn(connection);
        drop(context);
        Ok(Self { notifications: Box::new(notifications), runtime })
    }

    /// Waits for the next change. A renewed address is reported as `Added` again.
    ///
    /// # Errors
    /// When the socket is broken.
    pub(crate) fn next(&mut self) -> io::Result<AddressChange> {
        let Self { notifications, runtime } = self;
        let mut changes = pin!(notifications.filter_map(async |(message, _)| change(message.payload)));
        runtime.block_on(changes.next()).ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }
}

fn change(notification: NetlinkPayload<RouteNetlinkMessage>) -> Option<AddressChange> {
    match notification {
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewAddress(message)) => {
            local(&message).map(AddressChange::Added)
        }
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelAddress(message)) => {
            local(&message).map(AddressChange::Removed)
        }
        _ => None,
    }
}

fn local(message: &AddressMessage) -> Option<Ipv4Addr> {
    message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(IpAddr::V4(address)) => Some(*address),
        _ => None,
    })
}

fn index(name: &str) -> io::Result<u32> {
    Ok(nix::net::if_::if_nametoindex(name)?)
}
