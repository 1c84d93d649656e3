//! Advertisements sent and received on a wire.
//!
//! Packets are built byte by byte, without the daemon's codec or its packet library: neither may confirm its own mistakes.

use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use vouchd_net::{Groups, MAX_PACKET, Received, Sender, VrrpSocket};
use vouchd_wire::{Family, GROUP_V4, ipv4};

use crate::namespace::{PEER, PRIMARY, Wire, in_namespace, ip, mac};

const ETH_P_IP: u16 = 0x0800;
const PAYLOAD: &[u8] = b"an advertisement";

/// The MAC address of the machine behind `far`.
const PEER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];

/// An Ethernet frame with a VRRP packet, padded to Ethernet's minimum, for `near`.
fn frame(destination: Ipv4Addr, ttl: u8) -> Vec<u8> {
    framed(&packet(PEER, destination, ttl, 0, PAYLOAD))
}

/// The frame around an IP packet.
fn framed(packet: &[u8]) -> Vec<u8> {
    let is_multicast = packet[16] & 0xf0 == 0xe0;
    let mut frame = if is_multicast { vec![0x01, 0x00, 0x5e, 0x00, 0x00, 0x12] } else { mac("near").to_vec() };
    frame.extend(PEER_MAC);
    frame.extend([0x08, 0x00]);
    frame.extend(packet);
    frame.resize(frame.len().max(60), 0);
    frame
}

/// `fragment`: the flags and the offset.
fn packet(source: Ipv4Addr, destination: Ipv4Addr, ttl: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + payload.len()).unwrap();
    let mut packet = vec![0x45, 0xc0];
    packet.extend(length.to_be_bytes());
    packet.extend([0, 7]);
    packet.extend(fragment.to_be_bytes());
    packet.extend([ttl, 112, 0, 0]);
    packet.extend(source.octets());
    packet.extend(destination.octets());
    let sum: u32 = packet.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let checksum = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    packet.extend(payload);
    packet
}

/// Receives the next VRRP packet on the wire, and skips the kernel's own multicast reports.
fn sent(wire: &Wire) -> Vec<u8> {
    loop {
        let frame = wire.next(Duration::from_secs(2)).expect("an advertisement");
        if frame[23] == 112 {
            return frame;
        }
    }
}

fn send(socket: &VrrpSocket, source: Ipv4Addr, destination: Ipv4Addr) -> std::io::Result<()> {
    socket.send(source.into(), destination.into(), PAYLOAD)
}

pub fn receive(socket: &VrrpSocket, timeout: Duration) -> Option<(Received, Vec<u8>)> {
    let end = Instant::now() + timeout;
    let mut buffer = vec![0; MAX_PACKET];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let mut descriptors = socket.descriptors().map(|descriptor| PollFd::new(descriptor, PollFlags::POLLIN));
        poll(&mut descriptors, PollTimeout::try_from(left).unwrap()).unwrap();
        // Packets that it skips make it readable, too.
        if let Some(received) = socket.receive(&mut buffer).unwrap() {
            let payload = buffer[received.payload.clone()].to_vec();
            return Some((received, payload));
        }
        if left.is_zero() {
            return None;
        }
    }
}

#[test]
fn rows_1_2_4_13_advertisement_is_sent_with_the_right_header() {
    in_namespace(|| {
        ip("address add 198.51.100.1/24 dev near");
        let wire = Wire::open("far", ETH_P_IP);
        let socket = VrrpSocket::open("near", Family::V4, Groups::vrrp()).unwrap();
        for source in [PRIMARY, Ipv4Addr::new(198, 51, 100, 1)] {
            send(&socket, source, GROUP_V4).unwrap();
            let frame = sent(&wire);
            assert_eq!(frame[..6], [0x01, 0x00, 0x5e, 0x00, 0x00, 0x12]);
            assert_eq!(frame[6..12], mac("near"));
            let (header, payload) = ipv4::Header::parse(&frame[14..]).unwrap();
            assert_eq!((header.source, header.destination), (source, GROUP_V4));
            assert_eq!((header.ttl, header.protocol), (255, 112));
            assert_eq!(frame[15], 0xc0, "DSCP CS6");
            assert_eq!(frame[20] & 0x40, 0, "may be fragmented");
            assert_eq!(payload, PAYLOAD);
        }
    });
}

#[test]
fn row_14_own_advertisement_does_not_come_back() {
    in_namespace(|| {
        let socket = VrrpSocket::open("near", Family::V4, Groups::vrrp()).unwrap();
        send(&socket, PRIMARY, GROUP_V4).unwrap();
        assert_eq!(receive(&socket, Duration::from_millis(300)), None);
    });
}

#[test]
fn packet_is_received_without_its_padding_and_with_its_ttl() {
    in_namespace(|| {
        let wire = Wire::open("far", ETH_P_IP);
        let socket = VrrpSocket::open("near", Family::V4, Groups::vrrp()).unwrap();
        for (destination, ttl) in [(GROUP_V4, 255), (GROUP_V4, 64), (PRIMARY, 255)] {
            wire.send(&frame(destination, ttl)).unwrap();
            let (received, payload) = receive(&socket, Duration::from_secs(2)).expect("a packet");
            assert_eq!((received.source, received.destination, received.ttl), (PEER.into(), destination.into(), ttl));
            assert_eq!(received.sender, Sender::Ethernet(PEER_MAC));
            assert_eq!(payload, PAYLOAD);
        }
        assert_eq!(receive(&socket, Duration::ZERO), None, "the queue is empty again");
    });
}

#[test]
fn socket_without_the_group_receives_only_unicast() {
    in_namespace(|| {
        let wire = Wire::open("far", ETH_P_IP);
        let unicast = VrrpSocket::open("near", Family::V4, Groups::none()).unwrap();
        // Another socket makes the interface receive the group's packets.
        let multicast = VrrpSocket::open("near", Family::V4, Groups::vrrp()).unwrap();
        wire.send(&frame(GROUP_V4, 255)).unwrap();
        assert!(receive(&multicast, Duration::from_secs(2)).is_some());
        assert_eq!(receive(&unicast, Duration::from_millis(100)), None);
        wire.send(&frame(PRIMARY, 255)).unwrap();
        assert!(receive(&unicast, Duration::from_secs(2)).is_some());
    });
}

#[test]
fn socket_receives_from_every_group_that_it_is_given_and_from_no_other() {
    in_namespace(|| {
        let [one, two, other] = [18, 19, 20].map(|last| Ipv4Addr::new(239, 0, 0, last));
        let wire = Wire::open("far", ETH_P_IP);
        let socket = VrrpSocket::open("near", Family::V4, [one.into(), two.into()].into_iter().collect()).unwrap();
        // Another socket makes the interface receive the group's packets.
        let _other = VrrpSocket::open("near", Family::V4, [other.into()].into_iter().collect()).unwrap();
        for group in [other, GROUP_V4, one, two] {
            wire.send(&frame(group, 255)).unwrap();
        }
        for group in [one, two] {
            let (received, _) = receive(&socket, Duration::from_secs(2)).expect("a packet");
            assert_eq!(received.destination, IpAddr::V4(group));
        }
        send(&socket, PRIMARY, two).unwrap();
        assert_eq!(sent(&wire)[..6], [0x01, 0x00, 0x5e, 0x00, 0x00, 0x13]);
    });
}

#[test]
fn row_24_socket_receives_only_from_its_interface() {
    in_namespace(|| {
        let wire = Wire::open("far", ETH_P_IP);
        let other = VrrpSocket::open("lo", Family::V4, Groups::vrrp()).unwrap();
        let near = VrrpSocket::open("near", Family::V4, Groups::vrrp()).unwrap();
        wire.send(&frame(PRIMARY, 255)).unwrap();
        assert!(receive(&near, Duration::from_secs(2)).is_some());
        assert_eq!(receive(&other, Duration::from_millis(100)), None);
    });
}

#[test]
fn failed_send_is_an_error_and_the_socket_stays_usable() {
    in_namespace(|| {
        let socket = VrrpSocket::open("near", Family::V4, Groups::vrrp()).unwrap();
        assert!(send(&socket, PEER, GROUP_V4).is_err(), "an address of another machine");
        ip("link set near down");
        assert!(send(&socket, PRIMARY, GROUP_V4).is_err(), "an interface that is down");
        ip("link set near up");
        let wire = Wire::open("far", ETH_P_IP);
        send(&socket, PRIMARY, GROUP_V4).unwrap();
        sent(&wire);
        wire.send(&frame(GROUP_V4, 255)).unwrap();
        assert!(receive(&socket, Duration::from_secs(2)).is_some(), "still in the group");
    });
}

#[test]
fn recreated_interface_needs_a_new_socket() {
    in_namespace(|| {
        let old = VrrpSocket::open("near", Family::V4, Groups::vrrp()).unwrap();
        ip("link delete near");
        assert!(send(&old, PRIMARY, GROUP_V4).is_err());
        let mut buffer = vec![0; MAX_PACKET];
        assert!(!matches!(old.receive(&mut buffer), Ok(Some(_))));
        let mut fds = old.descriptors().map(|descriptor| PollFd::new(descriptor, PollFlags::POLLIN));
        assert_eq!(poll(&mut fds, PollTimeout::ZERO).unwrap(), 0, "`poll` would return at once forever");
        assert!(VrrpSocket::open("near", Family::V4, Groups::vrrp()).is_err());
        ip("link add near type veth peer name far");
        ip("link set near up");
        ip("link set far up");
        ip("address add 192.0.2.1/24 dev near");
        let new = VrrpSocket::open("near", Family::V4, Groups::vrrp()).unwrap();
        assert_ne!(new.index(), old.index());
        send(&new, PRIMARY, GROUP_V4).unwrap();
    });
}

#[test]
fn row_34_packet_from_our_own_address_is_received() {
    in_namespace(|| {
        let wire = Wire::open("far", ETH_P_IP);
        let socket = VrrpSocket::open("near", Family::V4, Groups::vrrp()).unwrap();
        wire.send(&framed(&packet(PRIMARY, GROUP_V4, 255, 0, PAYLOAD))).unwrap();
        let (received, _) = receive(&socket, Duration::from_secs(2)).expect("a packet");
        assert_eq!((received.source, received.sender), (PRIMARY.into(), Sender::Ethernet(PEER_MAC)));
        assert_eq!(receive(&socket, Duration::from_millis(100)), None, "once");
    });
}

#[test]
fn row_32_packet_in_fragments_is_received_once_and_whole() {
    in_namespace(|| {
        let wire = Wire::open("far", ETH_P_IP);
        let socket = VrrpSocket::open("near", Family::V4, Groups::vrrp()).unwrap();
        let payload: Vec<u8> = (0..1028).map(|n| n as u8).collect();
        const MORE: u16 = 0x2000;
        for (offset, piece, more) in [(0, &payload[..512], MORE), (512, &payload[512..], 0)] {
            wire.send(&framed(&packet(PEER, GROUP_V4, 255, more | (offset / 8), piece))).unwrap();
        }
        let (received, found) = receive(&socket, Duration::from_secs(2)).expect("a packet");
        assert_eq!((received.source, received.ttl, found), (PEER.into(), 255, payload));
        assert_eq!(receive(&socket, Duration::from_millis(100)), None, "once");
    });
}

#[test]
fn packet_that_the_ip_layer_would_not_deliver_is_dropped() {
    in_namespace(|| {
        let wire = Wire::open("far", ETH_P_IP);
        let socket = VrrpSocket::open("near", Family::V4, Groups::vrrp()).unwrap();
        ip("link set near promisc on");
        let good = packet(PEER, GROUP_V4, 255, 0, PAYLOAD);
        let mut damaged = good.clone();
        damaged[8] = 254;
        let other_group = packet(PEER, Ipv4Addr::new(224, 0, 0, 5), 255, 0, PAYLOAD);
        let mut other_host = frame(PRIMARY, 255);
        other_host[..6].copy_from_slice(&[2, 0, 0, 0, 0, 66]);
        let mut other_vlan = framed(&good);
        other_vlan.splice(12..12, [0x81, 0x00, 0x00, 0x05]);
        for (what, frame) in [
            ("damaged header", framed(&damaged)),
            ("another group", framed(&other_group)),
            (
                "a source that is never on a wire",
                framed(&packet(Ipv4Addr::new(127, 0, 0, 9), GROUP_V4, 255, 0, PAYLOAD)),
            ),
            ("another host", other_host),
            ("another VLAN", other_vlan),
            ("a lone fragment", framed(&packet(PEER, GROUP_V4, 255, 0x2000, PAYLOAD))),
        ] {
            wire.send(&frame).unwrap();
            assert_eq!(receive(&socket, Duration::from_millis(100)), None, "{what}");
        }
        wire.send(&framed(&good)).unwrap();
        assert!(receive(&socket, Duration::from_secs(2)).is_some(), "a good one");
    });
}

#[test]
fn vlan_receives_its_packets_and_the_device_below_it_does_not() {
    in_namespace(|| {
        let vlan = ["link", "add", "link", "near", "name", "near.5", "type", "vlan", "id", "5"];
        if !Command::new("ip").args(vlan).status().unwrap().success() {
            return vouchd_skip::skip_even_if_strict("the kernel has no VLANs", "load the module 8021q");
        }
        ip("link set near.5 up");
        let wire = Wire::open("far", ETH_P_IP);
        let below = VrrpSocket::open("near", Family::V4, Groups::vrrp()).unwrap();
        let vlan = VrrpSocket::open("near.5", Family::V4, Groups::vrrp()).unwrap();
        let mut tagged = frame(GROUP_V4, 255);
        tagged.splice(12..12, [0x81, 0x00, 0x00, 0x05]);
        wire.send(&tagged).unwrap();
        assert!(receive(&vlan, Duration::from_secs(2)).is_some());
        assert_eq!(receive(&below, Duration::from_millis(100)), None);
    });
}

#[test]
fn bridge_receives_its_packets_and_its_port_receives_none() {
    in_namespace(|| {
        let wire = Wire::open("far", ETH_P_IP);
        ip("link add br0 type bridge");
        ip("link set near master br0");
        ip("link set br0 up");
        let port = VrrpSocket::open("near", Family::V4, Groups::vrrp()).unwrap();
        let bridge = VrrpSocket::open("br0", Family::V4, Groups::vrrp()).unwrap();
        wire.send(&frame(GROUP_V4, 255)).unwrap();
        assert!(receive(&bridge, Duration::from_secs(2)).is_some());
        assert_eq!(receive(&port, Duration::from_millis(100)), None);
    });
}
