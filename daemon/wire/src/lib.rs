//! VRRP packets: bytes to checked values and back.
//!
//! An [`Advertisement`] is the one message that VRRP has: RFC 9568 section 5.1 (version 3, IPv4 and IPv6) and
//! RFC 3768 section 5.1 with the simple text authentication of RFC 2338 (version 2, IPv4 only).
//! [`Advertisement::encode`] writes the bytes that follow the IP header, [`parse`] reads them. A packet either parses into
//! a whole, checked value or is rejected with one named [`ParseError`]. Nothing half-parsed leaves this crate, and no input
//! makes it panic.
//!
//! [`ipv4`] and [`ipv6`] read and check the IP header in front of it. [`arp`] and [`ndp`] build the frames that move an
//! address to its new holder, and read the claims in other machines' packets. [`frame`] builds the frame of
//! an advertisement from a virtual MAC.
//!
//! [`Time`] is here because both the protocol and the kernel's side need it, and neither depends on the other.
//!
//! Whether a router accepts a well-formed advertisement (TTL, VRID, password, interval) is decided in `vouchd-vrrp`. This
//! crate is pure: no socket, no clock, no logging; its `clippy.toml` enforces that.
#![forbid(unsafe_code)]
#![warn(missing_docs, unreachable_pub)]

mod advertisement;
pub mod arp;
mod checksum;
pub mod frame;
pub mod hmac;
pub mod ipv4;
pub mod ipv6;
pub mod ndp;
mod time;
mod values;

pub use advertisement::{
    Advertisement, EncodeError, ParseError, Parsed, parse, parse_with_hmac, peek_version, peek_vrid,
};
pub use checksum::ChecksumForm;
pub use time::Time;
pub use values::{AdvertInterval, Auth, Family, IntervalError, Priority, Version, Vrid, ZeroVrid};

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The IP protocol number of VRRP (RFC 9568 section 5.1.1.4).
pub const IP_PROTOCOL: u8 = 112;

/// The TTL or hop limit of every advertisement (RFC 9568 section 5.1.1.3). A packet that passed a router has less.
pub const TTL: u8 = 255;

/// The IPv4 multicast group of VRRP (RFC 9568 section 5.1.1.2).
pub const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);

/// The IPv6 multicast group of VRRP (RFC 9568 section 5.1.2.2).
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);

/// The multicast group for advertisements in the family of `address`.
pub fn group_for(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => IpAddr::V4(GROUP_V4),
        IpAddr::V6(_) => IpAddr::V6(GROUP_V6),
    }
}
