//! The IPv4 header of a received packet: source, destination, TTL, and where its payload begins and ends.
//!
//! A packet socket delivers packets that the kernel has not checked, so this module checks everything that the kernel
//! checks before it delivers one. It is not a general IPv4 stack: it rejects fragments and skips options.
//!
//! `pnet_packet` knows where the fields are. Its views check no length beyond the fixed header and no value at all, so
//! all checks are made here.

use std::net::Ipv4Addr;

use pnet_packet::ipv4::{Ipv4Flags, Ipv4Packet};
use thiserror::Error;

use crate::checksum;

/// The length of a header without options, in 32-bit words.
const MIN_WORDS: u8 = 5;

/// The fields of an IPv4 header that a receiver of advertisements needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The sender.
    pub source: Ipv4Addr,
    /// The receiver: a unicast address or a multicast group.
    pub destination: Ipv4Addr,
    /// The time to live as it arrived.
    pub ttl: u8,
    /// The protocol of the payload.
    pub protocol: u8,
    /// The length of the header in bytes, options included, 20..=60: where the payload starts.
    pub length: usize,
}

/// Why bytes are not an IPv4 packet that can carry an advertisement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HeaderError {
    /// Fewer bytes than the smallest header, or than the header's own length.
    #[error("{found} bytes, expected a header of at least {expected}")]
    Short {
        /// Bytes that a header would need.
        expected: usize,
        /// Bytes that arrived.
        found: usize,
    },
    /// The version field is not 4.
    #[error("IP version {0}, expected 4")]
    Version(u8),
    /// The header length field is below the smallest header.
    #[error("header length field {0}, expected at least 5")]
    HeaderLength(u8),
    /// The total length is less than the header, or more than what arrived.
    #[error("total length field {total}, but {found} bytes arrived after a header of {header}")]
    TotalLength {
        /// The field.
        total: usize,
        /// The header's length.
        header: usize,
        /// Bytes that arrived, header included.
        found: usize,
    },
    /// A piece of a larger packet.
    #[error("a fragment, expected a whole packet")]
    Fragment,
    /// Damaged on the way (RFC 1122 section 3.2.1.2).
    #[error("wrong header checksum")]
    Checksum,
}

impl Header {
    /// Reads the header and returns it with the payload. The payload ends where the total length says: padding that the
    /// link added is not part of it.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn parse(packet: &[u8]) -> Result<(Self, &[u8]), HeaderError> {
        let found = packet.len();
        let short = |expected| HeaderError::Short { expected, found };
        let view = Ipv4Packet::new(packet).ok_or(short(Ipv4Packet::minimum_packet_size()))?;
        if view.get_version() != 4 {
            return Err(HeaderError::Version(view.get_version()));
        }
        let words = view.get_header_length();
        if words < MIN_WORDS {
            return Err(HeaderError::HeaderLength(words));
        }
        let length = usize::from(words) * 4;
        let header = packet.get(..length).ok_or(short(length))?;
        if checksum::of(header) != 0 {
            return Err(HeaderError::Checksum);
        }
        // "Don't fragment" and the reserved bit are ignored.
        if view.get_flags() & Ipv4Flags::MoreFragments != 0 || view.get_fragment_offset() != 0 {
            return Err(HeaderError::Fragment);
        }
        let total = usize::from(view.get_total_length());
        let payload = packet.get(length..total).ok_or(HeaderError::TotalLength { total, header: length, found })?;
        let header = Self {
            source: view.get_source(),
            destination: view.get_destination(),
            ttl: view.get_ttl(),
            protocol: view.get_next_level_protocol().0,
            length,
        };
        Ok((header, payload))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(words: u8, payload: &[u8], padding: usize) -> Vec<u8> {
        let header = usize::from(words) * 4;
        let mut bytes = vec![0; header];
        bytes[0] = 0x40 | words;
        bytes[2..4].copy_from_slice(&((header + payload.len()) as u16).to_be_bytes());
        bytes[8] = 255;
        bytes[9] = 112;
        bytes[12..16].copy_from_slice(&[192, 0, 2, 251]);
        bytes[16..20].copy_from_slice(&[224, 0, 0, 18]);
        fix_checksum(&mut bytes);
        bytes.extend_from_slice(payload);
        bytes.extend(vec![0; padding]);
        bytes
    }

    fn fix_checksum(bytes: &mut [u8]) {
        let header = usize::from(bytes[0] & 0x0f) * 4;
        bytes[10..12].fill(0);
        let checksum = checksum::of(&bytes[..header]);
        bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
    }

    #[test]
    fn row_31_options_are_skipped() {
        for words in [5, 6, 15] {
            let bytes = packet(words, b"payload", 0);
            let (header, payload) = Header::parse(&bytes).expect("a whole packet");
            assert_eq!(payload, b"payload");
            assert_eq!((header.ttl, header.protocol), (255, 112));
            assert_eq!(header.length, usize::from(words) * 4);
            assert_eq!(header.source, Ipv4Addr::new(192, 0, 2, 251));
            assert_eq!(header.destination, crate::GROUP_V4);
        }
    }

    #[test]
    fn row_31_header_length_below_five_is_rejected() {
        let mut bytes = packet(5, b"payload", 0);
        for words in 0..5 {
            bytes[0] = 0x40 | words;
            assert_eq!(Header::parse(&bytes), Err(HeaderError::HeaderLength(words)));
        }
    }

    #[test]
    fn row_20_ethernet_padding_is_not_payload() {
        let bytes = packet(5, b"payload", 19);
        assert_eq!(Header::parse(&bytes).map(|(_, payload)| payload), Ok(b"payload".as_slice()));
    }

    #[test]
    fn packet_cut_at_any_length_is_rejected() {
        let bytes = packet(6, b"payload", 0);
        for length in 0..bytes.len() {
            assert!(Header::parse(&bytes[..length]).is_err(), "length {length}");
        }
    }

    #[test]
    fn total_length_inside_the_header_is_rejected() {
        let mut bytes = packet(6, b"payload", 0);
        bytes[3] = 20;
        fix_checksum(&mut bytes);
        assert!(matches!(Header::parse(&bytes), Err(HeaderError::TotalLength { total: 20, .. })));
    }

    #[test]
    fn fragments_and_other_versions_are_rejected() {
        let mut bytes = packet(5, b"payload", 0);
        bytes[6] = 0x20;
        fix_checksum(&mut bytes);
        assert_eq!(Header::parse(&bytes), Err(HeaderError::Fragment));
        bytes[6] = 0x40;
        fix_checksum(&mut bytes);
        assert!(Header::parse(&bytes).is_ok(), "don't fragment is no fragment");
        bytes[0] = 0x65;
        assert_eq!(Header::parse(&bytes), Err(HeaderError::Version(6)));
    }

    #[test]
    fn header_with_any_bit_flipped_is_rejected() {
        let good = packet(6, b"payload", 0);
        for bit in 0..24 * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Header::parse(&bytes).is_err(), "bit {bit}");
        }
    }
}
