//! Which MAC addresses claim an address on the wire: in ARP, in neighbour advertisements, and as the source of
//! advertisements of VRRP.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};
use socket2::{Domain, Protocol, Socket, Type};

use crate::background::{Background, Running};
use crate::bytes::field;
use crate::host::Host;

/// What says that an address is at a MAC address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The sender of an ARP packet.
    Arp,
    /// The target of a neighbour advertisement, with its link-layer address.
    Neighbour,
    /// The Ethernet source of ARP packets and neighbour advertisements about the address.
    Frame,
    /// The Ethernet source of a VRRP advertisement from the address.
    Advertisement,
}

/// A claim that was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim {
    /// What says so.
    pub kind: Kind,
    /// The address.
    pub address: IpAddr,
    /// The MAC address.
    pub mac: [u8; 6],
}

/// Records the claims in all frames that a host receives, until it is dropped.
#[derive(Debug)]
pub struct Claimants {
    claims: Arc<Mutex<BTreeSet<Claim>>>,
    _thread: Background,
}

impl Claimants {
    /// Records what arrives after this.
    ///
    /// # Errors
    /// If the thread does not start.
    pub fn start(host: &Host) -> anyhow::Result<Self> {
        let claims = Arc::new(Mutex::new(BTreeSet::new()));
        let to = Arc::clone(&claims);
        let thread = Background::start(host, "the record of claims", move |running| {
            record(&to, running).expect("a packet socket as root");
        })?;
        Ok(Self { claims, _thread: thread })
    }

    /// The MAC addresses that claimed an address in this way so far.
    pub fn of(&self, kind: Kind, address: IpAddr) -> BTreeSet<[u8; 6]> {
        let claims = self.claims.lock().expect("no thread panics with it");
        claims.iter().filter(|claim| (claim.kind, claim.address) == (kind, address)).map(|claim| claim.mac).collect()
    }
}

fn record(claims: &Mutex<BTreeSet<Claim>>, running: &Running) -> anyhow::Result<()> {
    let protocol = i32::from((libc::ETH_P_ALL as u16).to_be());
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(protocol)))?;
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    socket.set_recv_buffer_size(4 << 20)?;
    running.ready();
    let mut buffer = [0; 65536];
    while running.goes_on() {
        let length = match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            Ok(length) => length,
            Err(Errno::EAGAIN | Errno::EINTR) => continue,
            Err(error) => return Err(error.into()),
        };
        claims.lock().expect("no thread panics with it").extend(parse(&buffer[..length]));
    }
    Ok(())
}

fn parse(frame: &[u8]) -> Vec<Claim> {
    parse_claims(frame).unwrap_or_default()
}

fn parse_claims(frame: &[u8]) -> Option<Vec<Claim>> {
    let source: [u8; 6] = field(frame, 6)?;
    let packet = frame.get(14..)?;
    let about = |address: IpAddr, kind, mac| {
        vec![Claim { kind, address, mac }, Claim { kind: Kind::Frame, address, mac: source }]
    };
    match field::<2>(frame, 12)? {
        [0x08, 0x06] => Some(about(field::<4>(packet, 14)?.into(), Kind::Arp, field(packet, 8)?)),
        [0x08, 0x00] if packet.get(9) == Some(&112) => {
            Some(vec![Claim { kind: Kind::Advertisement, address: field::<4>(packet, 12)?.into(), mac: source }])
        }
        [0x86, 0xdd] if packet.get(6) == Some(&112) => {
            Some(vec![Claim { kind: Kind::Advertisement, address: field::<16>(packet, 8)?.into(), mac: source }])
        }
        // A neighbour advertisement, with the option of the target's link-layer address.
        [0x86, 0xdd] if packet.get(6) == Some(&58) && packet.get(40) == Some(&136) => {
            let option = packet.get(64..)?.starts_with(&[2, 1]);
            let target = field::<16>(packet, 48)?.into();
            Some(if option { about(target, Kind::Neighbour, field(packet, 66)?) } else { Vec::new() })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbour_advertisement_names_the_target_and_its_mac() {
        let mut frame = vec![0; 14 + 40 + 32];
        frame[6..12].copy_from_slice(&[1; 6]);
        frame[12..14].copy_from_slice(&[0x86, 0xdd]);
        frame[20] = 58;
        frame[54] = 136;
        frame[62] = 0xfe;
        frame[78..80].copy_from_slice(&[2, 1]);
        frame[80..86].copy_from_slice(&[2; 6]);
        let address = "fe00::".parse().expect("an address");
        let expected =
            [Claim { kind: Kind::Neighbour, address, mac: [2; 6] }, Claim { kind: Kind::Frame, address, mac: [1; 6] }];
        assert_eq!(parse(&frame), expected);
        for length in 0..frame.len() {
            assert_eq!(parse(&frame[..length]), []);
        }
    }
}
