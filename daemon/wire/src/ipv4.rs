//! The IPv4 header of a packet: who sent it to whom, with which TTL, and where its payload begins and ends.
//!
//! A packet socket delivers packets that the kernel has not looked at, so everything that the kernel would check before
//! it delivers one is checked here. Not a general IPv4 stack: fragments are refused, options skipped.

use std::net::Ipv4Addr;

use thiserror::Error;

use crate::checksum::Sum;

/// What an advertisement's reception needs of the IPv4 header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Where the packet came from.
    pub source: Ipv4Addr,
    /// Where it was sent.
    pub destination: Ipv4Addr,
    /// The time to live as it arrived.
    pub ttl: u8,
    /// The protocol of the payload.
    pub protocol: u8,
}

/// Why bytes are no IPv4 packet that an advertisement could be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HeaderError {
    /// Fewer bytes than the smallest header, or than the header's own length.
    #[error("{found} bytes, expected a header of at least {expected}")]
    Short {
        /// Bytes that a header would need.
        expected: usize,
        /// Bytes there.
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
        /// Bytes that arrived in all.
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
    /// Reads the header and returns it with the payload, which ends where the total length says: bytes that the link
    /// added as padding are not part of it.
    pub fn parse(packet: &[u8]) -> Result<(Self, &[u8]), HeaderError> {
        let found = packet.len();
        let short = |expected| HeaderError::Short { expected, found };
        let fixed = packet.first_chunk::<20>().ok_or(short(20))?;
        let &[first, _, total_high, total_low, _, _, fragment_high, fragment_low, ttl, protocol, ..] = fixed;
        let &[.., s0, s1, s2, s3, d0, d1, d2, d3] = fixed;
        if first >> 4 != 4 {
            return Err(HeaderError::Version(first >> 4));
        }
        let words = first & 0x0f;
        if words < 5 {
            return Err(HeaderError::HeaderLength(words));
        }
        let header = usize::from(words) * 4;
        if found < header {
            return Err(short(header));
        }
        if !packet.get(..header).is_some_and(|bytes| Sum::of_message(bytes).is_intact()) {
            return Err(HeaderError::Checksum);
        }
        // More fragments, or an offset; "don't fragment" and the reserved bit are no matter.
        if u16::from_be_bytes([fragment_high, fragment_low]) & 0x3fff != 0 {
            return Err(HeaderError::Fragment);
        }
        let total = usize::from(u16::from_be_bytes([total_high, total_low]));
        let payload = packet.get(header..total).ok_or(HeaderError::TotalLength { total, header, found })?;
        let header =
            Self { source: Ipv4Addr::new(s0, s1, s2, s3), destination: Ipv4Addr::new(d0, d1, d2, d3), ttl, protocol };
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
        let checksum = Sum::of_message(&bytes[..header]).checksum();
        bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
    }

    #[test]
    fn row_31_options_are_skipped() {
        for words in [5, 6, 15] {
            let bytes = packet(words, b"payload", 0);
            let (header, payload) = Header::parse(&bytes).expect("a whole packet");
            assert_eq!(payload, b"payload");
            assert_eq!((header.ttl, header.protocol), (255, 112));
            assert_eq!(header.source, Ipv4Addr::new(192, 0, 2, 251));
            assert_eq!(header.destination, crate::GROUP_V4);
        }
    }

    #[test]
    fn row_31_a_header_length_below_five_is_refused() {
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
    fn a_packet_cut_at_any_length_is_refused() {
        let bytes = packet(6, b"payload", 0);
        for length in 0..bytes.len() {
            assert!(Header::parse(&bytes[..length]).is_err(), "length {length}");
        }
    }

    #[test]
    fn a_total_length_inside_the_header_is_refused() {
        let mut bytes = packet(6, b"payload", 0);
        bytes[3] = 20;
        fix_checksum(&mut bytes);
        assert!(matches!(Header::parse(&bytes), Err(HeaderError::TotalLength { total: 20, .. })));
    }

    #[test]
    fn fragments_and_other_versions_are_refused() {
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
    fn a_header_with_any_bit_flipped_is_refused() {
        let good = packet(6, b"payload", 0);
        for bit in 0..24 * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Header::parse(&bytes).is_err(), "bit {bit}");
        }
    }
}
