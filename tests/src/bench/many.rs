//! Hundreds of instances: how long they take to hold all addresses, what they cost, and how evenly they advertise.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use nix::errno::Errno;
use nix::sys::socket::{LinkAddr, recvfrom};
use socket2::{Domain, Protocol, Socket, Type};

use super::{MAKES, Measured, Report, Row, cpu_time};
use crate::background::{Background, Running};
use crate::host::{Host, Process};
use crate::keepalived::Keepalived;
use crate::pair::Make;
use crate::site::{Node, Site};
use crate::vouchd::{Files, Vouchd};
use crate::wait::until;

/// Interfaces, and instances on each.
const SIZES: [(usize, usize); 2] = [(1, 255), (4, 250)];

/// Longer than any election of so many takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// When each virtual router of each interface has sent an advertisement.
type Sent = BTreeMap<(usize, u8), Vec<Instant>>;

pub(super) fn many(time: Duration, report: &mut Report) -> anyhow::Result<()> {
    for (interfaces, each) in SIZES {
        let mut results = Vec::new();
        for make in MAKES {
            let result = measure(make, interfaces, each, time)?;
            eprintln!("{make:?}, {interfaces} x {each} instances: {result:?}");
            results.push(result);
        }
        let [vouchd, keepalived] = <[[f64; 4]; 2]>::try_from(results).ok().context("two makes")?;
        let names = [
            ("start until all addresses are there", "s"),
            ("CPU time per second", "ms"),
            ("deviation of the interval, 99th percentile", "ms"),
            ("deviation of the interval, largest", "ms"),
        ];
        for (n, (what, unit)) in names.into_iter().enumerate() {
            let what = format!("{interfaces} x {each} instances: {what}");
            let [vouchd, keepalived] = [vouchd, keepalived].map(|values| Measured::once(values[n]));
            report.rows.push(Row { what, unit, vouchd, keepalived });
        }
    }
    Ok(())
}

/// The values in the order of the rows.
fn measure(make: Make, interfaces: usize, each: usize, time: Duration) -> anyhow::Result<[f64; 4]> {
    let site = Site::new()?;
    let host = site.host(Node::Nginx01);
    for n in 1..=interfaces {
        host.sh(&format!(
            "ip link add many{n} type veth peer name cable{n} && ip link set cable{n} up && \
             ip address add 10.1.{n}.1/24 dev many{n} && ip link set many{n} up"
        ))?;
    }
    let start = Instant::now();
    let text = config(make, interfaces, each);
    match make {
        Make::Vouchd => {
            let files = Files::without_builtins(&site, Node::Nginx01)?;
            let router = Vouchd::start_with(&site, Node::Nginx01, files, &text)?;
            observe(host, &router.process, start, interfaces * each, time)
        }
        Make::Keepalived => {
            let router = Keepalived::start_with(&site, Node::Nginx01, &text)?;
            observe(host, &router.process, start, interfaces * each, time)
        }
    }
}

fn config(make: Make, interfaces: usize, each: usize) -> String {
    let mut text = String::new();
    for (n, vrid) in (1..=interfaces).flat_map(|n| (1..=each).map(move |vrid| (n, vrid))) {
        let _ = match make {
            Make::Vouchd => writeln!(
                text,
                "[instance.i{n}_{vrid}]\ninterface = \"many{n}\"\nvirtual_router_id = {vrid}\nversion = 3\n\
                 priority = 100\naddresses = [\"10.2.{n}.{vrid}/32\"]"
            ),
            Make::Keepalived => writeln!(
                text,
                "vrrp_instance i{n}_{vrid} {{\n    state BACKUP\n    interface many{n}\n    virtual_router_id {vrid}\n    \
                 version 3\n    priority 100\n    advert_int 1\n    virtual_ipaddress {{\n        10.2.{n}.{vrid}/32\n    }}\n}}"
            ),
        };
    }
    text
}

fn observe(host: &Host, process: &Process, start: Instant, count: usize, time: Duration) -> anyhow::Result<[f64; 4]> {
    let held = || host.sh("ip -4 -o address show | grep -c ' 10\\.2\\.' || true").unwrap_or_default();
    until("all addresses", PATIENCE, || held().trim() == count.to_string())
        .with_context(|| format!("{} of {count} addresses", held().trim()))?;
    let elected = start.elapsed().as_secs_f64();
    // Leaves out the announcements of the election, and their second round.
    std::thread::sleep(Duration::from_secs(8));
    let sent = Arc::new(Mutex::new(Sent::new()));
    let to = Arc::clone(&sent);
    let recorder = Background::start(host, "the recorder of advertisements", move |running| {
        record(&to, running).expect("a packet socket as root");
    })?;
    let before = cpu_time(process)?;
    std::thread::sleep(time);
    let busy = cpu_time(process)?.saturating_sub(before);
    drop(recorder);
    let sent = sent.lock().expect("no thread panics with it");
    ensure!(sent.len() == count, "{} of {count} instances advertise", sent.len());
    let intervals = sent.values().flat_map(|times| times.windows(2)).map(|pair| pair[1].duration_since(pair[0]));
    let mut deviations: Vec<f64> = intervals.map(|interval| (interval.as_secs_f64() - 1.0).abs() * 1e3).collect();
    deviations.sort_by(f64::total_cmp);
    let at = |part: f64| deviations.get((deviations.len() as f64 * part) as usize).copied();
    let largest = deviations.last().copied().context("no intervals")?;
    Ok([elected, busy.as_secs_f64() * 1e3 / time.as_secs_f64(), at(0.99).unwrap_or(largest), largest])
}

/// Records the advertisements that the host sends on interfaces other than loopback.
fn record(sent: &Mutex<Sent>, running: &Running) -> anyhow::Result<()> {
    let protocol = i32::from((libc::ETH_P_ALL as u16).to_be());
    let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(Protocol::from(protocol)))?;
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    socket.set_recv_buffer_size(4 << 20)?;
    running.ready();
    let mut buffer = [0; 2048];
    while running.goes_on() {
        let (length, link) = match recvfrom::<LinkAddr>(socket.as_raw_fd(), &mut buffer) {
            Ok((length, link)) => (length, link),
            Err(Errno::EAGAIN | Errno::EINTR) => continue,
            Err(error) => return Err(error.into()),
        };
        let now = Instant::now();
        let Some(link) = link.filter(|link| link.pkttype() == libc::PACKET_OUTGOING) else { continue };
        let packet = &buffer[..length];
        let Some(&header) = packet.first().filter(|_| packet.get(9) == Some(&112)) else { continue };
        if let Some(&vrid) = packet.get(usize::from(header & 15) * 4 + 1) {
            let mut sent = sent.lock().expect("no thread panics with it");
            sent.entry((link.ifindex(), vrid)).or_default().push(now);
        }
    }
    Ok(())
}
