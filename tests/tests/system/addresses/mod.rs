//! The addresses of the host: what vouchd adds, removes and never touches.

mod attributes;
mod changes;
mod conflict;
mod ownership;
mod refused;
mod second_daemon;

use std::collections::BTreeSet;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use vouchd_tests::addresses::{Form, forms, index};
use vouchd_tests::host::Host;
use vouchd_tests::vouchd::{Files, Vouchd, binary};
use vouchd_tests::wait::until;
use vouchd_tests::{Node, Site};

const NODE: Node = Node::Nginx01;
/// The node's own address.
const OWN: &str = "192.168.175.101";
const PATIENCE: Duration = Duration::from_secs(10);

fn instance(name: &str, vrid: u8, addresses: &[&str], more: &str) -> String {
    format!(
        "[instance.{name}]\ninterface = \"ens33\"\nvirtual_router_id = {vrid}\nversion = 3\nadvert_interval = \"100ms\"\n\
         addresses = {addresses:?}\n{more}\n"
    )
}

fn start(site: &Site, rest: &str) -> anyhow::Result<Vouchd> {
    Vouchd::start_with(site, NODE, Files::without_builtins(site, NODE)?, rest)
}

fn reload(vouchd: &Vouchd, rest: &str) -> anyhow::Result<()> {
    vouchd.files.write_config(NODE.name(), rest)?;
    vouchd.process.signal(Signal::SIGHUP);
    Ok(())
}

/// `192.168.175.100/24` on an interface.
fn form(index: u32, text: &str) -> Form {
    let (address, prefix) = text.split_once('/').unwrap_or((text, "32"));
    Form { index, address: address.parse().expect("an address"), prefix: prefix.parse().expect("a prefix length") }
}

fn has(host: &Host, interface: &str, text: &str) -> bool {
    index(host, interface).is_ok_and(|index| forms(host).is_ok_and(|forms| forms.contains(&form(index, text))))
}

/// Waits until the interface has exactly these addresses beside the node's own.
fn wait_exactly(host: &Host, wanted: &[&str]) -> anyhow::Result<()> {
    let index = index(host, "ens33")?;
    let wanted: BTreeSet<_> =
        wanted.iter().copied().chain(["192.168.175.101/24"]).map(|text| form(index, text)).collect();
    let now =
        || -> BTreeSet<Form> { forms(host).unwrap_or_default().into_iter().filter(|it| it.index == index).collect() };
    until(&format!("{wanted:?}"), PATIENCE, || now() == wanted)
        .map_err(|error| error.context(format!("there is {:?}", now())))
}

fn address(vouchd: &Vouchd, name: &str, position: usize) -> Value {
    vouchd.instance(name).map(|instance| instance["addresses"][position].clone()).unwrap_or_default()
}

/// Exit status and output, as one line, of a command on the node.
fn said(site: &Site, arguments: &str) -> anyhow::Result<(i32, String)> {
    let text = site.host(NODE).sh(&format!("{} {arguments} 2>&1; echo \"exit $?\"", binary().display()))?;
    let (text, code) = text.trim_end().rsplit_once("exit ").unwrap_or_default();
    Ok((code.parse()?, text.split_whitespace().collect::<Vec<_>>().join(" ")))
}

fn control(vouchd: &Vouchd) -> String {
    vouchd.files.control().display().to_string()
}
