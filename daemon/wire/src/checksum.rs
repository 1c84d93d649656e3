//! The internet checksum (RFC 1071) over a VRRP message, with and without the pseudo-header of its IP family, and over an
//! IPv4 header.

use std::net::{Ipv4Addr, Ipv6Addr};

use pnet_packet::ip::IpNextHeaderProtocol;
use pnet_packet::util;

use crate::IP_PROTOCOL;

/// What the checksum of a version 3 advertisement over IPv4 covers.
///
/// RFC 5798 was read as including a pseudo-header, RFC 9568 section 5.2.8 says that it does not. The installed base
/// (keepalived, FRR) sends and requires the pseudo-header. Over IPv6 it is always included, in version 2 never.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChecksumForm {
    /// The message and a pseudo-header of addresses, protocol and length.
    PseudoHeader,
    /// Only the VRRP message.
    MessageOnly,
}

impl ChecksumForm {
    /// The stable name for logs and status.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PseudoHeader => "pseudo_header",
            Self::MessageOnly => "message_only",
        }
    }
}

/// `pnet_packet` skips the word with a given index. No message has this one: callers sum the checksum field, too.
const NO_WORD: usize = usize::MAX;

const PROTOCOL: IpNextHeaderProtocol = IpNextHeaderProtocol(IP_PROTOCOL);

/// The checksum over `bytes` alone. Over bytes that include their checksum it is 0 exactly when they are intact.
pub(crate) fn of(bytes: &[u8]) -> u16 {
    util::checksum(bytes, NO_WORD)
}

/// As [`of`], with the pseudo-header of RFC 793.
pub(crate) fn over_ipv4(message: &[u8], source: Ipv4Addr, destination: Ipv4Addr) -> u16 {
    util::ipv4_checksum(message, NO_WORD, &[], &source, &destination, PROTOCOL)
}

/// As [`of`], with the pseudo-header of RFC 8200 section 8.1.
pub(crate) fn over_ipv6(message: &[u8], source: Ipv6Addr, destination: Ipv6Addr) -> u16 {
    util::ipv6_checksum(message, NO_WORD, &[], &source, &destination, PROTOCOL)
}
