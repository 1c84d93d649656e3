//! What of a configuration does not fit the host, told from a view of one.

use std::path::PathBuf;

use vouchd_config::host::{Host, HostAddress, HostInterface};
use vouchd_config::{Config, Findings, resolve};

fn config(text: &str) -> Config {
    resolve(vec![(PathBuf::from("v.toml"), text.to_owned())]).unwrap_or_else(|errors| panic!("{errors}"))
}

/// `(name, addresses with prefix)`
fn host(interfaces: &[(&str, &[&str])]) -> Host {
    let address = |text: &&str| {
        let (ip, prefix) = text.split_once('/').expect("a prefix");
        HostAddress { ip: ip.parse().expect("an address"), prefix: prefix.parse().expect("a number") }
    };
    let interface = |(name, addresses): &(&str, &[&str])| HostInterface {
        name: (*name).to_owned(),
        addresses: addresses.iter().map(address).collect(),
    };
    Host { interfaces: interfaces.iter().map(interface).collect() }
}

fn instance(lines: &str) -> String {
    format!("[instance.web]\nvirtual_router_id = 55\naddresses = [\"192.0.2.1\"]\n{lines}\n")
}

#[track_caller]
fn assert_only_warning(findings: &Findings, place: &str, words: &str) {
    let shown: Vec<String> = findings.warnings.iter().map(ToString::to_string).collect();
    assert!(findings.errors.is_empty(), "{findings:?}");
    assert_eq!(shown.len(), 1, "{shown:?}");
    assert!(shown[0].starts_with(&format!("v.toml:{place}: ")), "{place} expected:\n{}", shown[0]);
    assert!(shown[0].contains(words), "{words:?} expected:\n{}", shown[0]);
}

#[test]
fn a_missing_interface_is_a_warning_that_names_those_there_are() {
    let host = host(&[("lo", &["127.0.0.1/8"]), ("eth0", &["192.0.2.11/24"])]);
    assert_only_warning(
        &config(&instance("interface = \"eth1\"")).check_host(&host),
        "4:13",
        "no such interface (did you mean \"eth0\"?); the instance waits until there is one. There are: lo, eth0",
    );
    let there = config(&instance("interface = \"eth0\"")).check_host(&host);
    assert!(there.errors.is_empty() && there.warnings.is_empty(), "{there:?}");
}

#[test]
fn a_missing_source_address_is_a_warning_that_names_those_there_are() {
    let text = instance("interface = \"eth0\"\nunicast = { source = \"192.0.2.11\", peers = [\"192.0.2.12\"] }");
    let there = config(&text).check_host(&host(&[("eth0", &["192.0.2.11/24"])]));
    assert!(there.errors.is_empty() && there.warnings.is_empty(), "{there:?}");
    let other = host(&[("eth0", &["192.0.2.13/24", "fe80::1/64"]), ("eth1", &["192.0.2.11/24"])]);
    assert_only_warning(
        &config(&text).check_host(&other),
        "5:22",
        "eth0 does not have this address on this host (it has 192.0.2.13)",
    );
    let none = host(&[("eth0", &[])]);
    assert_only_warning(&config(&text).check_host(&none), "5:22", "it has no IPv4 address");
}
