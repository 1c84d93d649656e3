//! A pair of firewalls: an inside and an outside instance that are active together, with virtual MACs, routes and a tracked
//! uplink, and one TCP connection through them.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::ensure;
use vouchd_tests::background::Background;
use vouchd_tests::claimants::{Claimants, Kind};
use vouchd_tests::host::Host;
use vouchd_tests::wait::until;
use vouchd_tests::{Need, Node, Site, system_test};

use super::{PATIENCE, connect, ip, mac, start, wait_all};

/// Behind the outside network. Only the active router has a route to it.
const SERVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 21);
const PORT: u16 = 7;

const INSIDE: [(&str, &str); 3] = [
    ("192.168.175.100", "00:00:5e:00:01:37"),
    ("fe80::100", "00:00:5e:00:02:37"),
    ("2001:db8::100", "00:00:5e:00:02:37"),
];
const OUTSIDE: [(&str, &str); 3] = [
    ("203.0.113.100", "00:00:5e:00:01:38"),
    ("fe80::200", "00:00:5e:00:02:38"),
    ("2001:db8:2::100", "00:00:5e:00:02:38"),
];

fn config(priority: u8) -> String {
    let instance = |name: &str, interface: &str, vrid: u8, addresses: [(&str, &str); 3], more: &str| {
        format!(
            "[instance.{name}]\ninterface = \"{interface}\"\nvirtual_router_id = {vrid}\nversion = 3\n\
             advert_interval = \"100ms\"\npriority = {priority}\nvirtual_mac = true\naddresses = {:?}\n{more}\n",
            addresses.map(|(address, _)| address)
        )
    };
    instance("inside", "ens33", 55, INSIDE, "")
        + &instance("outside", "out0", 56, OUTSIDE, "routes = [\"198.51.100.0/24 via 203.0.113.21 dev out0\"]")
        + "[group.firewall]\ninstances = [\"inside\", \"outside\"]\ntrack = [\"up0\"]\n"
}

/// The client is inside, the server outside, the firewalls are between them and have an uplink each.
fn build(site: &Site) -> anyhow::Result<()> {
    site.segment("out0", &[Node::Nginx01, Node::Nginx02, Node::Web01])?;
    site.segment("up0", &Node::ROUTERS)?;
    for (number, node) in (1..).zip(Node::ROUTERS) {
        let host = site.host(node);
        host.sh("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")?;
        host.sh(&format!("ip address add 203.0.113.{number}/24 dev out0"))?;
        host.sh(&format!("ip -6 address add 2001:db8::{number}/64 dev ens33 nodad"))?;
        host.sh(&format!("ip -6 address add 2001:db8:2::{number}/64 dev out0 nodad"))?;
        for interface in ["ens33", "out0"] {
            until("a link-local address", PATIENCE, || {
                let shown = host.sh(&format!("ip -6 -o address show dev {interface} scope link")).unwrap_or_default();
                !shown.is_empty() && !shown.contains("tentative")
            })?;
        }
    }
    let client = site.host(Node::Client);
    client.sh("ip -6 address add 2001:db8::10/64 dev ens33 nodad")?;
    client.sh(
        "ip route add 198.51.100.0/24 via 192.168.175.100 && ip -6 route add 2001:db8:2::/64 via fe80::100 dev ens33",
    )?;
    let server = site.host(Node::Web01);
    server.sh("ip address add 203.0.113.21/24 dev out0 && ip -6 address add 2001:db8:2::21/64 dev out0 nodad")?;
    server.sh(&format!("ip address add {SERVER}/32 dev lo"))?;
    // Back through the firewalls, although it has an interface inside, too.
    server.sh("ip route add 192.168.175.10/32 via 203.0.113.100 dev out0")?;
    server.sh("ip -6 route add 2001:db8::10/128 via fe80::200 dev out0").map(drop)
}

/// A server that sends back what it receives.
fn echo(host: &Host) -> anyhow::Result<Background> {
    Background::start(host, "the server", |running| {
        let listener = TcpListener::bind((SERVER, PORT)).expect("a free port");
        listener.set_nonblocking(true).expect("a socket option");
        running.ready();
        let mut connection: Option<TcpStream> = None;
        let mut buffer = [0; 64];
        while running.goes_on() {
            match &mut connection {
                None => {
                    connection = listener.accept().ok().map(|(stream, _)| stream);
                    std::thread::sleep(Duration::from_millis(5));
                }
                Some(stream) => {
                    stream.set_read_timeout(Some(Duration::from_millis(50))).expect("a socket option");
                    if let Ok(length @ 1..) = stream.read(&mut buffer) {
                        let _ = stream.write_all(&buffer[..length]);
                    }
                }
            }
        }
    })
}

/// One connection that sends a byte again and again and waits for it to come back. Counts them.
fn connection(host: &Host, answers: Arc<AtomicU64>) -> anyhow::Result<Background> {
    Background::start(host, "the connection", move |running| {
        let to = SocketAddr::from((SERVER, PORT));
        let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(10)).expect("a way to the server");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket option");
        running.ready();
        let mut byte = [0];
        while running.goes_on() {
            stream.write_all(&[1]).expect("the connection lives");
            stream.read_exact(&mut byte).expect("the connection lives");
            answers.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(10));
        }
    })
}

/// Waits until more answers have come.
fn flows(answers: &AtomicU64) -> anyhow::Result<()> {
    let before = answers.load(Ordering::Relaxed);
    until("the connection to go on", PATIENCE, || answers.load(Ordering::Relaxed) > before + 5)
}

#[test]
fn firewall_pair_moves_as_one_and_a_connection_through_it_survives_ten_failovers() {
    system_test("a pair of firewalls", &[Need::Vouchd], |site| {
        build(site)?;
        let (client, server) = (site.host(Node::Client), site.host(Node::Web01));
        let (seen_inside, seen_outside) = (Claimants::start(client)?, Claimants::start(server)?);
        let first = start(site, Node::Nginx01, &config(100))?;
        wait_all(&first, "active")?;
        let second = start(site, Node::Nginx02, &config(90))?;
        wait_all(&second, "backup")?;
        let _server = echo(server)?;
        let answers = Arc::new(AtomicU64::new(0));
        let _connection = connection(client, Arc::clone(&answers))?;
        let uplink = |state: &str| site.host(Node::Nginx01).sh(&format!("ip link set up0 {state}"));
        for _ in 0..5 {
            uplink("down")?;
            wait_all(&second, "active")?;
            wait_all(&first, "initialize")?;
            flows(&answers)?;
            until("IPv6 through the second", PATIENCE, || connect(client, "2001:db8:2::21") == "refused")?;
            uplink("up")?;
            wait_all(&first, "active")?;
            wait_all(&second, "backup")?;
            flows(&answers)?;
            until("IPv6 through the first", PATIENCE, || connect(client, "2001:db8:2::21") == "refused")?;
        }
        for (seen, addresses) in [(seen_inside, INSIDE), (seen_outside, OUTSIDE)] {
            for (address, expected) in addresses {
                let address: IpAddr = ip(address);
                for kind in [if address.is_ipv4() { Kind::Arp } else { Kind::Neighbour }, Kind::Frame] {
                    let macs = seen.of(kind, address);
                    ensure!(macs == BTreeSet::from([mac(expected)]), "{kind:?} of {address}: {macs:?}");
                }
            }
        }
        Ok(())
    });
}
