//! Advertisements over IPv6, sent and received on a wire.
//!
//! Packets are built byte by byte, without the daemon's codec or its packet library: neither may confirm its own mistakes.

use std::net::Ipv6Addr;
use std::time::Duration;

use vouchd_net::{Groups, Sender, VrrpSocket};
use vouchd_wire::{Family, GROUP_V6};

use crate::namespace::{Wire, in_namespace, ip, mac};
use crate::packets::receive;

const ETH_P_IPV6: u16 = 0x86dd;
const PAYLOAD: &[u8] = b"an advertisement";
const NEAR: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const GLOBAL: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const FAR: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
const FAR_GLOBAL: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);
const FAR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];
const VRRP: u8 = 112;

/// With the addresses [`NEAR`] and [`GLOBAL`] on `near`, usable at once.
fn in_ipv6_namespace(test: impl FnOnce() + Send + 'static) {
    in_namespace(|| {
        ip(&format!("address add {NEAR}/64 dev near nodad"));
        ip(&format!("address add {GLOBAL}/64 dev near nodad"));
        test();
    });
}

fn socket() -> VrrpSocket {
    VrrpSocket::open("near", Family::V6, Groups::vrrp()).unwrap()
}

/// The frame around an IPv6 packet for `near`.
fn frame(source: Ipv6Addr, destination: Ipv6Addr, hop_limit: u8, next_header: u8, data: &[u8]) -> Vec<u8> {
    let mut frame = match destination.octets() {
        [0xff, .., a, b, c, d] => vec![0x33, 0x33, a, b, c, d],
        _ => mac("near").to_vec(),
    };
    frame.extend(FAR_MAC);
    frame.extend([0x86, 0xdd, 0x6c, 0, 0, 0]);
    frame.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
    frame.extend([next_header, hop_limit]);
    frame.extend(source.octets());
    frame.extend(destination.octets());
    frame.extend(data);
    frame
}

/// The next VRRP packets on the wire, without the kernel's own multicast reports and solicitations.
fn sent(wire: &Wire, is_wanted: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    loop {
        let frame = wire.next(Duration::from_secs(2)).expect("an advertisement");
        if is_wanted(&frame) {
            return frame;
        }
    }
}

/// Rows 1, 2, 4, 13.
#[test]
fn advertisement_over_ipv6_is_sent_with_the_right_header() {
    in_ipv6_namespace(|| {
        let wire = Wire::open("far", ETH_P_IPV6);
        let socket = socket();
        for (source, destination) in [(NEAR, GROUP_V6), (GLOBAL, GROUP_V6)] {
            socket.send(source.into(), destination.into(), PAYLOAD).unwrap();
            let frame = sent(&wire, |frame| frame[20] == VRRP);
            assert_eq!(frame[..6], [0x33, 0x33, 0, 0, 0, 0x12]);
            assert_eq!(frame[6..12], mac("near"));
            assert_eq!([frame[14], frame[15] & 0xf0], [0x6c, 0], "version 6, traffic class CS6");
            assert_eq!(frame[18..20], [0, 16], "payload length");
            assert_eq!(frame[21], 255, "hop limit");
            assert_eq!(frame[22..38], source.octets());
            assert_eq!(frame[38..54], destination.octets());
            assert_eq!(&frame[54..], PAYLOAD);
        }
    });
}

#[test]
fn rows_1_and_2_unicast_over_ipv6_is_sent_with_the_right_header() {
    in_ipv6_namespace(|| {
        let peer: String = FAR_MAC.map(|byte| format!("{byte:02x}")).join(":");
        for (source, destination) in [(NEAR, FAR), (GLOBAL, FAR_GLOBAL)] {
            ip(&format!("neighbour replace {destination} lladdr {peer} dev near nud permanent"));
            let wire = Wire::open("far", ETH_P_IPV6);
            socket().send(source.into(), destination.into(), PAYLOAD).unwrap();
            let frame = sent(&wire, |frame| frame[20] == VRRP);
            assert_eq!((&frame[..6], frame[21]), (&FAR_MAC[..], 255));
            assert_eq!((&frame[22..38], &frame[38..54]), (&source.octets()[..], &destination.octets()[..]));
        }
    });
}

#[test]
fn row_14_own_advertisement_over_ipv6_does_not_come_back() {
    in_ipv6_namespace(|| {
        let socket = socket();
        socket.send(NEAR.into(), GROUP_V6.into(), PAYLOAD).unwrap();
        assert_eq!(receive(&socket, Duration::from_millis(300)), None);
    });
}

#[test]
fn row_16_packet_over_ipv6_is_received_without_its_padding_and_with_its_hop_limit() {
    in_ipv6_namespace(|| {
        let wire = Wire::open("far", ETH_P_IPV6);
        let socket = socket();
        for (source, destination, hop_limit) in
            [(FAR, GROUP_V6, 255), (FAR, GROUP_V6, 254), (FAR, NEAR, 255), (FAR_GLOBAL, GLOBAL, 64)]
        {
            let mut frame = frame(source, destination, hop_limit, VRRP, PAYLOAD);
            frame.extend([0; 9]);
            wire.send(&frame).unwrap();
            let (received, payload) = receive(&socket, Duration::from_secs(2)).expect("a packet");
            assert_eq!((received.source, received.destination), (source.into(), destination.into()));
            assert_eq!((received.ttl, received.sender), (hop_limit, Sender::Ethernet(FAR_MAC)));
            assert_eq!(payload, PAYLOAD);
        }
        assert_eq!(receive(&socket, Duration::from_millis(100)), None, "once each");
    });
}

#[test]
fn row_34_packet_from_our_own_ipv6_address_is_received() {
    in_ipv6_namespace(|| {
        let wire = Wire::open("far", ETH_P_IPV6);
        let socket = socket();
        wire.send(&frame(NEAR, GROUP_V6, 255, VRRP, PAYLOAD)).unwrap();
        let (received, _) = receive(&socket, Duration::from_secs(2)).expect("a packet");
        assert_eq!((received.source, received.sender), (NEAR.into(), Sender::Ethernet(FAR_MAC)));
    });
}

#[test]
fn row_32_advertisement_over_ipv6_in_fragments_is_sent_and_received_once_and_whole() {
    in_ipv6_namespace(|| {
        // 255 addresses.
        let payload: Vec<u8> = (0..8 + 255 * 16).map(|n| n as u8).collect();
        let wire = Wire::open("far", ETH_P_IPV6);
        let socket = socket();
        socket.send(NEAR.into(), GROUP_V6.into(), &payload).unwrap();
        let mut frames = Vec::new();
        loop {
            let frame = sent(&wire, |frame| frame[20] == 44);
            let is_last = frame[57] & 1 == 0;
            frames.push(frame);
            if is_last {
                break;
            }
        }
        assert_eq!(frames.len(), 3, "of an MTU of 1500 bytes");
        for mut frame in frames {
            frame[6..12].copy_from_slice(&FAR_MAC);
            frame[22..38].copy_from_slice(&FAR.octets());
            wire.send(&frame).unwrap();
        }
        let (received, found) = receive(&socket, Duration::from_secs(2)).expect("a packet");
        assert_eq!((received.source, received.destination), (FAR.into(), GROUP_V6.into()));
        assert_eq!((received.ttl, received.sender, found), (255, Sender::Unknown, payload));
        assert_eq!(receive(&socket, Duration::from_millis(100)), None, "once");
    });
}

#[test]
fn extension_headers_are_skipped_as_the_kernel_skips_them() {
    in_ipv6_namespace(|| {
        let wire = Wire::open("far", ETH_P_IPV6);
        let socket = socket();
        // Padding of six bytes (PadN) as the only option.
        let header = [VRRP, 0, 1, 4, 0, 0, 0, 0];
        for (name, kind) in [("hop-by-hop options", 0), ("destination options", 60)] {
            let data = [&header[..], PAYLOAD].concat();
            wire.send(&frame(FAR, GROUP_V6, 254, kind, &data)).unwrap();
            let (received, found) = receive(&socket, Duration::from_secs(2)).expect(name);
            assert_eq!((received.source, received.ttl, found.as_slice()), (FAR.into(), 254, PAYLOAD), "{name}");
            assert_eq!(receive(&socket, Duration::from_millis(100)), None, "{name}, once");
        }
    });
}

#[test]
fn ipv6_packet_that_the_ip_layer_would_not_deliver_is_dropped() {
    in_ipv6_namespace(|| {
        let wire = Wire::open("far", ETH_P_IPV6);
        let socket = socket();
        ip("link set near promisc on");
        let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
        let mut too_long = frame(FAR, GROUP_V6, 255, VRRP, PAYLOAD);
        too_long[19] += 1;
        let mut other_host = frame(FAR, NEAR, 255, VRRP, PAYLOAD);
        other_host[..6].copy_from_slice(&[2, 0, 0, 0, 0, 66]);
        for (what, frame) in [
            ("longer than the frame", too_long),
            ("another group", frame(FAR, all_nodes, 255, VRRP, PAYLOAD)),
            ("a source that is never on a wire", frame(Ipv6Addr::LOCALHOST, GROUP_V6, 255, VRRP, PAYLOAD)),
            ("another protocol", frame(FAR, GROUP_V6, 255, 17, PAYLOAD)),
            ("another host", other_host),
        ] {
            wire.send(&frame).unwrap();
            assert_eq!(receive(&socket, Duration::from_millis(100)), None, "{what}");
        }
        wire.send(&frame(FAR, GROUP_V6, 255, VRRP, PAYLOAD)).unwrap();
        assert!(receive(&socket, Duration::from_secs(2)).is_some(), "a good one");
    });
}

#[test]
fn failed_send_over_ipv6_is_an_error_and_the_socket_stays_usable() {
    in_ipv6_namespace(|| {
        let socket = socket();
        let send = |source: Ipv6Addr| socket.send(source.into(), GROUP_V6.into(), PAYLOAD);
        assert!(send(FAR).is_err(), "an address of another machine");
        assert!(
            socket.send([192, 0, 2, 1].into(), GROUP_V6.into(), PAYLOAD).is_err(),
            "an address of the other family"
        );
        ip("link set near down");
        assert!(send(NEAR).is_err(), "an interface that is down");
        ip("link set near up");
        ip(&format!("address replace {NEAR}/64 dev near nodad"));
        let wire = Wire::open("far", ETH_P_IPV6);
        send(NEAR).unwrap();
        sent(&wire, |frame| frame[20] == VRRP);
        wire.send(&frame(FAR, GROUP_V6, 255, VRRP, PAYLOAD)).unwrap();
        assert!(receive(&socket, Duration::from_secs(2)).is_some(), "still in the group");
    });
}
