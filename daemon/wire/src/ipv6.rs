//! The IPv6 header of a received packet: source, destination, hop limit, and where its payload ends.
//!
//! A packet socket delivers packets that the kernel has not checked, so this module checks what the kernel checks before it
//! delivers one. Extension headers are not followed: [`Header::next_header`] says whether there are any.
//!
//! `pnet_packet` knows where the fields are, and checks nothing but the length of the fixed header.

use std::net::Ipv6Addr;

use pnet_packet::ipv6::Ipv6Packet;
use thiserror::Error;

/// The length of the header, without extension headers.
pub const HEADER_LEN: usize = Ipv6Packet::minimum_packet_size();

/// The fields of an IPv6 header that a receiver of advertisements needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The sender.
    pub source: Ipv6Addr,
    /// The receiver: a unicast address or a multicast group.
    pub destination: Ipv6Addr,
    /// The hop limit as it arrived.
    pub hop_limit: u8,
    /// What follows the header: a protocol, or an extension header.
    pub next_header: u8,
}

/// Why bytes are not an IPv6 packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HeaderError {
    /// Fewer bytes than the header.
    #[error("{found} bytes, expected a header of at least {HEADER_LEN}")]
    Short {
        /// Bytes that arrived.
        found: usize,
    },
    /// The version field is not 6.
    #[error("IP version {0}, expected 6")]
    Version(u8),
    /// The payload length is more than what arrived.
    #[error("payload length field {length}, but {found} bytes arrived after the header")]
    PayloadLength {
        /// The field.
        length: usize,
        /// Bytes that arrived, without the header.
        found: usize,
    },
}

impl Header {
    /// Reads the header and returns it with the payload. The payload ends where the payload length says: padding that the
    /// link added is not part of it.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn parse(packet: &[u8]) -> Result<(Self, &[u8]), HeaderError> {
        let found = packet.len();
        let view = Ipv6Packet::new(packet).ok_or(HeaderError::Short { found })?;
        if view.get_version() != 6 {
            return Err(HeaderError::Version(view.get_version()));
        }
        let length = usize::from(view.get_payload_length());
        let payload = packet
            .get(HEADER_LEN..HEADER_LEN + length)
            .ok_or(HeaderError::PayloadLength { length, found: found - HEADER_LEN })?;
        let header = Self {
            source: view.get_source(),
            destination: view.get_destination(),
            hop_limit: view.get_hop_limit(),
            next_header: view.get_next_header().0,
        };
        Ok((header, payload))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(payload: &[u8], padding: usize) -> Vec<u8> {
        let mut bytes = vec![0x6c, 0, 0, 0];
        bytes.extend((payload.len() as u16).to_be_bytes());
        bytes.extend([112, 254]);
        bytes.extend([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xc8]);
        bytes.extend([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x12]);
        bytes.extend(payload);
        bytes.extend(vec![0; padding]);
        bytes
    }

    #[test]
    fn row_16_hop_limit_is_read_with_the_addresses() {
        let bytes = packet(b"payload", 0);
        let (header, payload) = Header::parse(&bytes).expect("a whole packet");
        assert_eq!(payload, b"payload");
        assert_eq!((header.hop_limit, header.next_header), (254, 112));
        assert_eq!(header.source, Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xc8));
        assert_eq!(header.destination, crate::GROUP_V6);
    }

    #[test]
    fn row_20_padding_is_not_payload() {
        let bytes = packet(b"payload", 19);
        assert_eq!(Header::parse(&bytes).map(|(_, payload)| payload), Ok(b"payload".as_slice()));
    }

    #[test]
    fn packet_cut_at_any_length_and_other_versions_are_rejected() {
        let bytes = packet(b"payload", 0);
        for length in 0..bytes.len() {
            assert!(Header::parse(&bytes[..length]).is_err(), "length {length}");
        }
        for version in (0..16).filter(|version| *version != 6) {
            let mut bytes = bytes.clone();
            bytes[0] = version << 4;
            assert_eq!(Header::parse(&bytes), Err(HeaderError::Version(version)));
        }
    }
}
