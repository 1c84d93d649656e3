//! Isolation (RFC 9568 sections 5 and 7.1): what must be discarded changes nothing, neither the timers of an Active router
//! nor those of a Backup.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::ensure;
use vouchd_tests::capture::{Capture, longest_gap};
use vouchd_tests::frame::{Message, Packet};
use vouchd_tests::injector::Injector;
use vouchd_tests::site::INTERFACE;
use vouchd_tests::vouchd::{Files, Vouchd};
use vouchd_tests::wait::until;
use vouchd_tests::{Need, Node, Site, system_test};

const FRAMES: usize = 24;
const PERIOD: Duration = Duration::from_millis(500);
const PASSWORD: &str = "1234";
/// A neighbour that is not part of the pair.
const SOURCE: Ipv4Addr = Ipv4Addr::new(192, 168, 175, 103);

/// The virtual router at which a kind of frames is aimed.
#[derive(Debug, Clone, Copy)]
struct Target {
    vrid: u8,
    address: Ipv4Addr,
    /// Of the frame: 200, which would take over, or 0, which would promote a Backup.
    priority: u8,
}

impl Target {
    fn v3(self) -> Message {
        Message::v3(self.vrid, self.priority, self.address)
    }

    fn v2(self) -> Message {
        Message::v2_password(self.vrid, self.priority, self.address, PASSWORD)
    }
}

/// One kind of frame that must be discarded.
#[derive(Clone, Copy)]
struct Kind {
    /// Row of the checklist and what is wrong.
    name: &'static str,
    /// Of the instance at which it is aimed.
    version: u8,
    /// How many of the frames the instance must have counted; the others never reach it, or can't be attributed.
    counted: u64,
    /// The n-th frame.
    packet: fn(Target, usize) -> Packet,
}

/// With one or two addresses, none of which is the target's.
fn of_others(message: Message, n: usize) -> Message {
    let addresses: Vec<_> =
        [98, 99].into_iter().take(1 + n % 2).map(|last| Ipv4Addr::new(192, 168, 175, last)).collect();
    Message { count: u8::try_from(addresses.len()).unwrap_or(0), addresses, ..message }
}

/// With one address more than the target has.
fn with_another(message: Message) -> Message {
    let addresses = message.addresses.iter().copied().chain([Ipv4Addr::new(192, 168, 175, 99)]).collect();
    Message { count: 2, addresses, ..message }
}

fn multicast(message: &Message) -> Packet {
    Packet::multicast(SOURCE, message.bytes(SOURCE, vouchd_tests::frame::GROUP))
}

const KINDS: [Kind; 20] = [
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
        // The routers' own addresses are in reception.rs: what comes from one is the other's legitimate peer.
        counted: 24,
        packet: |target, n| {
            let source = [Ipv4Addr::UNSPECIFIED, Ipv4Addr::new(224, 0, 0, 1), Ipv4Addr::BROADCAST][n % 3];
            Packet::multicast(source, target.v3().bytes(source, vouchd_tests::frame::GROUP))
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

fn target(index: usize, frame: usize) -> Target {
    let number = u8::try_from(index).unwrap_or(0);
    Target {
        vrid: 60 + number,
        address: Ipv4Addr::new(192, 168, 175, 200 + number),
        priority: if frame.is_multiple_of(2) { 200 } else { 0 },
    }
}

fn instance(index: usize) -> String {
    format!("kind{index:02}")
}

/// One instance for each kind, so that all kinds are tried at the same time.
fn start(site: &Site, node: Node, priority: u8, versions: impl IntoIterator<Item = u8>) -> anyhow::Result<Vouchd> {
    let mut config = String::new();
    for (index, version) in versions.into_iter().enumerate() {
        let Target { vrid, address, .. } = target(index, 0);
        let _ = write!(
            config,
            "[instance.{}]\ninterface = \"{INTERFACE}\"\nvirtual_router_id = {vrid}\npriority = {priority}\n\
             version = {version}\nadvert_interval = \"1s\"\naddresses = [\"{address}\"]\n",
            instance(index),
        );
        if version == 2 {
            let _ = writeln!(config, "auth = {{ type = \"pass\", password = \"{PASSWORD}\" }}");
        }
    }
    Vouchd::start_with(site, node, Files::new(site, node)?, &config)
}

fn wait_all(vouchd: &Vouchd, state: &str) -> anyhow::Result<()> {
    until(&format!("all instances to be {state}"), Duration::from_secs(10), || {
        vouchd.status().is_ok_and(|status| {
            let instances = status["instances"].as_array().cloned().unwrap_or_default();
            !instances.is_empty() && instances.iter().all(|instance| instance["state"] == state)
        })
    })
}

#[test]
fn what_must_be_discarded_touches_no_timer() {
    system_test("24 frames of each kind at 0.5 s", &[Need::Vouchd], |site| {
        let active = start(site, Node::Nginx01, 100, KINDS.map(|kind| kind.version))?;
        wait_all(&active, "active")?;
        let backup = start(site, Node::Nginx02, 80, KINDS.map(|kind| kind.version))?;
        wait_all(&backup, "backup")?;
        let before = backup.status()?;

        let injector = Injector::new(site)?;
        let capture = Capture::start(site)?;
        let start = Instant::now();
        for frame in 0..FRAMES {
            for (index, kind) in KINDS.iter().enumerate() {
                injector.send(&(kind.packet)(target(index, frame), frame))?;
            }
            std::thread::sleep(
                (start + PERIOD * (u32::try_from(frame)? + 1)).saturating_duration_since(Instant::now()),
            );
        }
        let end = Instant::now();

        let mut wrong = Vec::new();
        for (index, kind) in KINDS.iter().enumerate() {
            let vrid = target(index, 0).vrid;
            let sent = capture.advertisements(Node::Nginx01, vrid, start);
            let times: Vec<_> = sent.iter().map(|a| a.at).filter(|&at| at <= end).collect();
            let gap = longest_gap(times.iter().copied(), start, end);
            if !(11..=13).contains(&times.len()) || gap > Duration::from_millis(1100) {
                wrong.push(format!("{}: {} advertisements in 12 s, gap {gap:?}", kind.name, times.len()));
            }
            let promoted = capture.advertisements(Node::Nginx02, vrid, start).len();
            if promoted > 0 {
                wrong.push(format!("{}: the backup sent {promoted} advertisements", kind.name));
            }
            for vouchd in [&active, &backup] {
                let status = vouchd.instance(&instance(index))?;
                let reasons = status["advertisements"]["discarded"].as_object().cloned().unwrap_or_default();
                let counted: u64 = reasons.values().filter_map(serde_json::Value::as_u64).sum();
                if counted < kind.counted {
                    wrong.push(format!(
                        "{}: {} counted {counted} discards of {}: {reasons:?}",
                        kind.name, status["state"], kind.counted
                    ));
                }
            }
            let name = instance(index);
            let state = |status: &serde_json::Value| {
                let instances = status["instances"].as_array().cloned().unwrap_or_default();
                instances
                    .into_iter()
                    .find(|i| i["name"] == name.as_str())
                    .map(|i| (i["state"].clone(), i["transitions"].clone()))
            };
            let after = backup.status()?;
            if state(&before) != state(&after) {
                wrong.push(format!("{}: the backup changed state", kind.name));
            }
        }
        ensure!(wrong.is_empty(), "{wrong:#?}");
        Ok(())
    });
}

/// Odd, but right: who does not take these for an advertisement becomes a second Active router.
const ODD: [Kind; 8] = [
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

#[test]
fn what_is_odd_but_right_keeps_a_backup_where_it_is() {
    system_test("odd advertisements", &[Need::Vouchd], |site| {
        let injector = Injector::new(site)?;
        let capture = Capture::start(site)?;
        let backup = start(site, Node::Nginx02, 80, ODD.map(|kind| kind.version))?;
        wait_all(&backup, "backup")?;
        let start = Instant::now();
        // Twice a down interval.
        for frame in 1..=16 {
            for (index, kind) in ODD.iter().enumerate() {
                injector.send(&(kind.packet)(target(index, 0), 0))?;
            }
            std::thread::sleep((start + PERIOD * frame).saturating_duration_since(Instant::now()));
        }
        let mut wrong = Vec::new();
        for (index, kind) in ODD.iter().enumerate() {
            let status = backup.instance(&instance(index))?;
            let promoted = capture.advertisements(Node::Nginx02, target(index, 0).vrid, start).len();
            let is_heard = status["active"]["address"] == SOURCE.to_string() && status["active"]["priority"] == 200;
            if promoted > 0 || status["state"] != "backup" || !is_heard {
                wrong.push(format!("{}: {promoted} advertisements, {status}", kind.name));
            }
        }
        ensure!(wrong.is_empty(), "{wrong:#?}");
        wait_all(&backup, "active")
    });
}

#[test]
fn a_flood_of_lower_priority_advertisements_changes_no_rhythm() {
    system_test("10000 advertisements a second", &[Need::Vouchd], |site| {
        const SECONDS: u32 = 5;
        let active = start(site, Node::Nginx01, 100, [3])?;
        wait_all(&active, "active")?;
        let injector = Injector::new(site)?;
        let capture = Capture::start(site)?;
        let lower = multicast(&Message::v3(target(0, 0).vrid, 50, target(0, 0).address)).bytes();
        let start = Instant::now();
        for burst in 1..=SECONDS * 100 {
            for _ in 0..100 {
                injector.send_raw(&lower)?;
            }
            std::thread::sleep((start + Duration::from_millis(10) * burst).saturating_duration_since(Instant::now()));
        }
        let end = Instant::now();
        let sent = capture.advertisements(Node::Nginx01, target(0, 0).vrid, start);
        let gap = longest_gap(sent.iter().map(|a| a.at), start, end);
        println!("{} advertisements in {:?}, longest gap {gap:?}", sent.len(), end - start);
        ensure!(gap <= Duration::from_millis(1100), "a gap of {gap:?}");
        // RFC 9568 has each of them answered at once; a flood must not be answered by a flood.
        ensure!(sent.len() <= 50 * usize::try_from(SECONDS)?, "{} replies", sent.len());
        ensure!(sent.iter().all(|a| a.priority() == 100));
        ensure!(site.holders().now(target(0, 0).address) == [Node::Nginx01]);
        Ok(())
    });
}
