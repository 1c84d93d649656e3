//! The published vectors, and every single-bit change of them.

use super::*;
use crate::{
    AdvertInterval, Advertisement, Auth, ChecksumForm, ParseError, Priority, Version, Vrid, parse, parse_with_hmac,
};

fn key() -> HmacKey {
    HmacKey { id: 1, secret: (0..=0x1f).collect() }
}

const SEQUENCE: Sequence = Sequence { seconds: 0x6800_0000, fraction: 0x8000, counter: 0 };

/// A published packet: its ends, what it advertises, and its bytes.
struct Vector {
    source: &'static str,
    destination: &'static str,
    address: &'static str,
    bytes: &'static str,
}

const VECTORS: [Vector; 2] = [
    Vector {
        source: "198.51.100.10",
        destination: "224.0.0.18",
        address: "192.0.2.100",
        bytes: "3133c80100644402c0000264\
                010100006800000080000000\
                1b84bc4e8e43892dc6d98448f8ee2265",
    },
    Vector {
        source: "fe80::10",
        destination: "fe80::20",
        address: "fe80::100",
        bytes: "3133c8010064a2e9fe800000000000000000000000000100\
                010100006800000080000000\
                c8c56146ebfd66ee10ec4d8186461b78",
    },
];

impl Vector {
    fn ends(&self) -> (IpAddr, IpAddr) {
        (self.source.parse().expect("an address"), self.destination.parse().expect("an address"))
    }

    fn bytes(&self) -> Vec<u8> {
        let digits = self.bytes.as_bytes().as_chunks::<2>().0;
        let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).expect("digits"), 16).expect("digits");
        digits.iter().map(byte).collect()
    }

    fn advertisement(&self) -> Advertisement {
        Advertisement {
            version: Version::V3,
            vrid: Vrid::new(51).expect("not 0"),
            priority: Priority::new(200),
            interval: AdvertInterval::ONE_SECOND,
            addresses: vec![self.address.parse().expect("an address")],
            auth: Auth::None,
        }
    }
}

/// Whether a receiver with the key accepts the bytes.
fn accepts(bytes: &[u8], source: IpAddr, destination: IpAddr) -> bool {
    match parse_with_hmac(bytes, source, destination) {
        Ok((_, Some((trailer, message)))) => trailer.key == 1 && trailer.is_authentic(&key(), source, message),
        Ok((_, None)) | Err(_) => false,
    }
}

#[test]
fn published_vectors_are_encoded_and_accepted() {
    for vector in VECTORS {
        let (source, destination) = vector.ends();
        let sent =
            vector.advertisement().encode_with_hmac(source, destination, ChecksumForm::MessageOnly, &key(), SEQUENCE);
        assert_eq!(sent, Ok(vector.bytes()), "{}", vector.source);
        let bytes = vector.bytes();
        let (parsed, trailer) = parse_with_hmac(&bytes, source, destination).expect("a valid packet");
        assert_eq!(parsed.advertisement, vector.advertisement());
        let (trailer, message) = trailer.expect("a trailer");
        assert_eq!((trailer.key, trailer.sequence), (1, SEQUENCE));
        assert!(trailer.is_authentic(&key(), source, message));
    }
}

#[test]
fn packet_with_any_bit_flipped_is_refused() {
    for vector in VECTORS {
        let (source, destination) = vector.ends();
        for bit in 0..vector.bytes().len() * 8 {
            let mut bytes = vector.bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(!accepts(&bytes, source, destination), "bit {bit} of the packet from {}", vector.source);
        }
    }
}

/// The checksum protects nothing here: an attacker can compute it. Everything else needs the tag.
#[test]
fn tag_alone_refuses_every_flipped_bit_but_those_of_the_checksum() {
    for vector in VECTORS {
        let (source, _) = vector.ends();
        let length = vector.bytes().len() - TRAILER;
        for bit in 0..vector.bytes().len() * 8 {
            let mut bytes = vector.bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let (message, trailer) = bytes.split_at(length);
            let trailer = Trailer::parse(trailer.try_into().expect("28 bytes"));
            let authentic = trailer.is_some_and(|t| t.key == 1 && t.is_authentic(&key(), source, message));
            assert_eq!(authentic, CHECKSUM.contains(&(bit / 8)), "bit {bit} of the packet from {}", vector.source);
        }
    }
}

#[test]
fn trailer_of_another_key_or_source_is_not_authentic() {
    let [vector, _] = VECTORS;
    let (source, destination) = vector.ends();
    let bytes = vector.bytes();
    let (_, trailer) = parse_with_hmac(&bytes, source, destination).expect("a valid packet");
    let (trailer, message) = trailer.expect("a trailer");
    let other = HmacKey { secret: vec![7; 32], ..key() };
    assert!(!trailer.is_authentic(&other, source, message));
    assert!(!trailer.is_authentic(&key(), "198.51.100.11".parse().expect("an address"), message));
}

#[test]
fn row_20_trailer_is_an_error_of_the_length_for_a_receiver_without_keys() {
    for vector in VECTORS {
        let (source, destination) = vector.ends();
        assert!(matches!(parse(&vector.bytes(), source, destination), Err(ParseError::Length { .. })));
    }
}

#[test]
fn packet_cut_at_any_length_is_refused() {
    for vector in VECTORS {
        let (source, destination) = vector.ends();
        let bytes = vector.bytes();
        for length in 0..bytes.len() {
            assert!(!accepts(&bytes[..length], source, destination), "{length} bytes");
        }
    }
}

#[test]
fn sequence_increases_with_time_and_counter() {
    use std::time::Duration;
    let second = Sequence::at(Duration::from_millis(1500));
    assert_eq!(second, Sequence { seconds: 1, fraction: 0x8000, counter: 0 });
    assert!(second.next() > second);
    let full = Sequence { seconds: 1, fraction: u16::MAX, counter: u16::MAX };
    assert_eq!(full.next(), Sequence { seconds: 2, fraction: 0, counter: 0 });
    assert!(Sequence::at(Duration::from_micros(1_000_000)) > Sequence::at(Duration::from_micros(999_999)));
}
