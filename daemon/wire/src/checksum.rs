//! The internet checksum over a VRRP message, with and without the pseudo-header of its IP family.

use std::net::IpAddr;

use crate::IP_PROTOCOL;

/// What the checksum of a version 3 advertisement over IPv4 covers.
///
/// RFC 5798 was read as including a pseudo-header, RFC 9568 section 5.2.8 says that it does not. The installed base
/// (keepalived, FRR) sends and requires the pseudo-header. Over IPv6 it is always included, in version 2 never.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChecksumForm {
    /// Addresses, protocol and length of the IP packet are summed too.
    PseudoHeader,
    /// Only the VRRP message is summed.
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

/// A running ones' complement sum. 64 bits hold the sum of any packet without overflow.
#[derive(Clone, Copy)]
pub(crate) struct Sum(u64);

impl Sum {
    /// The sum of the message alone, its checksum field included as it stands.
    pub(crate) fn of_message(message: &[u8]) -> Self {
        Self(words(message))
    }

    /// Adds the pseudo-header (RFC 793 for IPv4, RFC 8200 section 8.1 for IPv6). Both add the same words: the
    /// addresses, the length and the protocol.
    pub(crate) fn with_pseudo_header(self, source: IpAddr, destination: IpAddr, length: usize) -> Self {
        let addresses = address_words(source) + address_words(destination);
        // A length over 16 bits folds like the two halves of the 32-bit field that IPv6 has.
        Self(self.0 + addresses + length as u64 + u64::from(IP_PROTOCOL))
    }

    /// The checksum to send, for a message whose checksum field was zero.
    pub(crate) fn checksum(self) -> u16 {
        !self.fold()
    }

    /// Whether a message, its checksum field included, is intact.
    pub(crate) fn is_intact(self) -> bool {
        self.fold() == 0xffff
    }

    fn fold(self) -> u16 {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum as u16
    }
}

fn address_words(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(v4) => words(&v4.octets()),
        IpAddr::V6(v6) => words(&v6.octets()),
    }
}

fn words(bytes: &[u8]) -> u64 {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let sum: u64 = pairs.iter().map(|pair| u64::from(u16::from_be_bytes(*pair))).sum();
    match rest {
        [last] => sum + (u64::from(*last) << 8),
        _ => sum,
    }
}
