//! The table that drops packets to virtual addresses (Accept_Mode off, RFC 9568 section 6.4.3).

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::time::Duration;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};

use super::message::{Attributes, Batch, Command, answers};

/// How long the kernel may take. The transaction is carried out while it is sent.
const PATIENCE: Duration = Duration::from_secs(2);

/// Elements in one message: the length of an attribute has 16 bits.
const CHUNK: usize = 1000;

/// The name of the chain, and its hook.
const CHAIN: &str = "input";

const NFT_TABLE_F_OWNER: u32 = 2;
const NFT_SET_CONSTANT: u32 = 2;
const NF_INET_LOCAL_IN: u32 = 1;
const NF_DROP: u32 = 0;
const NF_ACCEPT: u32 = 1;

/// Keys of `meta`.
const NFT_META_IIF: u32 = 4;
const NFT_META_NFPROTO: u32 = 15;
const NFT_META_L4PROTO: u32 = 16;

/// Bases of `payload`.
const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;

const NFPROTO_IPV4: u8 = 2;
const NFPROTO_IPV6: u8 = 10;
const ICMPV6: u8 = 58;
const NEIGHBOR_SOLICITATION: u8 = 135;
const NEIGHBOR_ADVERTISEMENT: u8 = 136;

/// The loopback interface has this index in every network namespace.
const LOOPBACK: u32 = 1;

/// Drops packets to the given addresses that this host would accept. Never neighbour solicitations and advertisements, nor
/// what this host sends to itself, nor what it forwards.
#[derive(Debug, Default)]
pub(crate) struct AcceptFilter {
    socket: Option<Socket>,
    dropped: BTreeSet<IpAddr>,
    sequence: u32,
}

impl AcceptFilter {
    /// Drops packets to these addresses from now on, instead of those before. Does nothing if they are the same.
    ///
    /// # Errors
    /// `EPERM` without CAP_NET_ADMIN; `EPROTONOSUPPORT` or `EOPNOTSUPP` if the kernel has no nf_tables, or one before Linux
    /// 5.12. Nothing is dropped then.
    pub(crate) fn set(&mut self, dropped: BTreeSet<IpAddr>) -> io::Result<()> {
        if dropped == self.dropped {
            return Ok(());
        }
        let result = if dropped.is_empty() { Ok(None) } else { self.replace(&dropped).map(Some) };
        match result {
            Ok(socket) => {
                // The table goes with the socket.
                (self.socket, self.dropped) = (socket, dropped);
                Ok(())
            }
            Err(error) => {
                (self.socket, self.dropped) = (None, BTreeSet::new());
                Err(error)
            }
        }
    }

    /// Makes the table anew in one transaction.
    fn replace(&mut self, dropped: &BTreeSet<IpAddr>) -> io::Result<Socket> {
        let (socket, exists) = match self.socket.take() {
            Some(socket) => (socket, true),
            None => (open()?, false),
        };
        let mut address = SocketAddr::new(0, 0);
        socket.get_address(&mut address)?;
        // The port is unique in the network namespace, so another daemon has another table.
        let table = format!("vouchd-{}", address.port_number());
        self.sequence = self.sequence.wrapping_add(1).max(1);
        let mut batch = Batch::new(self.sequence);
        if exists {
            batch.push(Command::DeleteTable, Attributes::default().text(1, &table));
        }
        fill(&mut batch, &table, dropped);
        let (bytes, last) = batch.finish();
        self.sequence = last.wrapping_add(1);
        let sent = socket.send_to(&bytes, &SocketAddr::new(0, 0), 0)?;
        debug_assert_eq!(sent, bytes.len(), "netlink sends a datagram whole or not at all");
        acknowledged(&socket, last)?;
        Ok(socket)
    }
}

fn open() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    let patience = TimeVal::milliseconds(PATIENCE.as_millis() as i64);
    setsockopt(&socket, sockopt::ReceiveTimeout, &patience)?;
    Ok(socket)
}

/// Waits until the kernel has acknowledged the last command or refused one.
fn acknowledged(socket: &Socket, last: u32) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let length = match nix::sys::socket::recv(socket.as_raw_fd(), &mut buffer, nix::sys::socket::MsgFlags::empty())
        {
            Ok(length) => length,
            Err(Errno::EINTR) => continue,
            Err(error) => return Err(error.into()),
        };
        for (sequence, code) in answers(&buffer[..length]) {
            if code != 0 {
                return Err(io::Error::from_raw_os_error(-code));
            }
            if sequence == last {
                return Ok(());
            }
        }
    }
}

/// The table with its sets, its chain and its rules.
fn fill(batch: &mut Batch, table: &str, dropped: &BTreeSet<IpAddr>) {
    batch.push(Command::NewTable, Attributes::default().text(1, table).number(2, NFT_TABLE_F_OWNER));
    let v4: Vec<_> =
        dropped.iter().filter_map(|ip| if let IpAddr::V4(ip) = ip { Some(ip.octets()) } else { None }).collect();
    let v6: Vec<_> =
        dropped.iter().filter_map(|ip| if let IpAddr::V6(ip) = ip { Some(ip.octets()) } else { None }).collect();
    // The numbers of the types are nft's own, so that it can print the elements.
    set(batch, table, "v4", 1, (7, 4), &v4);
    set(batch, table, "v6", 2, (8, 16), &v6);
    let hook = Attributes::default().number(1, NF_INET_LOCAL_IN).number(2, 0);
    batch
        .push(Command::NewChain, Attributes::default().text(1, table).text(3, CHAIN).nested(4, hook).text(7, "filter"));
    let is_ipv4 = || meta_is(NFT_META_NFPROTO, &[NFPROTO_IPV4]);
    let is_ipv6 = || meta_is(NFT_META_NFPROTO, &[NFPROTO_IPV6]);
    rule(batch, table, [meta_is(NFT_META_IIF, &LOOPBACK.to_ne_bytes()), vec![verdict(NF_ACCEPT)]].concat());
    for kind in [NEIGHBOR_SOLICITATION, NEIGHBOR_ADVERTISEMENT] {
        let is_kind = vec![payload(TRANSPORT_HEADER, 0, 1), is_equal(&[kind])];
        let is_icmp = meta_is(NFT_META_L4PROTO, &[ICMPV6]);
        rule(batch, table, [is_ipv6(), is_icmp, is_kind, vec![verdict(NF_ACCEPT)]].concat());
    }
    let to = |offset, length, set| vec![payload(NETWORK_HEADER, offset, length), lookup(set), verdict(NF_DROP)];
    rule(batch, table, [is_ipv4(), to(16, 4, "v4")].concat());
    rule(batch, table, [is_ipv6(), to(24, 16, "v6")].concat());
}

/// A set of addresses: its number in this transaction, its type and the length of an element.
fn set<const N: usize>(
    batch: &mut Batch,
    table: &str,
    name: &str,
    number: u32,
    (kind, length): (u32, u32),
    elements: &[[u8; N]],
) {
    let attributes = Attributes::default().text(1, table).text(2, name).number(3, NFT_SET_CONSTANT);
    batch.push(Command::NewSet, attributes.number(4, kind).number(5, length).number(10, number));
    for chunk in elements.chunks(CHUNK) {
        let list = chunk.iter().fold(Attributes::default(), |list, element| {
            let key = Attributes::default().nested(1, Attributes::default().bytes(1, element));
            list.nested(1, key)
        });
        let attributes = Attributes::default().text(1, table).text(2, name).number(4, number);
        batch.push(Command::NewElements, attributes.nested(3, list));
    }
}

fn rule(batch: &mut Batch, table: &str, expressions: Vec<Attributes>) {
    let list = expressions.into_iter().fold(Attributes::default(), |list, expression| list.nested(1, expression));
    batch.push(Command::NewRule, Attributes::default().text(1, table).text(2, CHAIN).nested(4, list));
}

fn expression(name: &str, data: Attributes) -> Attributes {
    Attributes::default().text(1, name).nested(2, data)
}

/// Two expressions: a fact about the packet is this value.
fn meta_is(key: u32, value: &[u8]) -> Vec<Attributes> {
    vec![expression("meta", Attributes::default().number(2, key).number(1, 1)), is_equal(value)]
}

/// Loads a part of the packet into register 1.
fn payload(base: u32, offset: u32, length: u32) -> Attributes {
    expression("payload", Attributes::default().number(1, 1).number(2, base).number(3, offset).number(4, length))
}

/// Whether register 1 has this value; else the rule ends.
fn is_equal(value: &[u8]) -> Attributes {
    const EQUAL: u32 = 0;
    let data = Attributes::default().bytes(1, value);
    expression("cmp", Attributes::default().number(1, 1).number(2, EQUAL).nested(3, data))
}

/// Whether register 1 is in the set; else the rule ends.
fn lookup(set: &str) -> Attributes {
    expression("lookup", Attributes::default().text(1, set).number(2, 1))
}

fn verdict(code: u32) -> Attributes {
    const VERDICT_REGISTER: u32 = 0;
    let verdict = Attributes::default().nested(2, Attributes::default().number(1, code));
    expression("immediate", Attributes::default().number(1, VERDICT_REGISTER).nested(2, verdict))
}
