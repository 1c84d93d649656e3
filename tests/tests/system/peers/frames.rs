//! Kinds of advertisements, aimed at one virtual router each: those that must be discarded, and odd ones that are valid.

use std::net::Ipv4Addr;

use vouchd_tests::frame::{GROUP, Message, Packet};

pub const PASSWORD: &str = "1234";

/// A neighbour that is not part of the pair.
pub const SOURCE: Ipv4Addr = Ipv4Addr::new(192, 168, 175, 103);

/// The virtual router at which a kind of frames is aimed.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    pub vrid: u8,
    pub address: Ipv4Addr,
    /// The priority of the frame: 200, which would take over, or 0, which would promote a Backup.
    pub priority: u8,
}

impl Target {
    pub fn v3(self) -> Message {
        Message::v3(self.vrid, self.priority, self.address)
    }

    fn v2(self) -> Message {
        Message::v2_password(self.vrid, self.priority, self.address, PASSWORD)
    }
}

/// A kind of advertisement.
#[derive(Clone, Copy)]
pub struct Kind {
    /// The row of docs/conformance.md, and what is special.
    pub name: &'static str,
    /// The version of the instance at which it is aimed.
    pub version: u8,
    /// How many of 24 frames the instance must count as discarded. Others do not reach it, or belong to no instance.
    pub counted: u64,
    /// The n-th frame.
    pub packet: fn(Target, usize) -> Packet,
}

/// The message with one or two addresses, none of which is the target's.
fn of_others(message: Message, n: usize) -> Message {
    let addresses: Vec<_> =
        [98, 99].into_iter().take(1 + n % 2).map(|last| Ipv4Addr::new(192, 168, 175, last)).collect();
    Message { count: u8::try_from(addresses.len()).unwrap_or(0), addresses, ..message }
}

/// The message with an additional address.
fn with_another(message: Message) -> Message {
    let addresses = message.addresses.iter().copied().chain([Ipv4Addr::new(192, 168, 175, 99)]).collect();
    Message { count: 2, addresses, ..message }
}

pub fn multicast(message: &Message) -> Packet {
    Packet::multicast(SOURCE, message.bytes(SOURCE, GROUP))
}

/// They must be discarded.
pub const DISCARDED: [Kind; 20] = [
    Kind {
        name: "row 15: TTL below 255",
        version: 3,
        counted: 24,
        packet: |target, n| Packet { ttl: [254, 64, 1][n % 3], ..multicast(&target.v3()) },
    },
    Kind {
        name: "row 17: another version for a v3 instance",
        version: 3,
        counted: 24,
        packet: |target, n| multicast(&Message { version: [2, 4, 15][n % 3], ..target.v3() }),
    },
    Kind {
        name: "row 17: a whole v2 advertisement for a v3 instance",
        version: 3,
        counted: 24,
        packet: |target, _| multicast(&Message::v2(target.vrid, target.priority, target.address)),
    },
    Kind { name: "row 17: v3 for a v2 instance", version: 2, counted: 24, packet: |target, _| multicast(&target.v3()) },
    Kind {
        name: "row 18: another type",
        version: 3,
        counted: 24,
        packet: |target, n| multicast(&Message { kind: [0, 2, 15][n % 3], ..target.v3() }),
    },
    Kind {
        name: "row 19: cut short",
        version: 3,
        counted: 8,
        packet: |target, n| {
            let mut packet = multicast(&target.v3());
            packet.payload.truncate(n % 12);
            packet
        },
    },
    Kind {
        name: "row 20: bytes after the addresses",
        version: 3,
        counted: 24,
        packet: |target, n| multicast(&Message { trailer: vec![0; [8, 4, 1][n % 3]], ..target.v3() }),
    },
    Kind {
        name: "row 21: v3 checksum",
        version: 3,
        counted: 24,
        packet: |target, n| {
            let mut packet = multicast(&target.v3());
            packet.payload[6 + n % 2] ^= 1 << (n % 8);
            packet
        },
    },
    Kind {
        name: "row 21: v2 checksum",
        version: 2,
        counted: 24,
        packet: |target, n| {
            let mut packet = multicast(&target.v2());
            packet.payload[6 + n % 2] ^= 1 << (n % 8);
            packet
        },
    },
    Kind {
        name: "row 24: another virtual router",
        version: 3,
        counted: 0,
        packet: |target, _| multicast(&Message { vrid: target.vrid + 100, ..target.v3() }),
    },
    Kind {
        name: "row 25: no addresses",
        version: 3,
        counted: 24,
        packet: |target, _| multicast(&Message { count: 0, addresses: Vec::new(), ..target.v3() }),
    },
    Kind {
        name: "row 26: interval 0",
        version: 3,
        counted: 24,
        packet: |target, _| multicast(&Message { interval: 0, ..target.v3() }),
    },
    Kind {
        name: "row 34: impossible source",
        version: 3,
        // The routers' own addresses are tested in reception.rs: each router is a legitimate peer of the other.
        counted: 24,
        packet: |target, n| {
            let source = [Ipv4Addr::UNSPECIFIED, Ipv4Addr::new(224, 0, 0, 1), Ipv4Addr::BROADCAST][n % 3];
            Packet::multicast(source, target.v3().bytes(source, GROUP))
        },
    },
    Kind {
        name: "row 35: CARP",
        version: 2,
        counted: 24,
        packet: |target, n| {
            // Version 2 type 1, VHID, demotion, authlen 7, then a counter and a digest.
            let body = Message {
                count: 7,
                interval: 1,
                addresses: Vec::new(),
                trailer: vec![u8::try_from(n).unwrap_or(0); 28],
                ..target.v2()
            };
            multicast(&body)
        },
    },
    Kind {
        name: "row 89: no authentication where a password is configured",
        version: 2,
        counted: 24,
        packet: |target, _| multicast(&Message::v2(target.vrid, target.priority, target.address)),
    },
    Kind {
        name: "row 89: another authentication type",
        version: 2,
        counted: 24,
        packet: |target, n| multicast(&Message { interval: [0x0201, 0x0701][n % 2], ..target.v2() }),
    },
    Kind {
        name: "row 89: a wrong password",
        version: 2,
        counted: 24,
        packet: |target, n| {
            let password = ["1235", "", "12345"][n % 3];
            multicast(&Message::v2_password(target.vrid, target.priority, target.address, password))
        },
    },
    Kind {
        name: "row 90: another interval",
        version: 2,
        counted: 24,
        packet: |target, _| multicast(&Message { interval: 0x0102, ..target.v2() }),
    },
    Kind {
        name: "row 91: no address in common",
        version: 2,
        counted: 24,
        packet: |target, n| multicast(&of_others(target.v2(), n)),
    },
    Kind {
        name: "row 29: no address in common",
        version: 3,
        counted: 24,
        packet: |target, n| multicast(&of_others(target.v3(), n)),
    },
];

/// They are odd but valid: a router that discards them becomes a second Active router.
pub const ODD: [Kind; 8] = [
    Kind {
        name: "row 22: checksum with the pseudo-header",
        version: 3,
        counted: 0,
        packet: |target, _| multicast(&target.v3()),
    },
    Kind {
        name: "row 22: checksum over the message alone",
        version: 3,
        counted: 0,
        packet: |target, _| Packet::multicast(SOURCE, target.v3().bytes_summed_alone()),
    },
    Kind {
        name: "row 28: another interval",
        version: 3,
        counted: 0,
        packet: |target, _| multicast(&Message { interval: 101, ..target.v3() }),
    },
    Kind {
        name: "row 29: one address in common",
        version: 3,
        counted: 0,
        packet: |target, _| multicast(&with_another(target.v3())),
    },
    Kind {
        name: "row 91: one address in common",
        version: 2,
        counted: 0,
        packet: |target, _| multicast(&with_another(target.v2())),
    },
    Kind {
        name: "row 30: reserved bits",
        version: 3,
        counted: 0,
        packet: |target, _| multicast(&Message { interval: 0xf000 | 100, ..target.v3() }),
    },
    Kind {
        name: "row 31: one word of IP options",
        version: 3,
        counted: 0,
        packet: |target, _| Packet { options: vec![1; 4], ..multicast(&target.v3()) },
    },
    Kind {
        name: "row 31: as many IP options as there can be",
        version: 3,
        counted: 0,
        packet: |target, _| Packet { options: vec![1; 40], ..multicast(&target.v3()) },
    },
];
