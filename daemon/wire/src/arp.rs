//! The gratuitous ARP that tells a segment's hosts and switches where a virtual address lives now.

use std::net::Ipv4Addr;

/// The length of [`gratuitous`]'s frame: Ethernet header (14) and ARP for IPv4 (28).
pub const FRAME_LEN: usize = 42;

/// The whole Ethernet frame of a gratuitous ARP request: broadcast, sender IP = target IP = `address`, sender hardware
/// address `mac` (RFC 9568 section 6.4.1).
///
/// The target hardware address is ff:ff:ff:ff:ff:ff as keepalived and FRR send it; receivers ignore it in a request.
pub fn gratuitous(mac: [u8; 6], address: Ipv4Addr) -> [u8; FRAME_LEN] {
    const BROADCAST: [u8; 6] = [0xff; 6];
    let ip = address.octets();
    let mut frame = [0; FRAME_LEN];
    let parts: [&[u8]; 8] = [
        &BROADCAST,
        &mac,
        &[0x08, 0x06],
        // Ethernet, IPv4, address lengths 6 and 4, request.
        &[0, 1, 0x08, 0, 6, 4, 0, 1],
        &mac,
        &ip,
        &BROADCAST,
        &ip,
    ];
    let mut at = 0;
    for part in parts {
        frame[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_82_a_gratuitous_arp_is_a_broadcast_request_for_the_address_from_the_address() {
        let frame = gratuitous([2, 0, 0, 0, 0, 7], Ipv4Addr::new(192, 0, 2, 1));
        let expected = "ffffffffffff020000000007 0806 0001 0800 06 04 0001 020000000007 c0000201 ffffffffffff c0000201"
            .replace(' ', "");
        let found: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(found, expected);
    }
}
