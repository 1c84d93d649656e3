//! The virtual MAC address: what other hosts see, what is accepted, and what stays behind.

mod accept;
mod firewall;
mod keepalived;
mod leftovers;
mod third_host;

use std::net::IpAddr;
use std::time::Duration;

use anyhow::Context;
use vouchd_tests::host::Host;
use vouchd_tests::vouchd::{Files, Vouchd};
use vouchd_tests::wait::until;
use vouchd_tests::{Node, Site};

const PATIENCE: Duration = Duration::from_secs(10);
const V4: &str = "192.168.175.100";
const V6: &str = "2001:db8::100";
const LINK_LOCAL: &str = "fe80::100";
const MAC_V4: &str = "00:00:5e:00:01:37";
const MAC_V6: &str = "00:00:5e:00:02:37";

/// An instance with a virtual MAC.
fn instance(priority: u8, addresses: &[&str], more: &str) -> String {
    format!(
        "[instance.gw]\ninterface = \"ens33\"\nvirtual_router_id = 55\nversion = 3\nadvert_interval = \"100ms\"\n\
         priority = {priority}\nvirtual_mac = true\naddresses = {addresses:?}\n{more}\n"
    )
}

fn start(site: &Site, node: Node, text: &str) -> anyhow::Result<Vouchd> {
    Vouchd::start_with(site, node, Files::without_builtins(site, node)?, text)
}

/// Waits until the virtual routers of all families are in a state.
fn wait_all(vouchd: &Vouchd, state: &str) -> anyhow::Result<()> {
    until(&format!("all virtual routers to be {state}"), PATIENCE, || {
        let status = vouchd.status().unwrap_or_default();
        let instances = status["instances"].as_array().cloned().unwrap_or_default();
        !instances.is_empty() && instances.iter().all(|instance| instance["state"] == state)
    })
    .with_context(|| format!("{:?}", vouchd.status().map(|status| status["instances"].clone())))
}

/// Gives every host an IPv6 address in 2001:db8::/64.
fn with_ipv6(site: &Site) -> anyhow::Result<()> {
    for (number, node) in (1..).zip([Node::Nginx01, Node::Nginx02, Node::Client]) {
        let host = site.host(node);
        host.sh(&format!("ip -6 address add 2001:db8::{number}/64 dev ens33 nodad"))?;
        until("a link-local address", PATIENCE, || {
            let addresses = host.sh("ip -6 -o address show dev ens33 scope link").unwrap_or_default();
            !addresses.is_empty() && !addresses.contains("tentative")
        })?;
    }
    Ok(())
}

/// What became of a TCP connection to port 9 of an address: `refused` if the host has the address and accepts the packet.
fn connect(host: &Host, address: &str) -> &'static str {
    let url = if address.contains(':') { format!("http://[{address}]:9/") } else { format!("http://{address}:9/") };
    // The interface is needed for a link-local address.
    match host.sh(&format!("curl -s -g -m 1 --interface ens33 '{url}'; echo $?")).unwrap_or_default().trim() {
        "7" => "refused",
        "28" => "no answer",
        _ => "something else",
    }
}

/// The neighbour entry that a host has for an address.
fn entry(host: &Host, address: &str) -> Option<String> {
    let entry = host.sh(&format!("ip neigh show {address} dev ens33")).ok()?;
    Some(entry.split("lladdr ").nth(1)?.split_whitespace().next()?.to_owned())
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn mac(text: &str) -> [u8; 6] {
    let bytes: Vec<u8> = text.split(':').map(|byte| u8::from_str_radix(byte, 16).expect("a MAC address")).collect();
    bytes.try_into().expect("six bytes")
}

fn has_link(host: &Host, name: &str) -> bool {
    host.sh(&format!("test -e /sys/class/net/{name} && echo yes || true")).is_ok_and(|said| said.trim() == "yes")
}
