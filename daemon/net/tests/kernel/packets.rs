//! Advertisements on the wire and off it.

use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use vouchd_net::{Groups, MAX_PACKET, Received, VrrpSocket};
use vouchd_wire::{GROUP_V4, ipv4};

use crate::namespace::{PEER, PRIMARY, Wire, in_namespace, ip, mac};

const ETH_P_IP: u16 = 0x0800;
const PAYLOAD: &[u8] = b"an advertisement";

/// An Ethernet frame with a VRRP packet, padded to Ethernet's minimum, for `near`.
fn frame(destination: Ipv4Addr, ttl: u8) -> Vec<u8> {
    let link_destination = if destination.is_multicast() { [0x01, 0x00, 0x5e, 0x00, 0x00, 0x12] } else { mac("near") };
    let length = u16::try_from(20 + PAYLOAD.len()).unwrap();
    let mut header = vec![0x45, 0xc0];
    header.extend(length.to_be_bytes());
    header.extend([0, 0, 0, 0, ttl, 112, 0, 0]);
    header.extend(PEER.octets());
    header.extend(destination.octets());
    let sum: u32 = header.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let checksum = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    let mut frame = link_destination.to_vec();
    frame.extend([2, 0, 0, 0, 0, 9, 0x08, 0x00]);
    frame.extend(header);
    frame.extend(PAYLOAD);
    frame.resize(60, 0);
    frame
}

/// The next VRRP packet on the wire. The kernel's own multicast reports pass by there, too.
fn sent(wire: &Wire) -> Vec<u8> {
    loop {
        let frame = wire.next(Duration::from_secs(2)).expect("an advertisement");
        if frame[23] == 112 {
            return frame;
        }
    }
}

fn receive(socket: &VrrpSocket, timeout: Duration) -> Option<(Received, Vec<u8>)> {
    let mut descriptors = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
    poll(&mut descriptors, PollTimeout::try_from(timeout).unwrap()).unwrap();
    let mut buffer = vec![0; MAX_PACKET];
    let received = socket.receive(&mut buffer).unwrap()?;
    let payload = buffer[received.payload.clone()].to_vec();
    Some((received, payload))
}

#[test]
fn rows_1_2_4_13_an_advertisement_leaves_with_the_right_header() {
    in_namespace(|| {
        ip("address add 198.51.100.1/24 dev near");
        let wire = Wire::open("far", ETH_P_IP);
        let socket = VrrpSocket::open("near", Groups::Vrrp).unwrap();
        for source in [PRIMARY, Ipv4Addr::new(198, 51, 100, 1)] {
            socket.send(source, GROUP_V4, PAYLOAD).unwrap();
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
fn row_14_an_own_advertisement_does_not_come_back() {
    in_namespace(|| {
        let socket = VrrpSocket::open("near", Groups::Vrrp).unwrap();
        socket.send(PRIMARY, GROUP_V4, PAYLOAD).unwrap();
        assert_eq!(receive(&socket, Duration::from_millis(300)), None);
    });
}

#[test]
fn a_packet_comes_in_without_its_padding_and_with_its_ttl() {
    in_namespace(|| {
        let wire = Wire::open("far", ETH_P_IP);
        let socket = VrrpSocket::open("near", Groups::Vrrp).unwrap();
        for (destination, ttl) in [(GROUP_V4, 255), (GROUP_V4, 64), (PRIMARY, 255)] {
            wire.send(&frame(destination, ttl)).unwrap();
            let (received, payload) = receive(&socket, Duration::from_secs(2)).expect("a packet");
            assert_eq!((received.source, received.destination, received.ttl), (PEER, destination, ttl));
            assert_eq!(payload, PAYLOAD);
        }
        assert_eq!(receive(&socket, Duration::ZERO), None, "the queue is empty again");
    });
}

#[test]
fn a_socket_without_the_group_hears_only_unicast() {
    in_namespace(|| {
        let wire = Wire::open("far", ETH_P_IP);
        let unicast = VrrpSocket::open("near", Groups::None).unwrap();
        // Another socket makes the interface take the group's packets in.
        let multicast = VrrpSocket::open("near", Groups::Vrrp).unwrap();
        wire.send(&frame(GROUP_V4, 255)).unwrap();
        assert!(receive(&multicast, Duration::from_secs(2)).is_some());
        assert_eq!(receive(&unicast, Duration::from_millis(100)), None);
        wire.send(&frame(PRIMARY, 255)).unwrap();
        assert!(receive(&unicast, Duration::from_secs(2)).is_some());
    });
}

#[test]
fn row_24_a_socket_hears_only_its_interface() {
    in_namespace(|| {
        let wire = Wire::open("far", ETH_P_IP);
        let other = VrrpSocket::open("lo", Groups::Vrrp).unwrap();
        let near = VrrpSocket::open("near", Groups::Vrrp).unwrap();
        wire.send(&frame(PRIMARY, 255)).unwrap();
        assert!(receive(&near, Duration::from_secs(2)).is_some());
        assert_eq!(receive(&other, Duration::from_millis(100)), None);
    });
}

#[test]
fn what_can_not_be_sent_is_an_error_and_the_socket_stays_usable() {
    in_namespace(|| {
        let socket = VrrpSocket::open("near", Groups::Vrrp).unwrap();
        assert!(socket.send(PEER, GROUP_V4, PAYLOAD).is_err(), "an address of somebody else");
        ip("link set near down");
        assert!(socket.send(PRIMARY, GROUP_V4, PAYLOAD).is_err(), "an interface that is down");
        ip("link set near up");
        let wire = Wire::open("far", ETH_P_IP);
        socket.send(PRIMARY, GROUP_V4, PAYLOAD).unwrap();
        sent(&wire);
        wire.send(&frame(GROUP_V4, 255)).unwrap();
        assert!(receive(&socket, Duration::from_secs(2)).is_some(), "still in the group");
    });
}

#[test]
fn a_recreated_interface_needs_and_gets_a_new_socket() {
    in_namespace(|| {
        let old = VrrpSocket::open("near", Groups::Vrrp).unwrap();
        ip("link delete near");
        assert!(old.send(PRIMARY, GROUP_V4, PAYLOAD).is_err());
        assert!(VrrpSocket::open("near", Groups::Vrrp).is_err());
        ip("link add near type veth peer name far");
        ip("link set near up");
        ip("link set far up");
        ip("address add 192.0.2.1/24 dev near");
        let new = VrrpSocket::open("near", Groups::Vrrp).unwrap();
        assert_ne!(new.index(), old.index());
        new.send(PRIMARY, GROUP_V4, PAYLOAD).unwrap();
    });
}
