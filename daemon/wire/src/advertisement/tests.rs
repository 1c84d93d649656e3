//! The codec against golden frames and against everything else.

use proptest::prelude::*;

use super::*;
use crate::{GROUP_V4, GROUP_V6};

const V4_SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 251));
const V4_GROUP: IpAddr = IpAddr::V4(GROUP_V4);
const V6_SOURCE: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xc8));
const V6_GROUP: IpAddr = IpAddr::V6(GROUP_V6);

const V2: &str = "210ac802000192edc0000201c00002020000000000000000";
const V3_MESSAGE_ONLY: &str = "310ac8020064828ac0000201c0000202";
const V3_PSEUDO_HEADER: &str = "310ac8020064defbc0000201c0000202";
const V3_IPV6: &str = "310a640200643f5dfe80000000000000000000000000000120010db8000000000000000000000001";

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex")).collect()
}

fn v4(version: Version) -> Advertisement {
    Advertisement {
        version,
        vrid: Vrid::new(10).expect("not 0"),
        priority: Priority::new(200),
        interval: AdvertInterval::ONE_SECOND,
        addresses: ["192.0.2.1", "192.0.2.2"].map(|a| a.parse().expect("an address")).to_vec(),
        auth: Auth::None,
    }
}

fn v6() -> Advertisement {
    Advertisement {
        priority: Priority::DEFAULT,
        addresses: ["fe80::1", "2001:db8::1"].map(|a| a.parse().expect("an address")).to_vec(),
        ..v4(Version::V3)
    }
}

/// A golden frame with its content and its addresses.
#[derive(Clone)]
struct Golden {
    hex: &'static str,
    advertisement: Advertisement,
    source: IpAddr,
    destination: IpAddr,
    /// The form to encode it with. Where the form does not matter, it is the wrong one.
    form: ChecksumForm,
    /// The form that parsing returns.
    parsed_form: Option<ChecksumForm>,
}

fn golden() -> [Golden; 4] {
    use ChecksumForm::{MessageOnly, PseudoHeader};
    let over_v4 = |hex, version, form, parsed_form| Golden {
        hex,
        advertisement: v4(version),
        source: V4_SOURCE,
        destination: V4_GROUP,
        form,
        parsed_form,
    };
    [
        over_v4(V2, Version::V2, PseudoHeader, None),
        over_v4(V3_MESSAGE_ONLY, Version::V3, MessageOnly, Some(MessageOnly)),
        over_v4(V3_PSEUDO_HEADER, Version::V3, PseudoHeader, Some(PseudoHeader)),
        Golden {
            hex: V3_IPV6,
            advertisement: v6(),
            source: V6_SOURCE,
            destination: V6_GROUP,
            form: MessageOnly,
            parsed_form: None,
        },
    ]
}

/// `hex` with `edit` applied and the checksum corrected.
fn edited(hex: &str, source: IpAddr, destination: IpAddr, edit: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut packet = bytes(hex);
    edit(&mut packet);
    packet[6..8].fill(0);
    let checksum = match (packet[0] >> 4, source, destination) {
        (2, _, _) => checksum::of(&packet),
        (_, IpAddr::V4(source), IpAddr::V4(destination)) => checksum::over_ipv4(&packet, source, destination),
        (_, IpAddr::V6(source), IpAddr::V6(destination)) => checksum::over_ipv6(&packet, source, destination),
        (_, source, destination) => panic!("{source} and {destination} are of two families"),
    };
    packet[6..8].copy_from_slice(&checksum.to_be_bytes());
    packet
}

fn parse_v4(packet: &[u8]) -> Result<Parsed, ParseError> {
    parse(packet, V4_SOURCE, V4_GROUP)
}

#[test]
fn rows_5_to_8_encoding_gives_the_golden_frames() {
    for Golden { hex, advertisement, source, destination, form, .. } in golden() {
        assert_eq!(advertisement.encode(source, destination, form), Ok(bytes(hex)));
    }
}

#[test]
fn row_22_golden_frames_parse_with_their_checksum_form() {
    for Golden { hex, advertisement, source, destination, parsed_form: checksum_form, .. } in golden() {
        assert_eq!(parse(&bytes(hex), source, destination), Ok(Parsed { advertisement, checksum_form }));
    }
}

#[test]
fn row_21_golden_frame_with_any_bit_flipped_is_rejected() {
    for Golden { hex, source, destination, .. } in golden() {
        let packet = bytes(hex);
        for bit in 0..packet.len() * 8 {
            let mut flipped = packet.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(parse(&flipped, source, destination).is_err(), "{hex}, bit {bit}");
        }
    }
}

#[test]
fn row_19_frame_cut_at_any_length_is_rejected() {
    for Golden { hex, source, destination, .. } in golden() {
        let packet = bytes(hex);
        for length in 0..packet.len() {
            let error = parse(&packet[..length], source, destination).expect_err("cut");
            assert!(matches!(error, ParseError::Short { .. } | ParseError::Length { .. }), "{length}: {error}");
        }
    }
}

#[test]
fn row_20_trailing_bytes_are_rejected() {
    for extra in [1, 4, 8, 28] {
        let packet = edited(V3_PSEUDO_HEADER, V4_SOURCE, V4_GROUP, |p| p.extend(vec![0; extra]));
        assert_eq!(parse_v4(&packet), Err(ParseError::Length { expected: 16, found: 16 + extra }));
    }
}

#[test]
fn row_17_versions_other_than_2_and_3_are_rejected() {
    for version in (0..16).filter(|v| ![2, 3].contains(v)) {
        let packet = edited(V3_PSEUDO_HEADER, V4_SOURCE, V4_GROUP, |p| p[0] = version << 4 | 1);
        assert_eq!(parse_v4(&packet), Err(ParseError::Version(version)));
    }
}

#[test]
fn row_18_types_other_than_1_are_rejected() {
    for kind in [0, 2, 15] {
        let packet = edited(V3_PSEUDO_HEADER, V4_SOURCE, V4_GROUP, |p| p[0] = 0x30 | kind);
        assert_eq!(parse_v4(&packet), Err(ParseError::Type(kind)));
    }
}

#[test]
fn row_23_ipv6_checksum_without_pseudo_header_or_of_another_source_is_rejected() {
    let mut packet = bytes(V3_IPV6);
    let other = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xc9));
    assert!(matches!(parse(&packet, other, V6_GROUP), Err(ParseError::Checksum { .. })));
    packet[6..8].fill(0);
    let sum = checksum::of(&packet);
    packet[6..8].copy_from_slice(&sum.to_be_bytes());
    assert_eq!(parse(&packet, V6_SOURCE, V6_GROUP), Err(ParseError::Checksum { found: sum }));
}

#[test]
fn advertisement_without_addresses_makes_the_round_trip_in_both_versions_and_families() {
    let v6 = (V6_SOURCE, V6_GROUP);
    for (version, (source, destination)) in
        [(Version::V2, (V4_SOURCE, V4_GROUP)), (Version::V3, (V4_SOURCE, V4_GROUP)), (Version::V3, v6)]
    {
        let advertisement = Advertisement { addresses: vec![], ..v4(version) };
        let bytes = advertisement.encode(source, destination, ChecksumForm::PseudoHeader).expect("encodes");
        assert_eq!(bytes.len(), if version == Version::V2 { 16 } else { 8 });
        let parsed = parse(&bytes, source, destination).map(|parsed| parsed.advertisement);
        assert_eq!(parsed, Ok(advertisement));
    }
    let nowhere = Advertisement { addresses: vec![], ..v4(Version::V2) }.encode(v6.0, v6.1, ChecksumForm::PseudoHeader);
    assert_eq!(nowhere, Err(EncodeError::Ipv6NeedsV3));
}

#[test]
fn row_26_interval_of_zero_is_rejected() {
    let v3 = edited(V3_PSEUDO_HEADER, V4_SOURCE, V4_GROUP, |p| p[4..6].copy_from_slice(&[0xf0, 0]));
    assert_eq!(parse_v4(&v3), Err(ParseError::ZeroInterval));
    let v2 = edited(V2, V4_SOURCE, V4_GROUP, |p| p[5] = 0);
    assert_eq!(parse_v4(&v2), Err(ParseError::ZeroInterval));
}

#[test]
fn row_27_ipv6_first_address_that_is_not_link_local_is_rejected() {
    let packet = edited(V3_IPV6, V6_SOURCE, V6_GROUP, |p| p[8] = 0x20);
    assert!(matches!(parse(&packet, V6_SOURCE, V6_GROUP), Err(ParseError::FirstAddressNotLinkLocal(_))));
}

#[test]
fn row_30_reserved_nibble_is_ignored() {
    let packet = edited(V3_PSEUDO_HEADER, V4_SOURCE, V4_GROUP, |p| p[4] |= 0xf0);
    assert_eq!(parse_v4(&packet).map(|parsed| parsed.advertisement), Ok(v4(Version::V3)));
}

#[test]
fn row_32_255_addresses_make_the_round_trip() {
    let many = |first: IpAddr| vec![first; 255];
    let cases = [
        (v4(Version::V2), V4_SOURCE, V4_GROUP, 8 + 255 * 4 + 8),
        (v4(Version::V3), V4_SOURCE, V4_GROUP, 8 + 255 * 4),
        (v6(), V6_SOURCE, V6_GROUP, 8 + 255 * 16),
    ];
    for (mut advertisement, source, destination, length) in cases {
        advertisement.addresses = many(advertisement.addresses[0]);
        let packet = advertisement.encode(source, destination, ChecksumForm::PseudoHeader).expect("255 addresses");
        assert_eq!(packet.len(), length);
        assert_eq!(parse(&packet, source, destination).map(|parsed| parsed.advertisement), Ok(advertisement.clone()));
        advertisement.addresses.push(advertisement.addresses[0]);
        let error = advertisement.encode(source, destination, ChecksumForm::PseudoHeader);
        assert_eq!(error, Err(EncodeError::AddressCount(256)));
    }
}

#[test]
fn row_35_carp_advertisement_is_reported_by_name() {
    let mut packet = vec![0x21, 10, 0, 7, 0, 1];
    packet.resize(36, 0x5a);
    assert_eq!(parse_v4(&packet), Err(ParseError::Carp));
}

#[test]
fn row_89_authentication_types_other_than_0_and_1_are_rejected() {
    for auth in [2, 7, 255] {
        let packet = edited(V2, V4_SOURCE, V4_GROUP, |p| p[4] = auth);
        assert_eq!(parse_v4(&packet), Err(ParseError::AuthType(auth)));
    }
}

#[test]
fn row_89_simple_password_makes_the_round_trip() {
    let advertisement = Advertisement { auth: Auth::simple(b"1234"), ..v4(Version::V2) };
    let packet = advertisement.encode(V4_SOURCE, V4_GROUP, ChecksumForm::PseudoHeader).expect("a password");
    assert_eq!(packet[4], 1);
    assert_eq!(packet[16..], *b"1234\0\0\0\0");
    assert_eq!(parse_v4(&packet).map(|parsed| parsed.advertisement), Ok(advertisement));
}

#[test]
fn row_92_authentication_data_is_zero_when_sent_and_ignored_when_received_with_type_0() {
    assert_eq!(bytes(V2)[16..], [0; 8]);
    let packet = edited(V2, V4_SOURCE, V4_GROUP, |p| p[16..].fill(0xaa));
    assert_eq!(parse_v4(&packet).map(|parsed| parsed.advertisement.auth), Ok(Auth::None));
}

#[test]
fn row_93_ipv6_under_version_2_is_rejected() {
    let packet = bytes(V2);
    assert!(matches!(parse(&packet, V6_SOURCE, V6_GROUP), Err(ParseError::Family { version: Version::V2, .. })));
    let advertisement = Advertisement { version: Version::V2, ..v6() };
    assert_eq!(advertisement.encode(V6_SOURCE, V6_GROUP, ChecksumForm::PseudoHeader), Err(EncodeError::Ipv6NeedsV3));
}

/// Rows 10, 12 and 94.
#[test]
fn contradicting_fields_are_not_encoded() {
    let base = v4(Version::V3);
    let v6_address: IpAddr = "fe80::1".parse().expect("an address");
    let half_second = AdvertInterval::from_centiseconds(50).expect("in range");
    let four_minutes = AdvertInterval::from_seconds(240).expect("in range");
    let cases = [
        (
            Advertisement { addresses: vec![base.addresses[0], v6_address], ..base.clone() },
            EncodeError::Family { address: v6_address, sender: base.addresses[0] },
        ),
        (
            Advertisement { interval: half_second, ..v4(Version::V2) },
            EncodeError::Interval { version: Version::V2, interval: half_second },
        ),
        (
            Advertisement { interval: four_minutes, ..base.clone() },
            EncodeError::Interval { version: Version::V3, interval: four_minutes },
        ),
        (Advertisement { auth: Auth::simple(b"x"), ..base.clone() }, EncodeError::PasswordNeedsV2),
    ];
    for (advertisement, error) in cases {
        assert_eq!(advertisement.encode(V4_SOURCE, V4_GROUP, ChecksumForm::PseudoHeader), Err(error));
    }
    assert!(matches!(base.encode(V6_SOURCE, V6_GROUP, ChecksumForm::PseudoHeader), Err(EncodeError::Family { .. })));
}

#[test]
fn peeking_reads_version_and_vrid_without_trusting_the_rest() {
    assert_eq!(peek_version(&[]), None);
    assert_eq!(peek_vrid(&[0x31]), None);
    assert_eq!(peek_vrid(&[0x31, 0]), None);
    assert_eq!((peek_version(&[0x31, 7]), peek_vrid(&[0x31, 7])), (Some(3), Vrid::new(7).ok()));
}

prop_compose! {
    fn any_advertisement()(
        version in prop_oneof![Just(Version::V2), Just(Version::V3)],
        ipv6 in any::<bool>(),
        vrid in 1..=255u8,
        priority in any::<u8>(),
        centiseconds in 1..=4095u16,
        seconds in 1..=255u8,
        low in prop::collection::vec(any::<u32>(), 1..=255),
        password in prop::option::of(any::<[u8; 8]>()),
    ) -> Advertisement {
        let ipv6 = ipv6 && version == Version::V3;
        let addresses = low.iter().map(|&bits| if ipv6 {
            IpAddr::V6(Ipv6Addr::from((0xfe80u128 << 112) | u128::from(bits)))
        } else {
            IpAddr::V4(Ipv4Addr::from(bits))
        }).collect();
        let (interval, auth) = match version {
            Version::V2 => (AdvertInterval::from_seconds(seconds), password.map_or(Auth::None, Auth::Simple)),
            Version::V3 => (AdvertInterval::from_centiseconds(centiseconds), Auth::None),
        };
        Advertisement {
            version,
            vrid: Vrid::new(vrid).expect("not 0"),
            priority: Priority::new(priority),
            interval: interval.expect("in range"),
            addresses,
            auth,
        }
    }
}

proptest! {
    #[test]
    fn encoded_advertisement_parses_to_the_same(advertisement in any_advertisement(), pseudo in any::<bool>()) {
        let form = if pseudo { ChecksumForm::PseudoHeader } else { ChecksumForm::MessageOnly };
        let (source, destination) = match advertisement.addresses[0] {
            IpAddr::V4(_) => (V4_SOURCE, V4_GROUP),
            IpAddr::V6(_) => (V6_SOURCE, V6_GROUP),
        };
        let packet = advertisement.encode(source, destination, form).expect("consistent fields");
        let parsed = parse(&packet, source, destination).expect("our own packet");
        prop_assert_eq!(parsed.advertisement, advertisement);
    }

    #[test]
    fn no_bytes_make_parsing_panic(
        packet in prop::collection::vec(any::<u8>(), 0..80),
        source_v6 in any::<bool>(),
        destination_v6 in any::<bool>(),
    ) {
        let source = if source_v6 { V6_SOURCE } else { V4_SOURCE };
        let destination = if destination_v6 { V6_GROUP } else { V4_GROUP };
        let _ = parse(&packet, source, destination);
        let _ = crate::ipv4::Header::parse(&packet);
    }

    #[test]
    fn parsed_advertisement_encodes_to_the_same_bytes_except_for_ignored_fields(
        edits in prop::collection::vec((0..40usize, any::<u8>()), 0..4),
        which in 0..4usize,
    ) {
        let Golden { hex, source, destination, .. } = golden()[which].clone();
        let packet = edited(hex, source, destination, |p| {
            for (at, value) in edits {
                let length = p.len();
                p[at % length] = value;
            }
        });
        if let Ok(Parsed { advertisement, checksum_form }) = parse(&packet, source, destination) {
            let form = checksum_form.unwrap_or(ChecksumForm::PseudoHeader);
            let again = advertisement.encode(source, destination, form).expect("it was parsed");
            prop_assert_eq!(parse(&again, source, destination).map(|p| p.advertisement), Ok(advertisement));
            prop_assert_eq!(again.len(), packet.len());
        }
    }
}
