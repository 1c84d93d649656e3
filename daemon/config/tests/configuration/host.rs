//! Whether a configuration fits a host.
#![expect(clippy::disallowed_methods, reason = "a test may read and write files")]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use vouchd_config::Findings;
use vouchd_config::host::{Account, Host, HostAddress, HostInterface};

use crate::config;

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
    Host { interfaces: interfaces.iter().map(interface).collect(), daemon: None }
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
fn missing_interface_is_a_warning_that_lists_the_existing_ones() {
    let host = host(&[("lo", &["127.0.0.1/8"]), ("eth0", &["192.0.2.11/24"])]);
    assert_only_warning(
        &config(&instance("interface = \"eth1\"")).check_host(&host),
        "4:13",
        "no such interface (did you mean \"eth0\"?); the instance waits for it; this host has: lo, eth0",
    );
    let there = config(&instance("interface = \"eth0\"")).check_host(&host);
    assert!(there.errors.is_empty() && there.warnings.is_empty(), "{there:?}");
}

#[test]
fn missing_source_address_is_a_warning_that_lists_the_existing_ones() {
    let text = instance("interface = \"eth0\"\nunicast = { source = \"192.0.2.11\", peers = [\"192.0.2.12\"] }");
    let there = config(&text).check_host(&host(&[("eth0", &["192.0.2.11/24"])]));
    assert!(there.errors.is_empty() && there.warnings.is_empty(), "{there:?}");
    let other = host(&[("eth0", &["192.0.2.13/24", "fe80::1/64"]), ("eth1", &["192.0.2.11/24"])]);
    assert_only_warning(
        &config(&text).check_host(&other),
        "5:22",
        "eth0 does not have this address on this host (it has 192.0.2.13)",
    );
    // The virtual address is not offered.
    let virtual_too = host(&[("eth0", &["192.0.2.1/32", "192.0.2.13/24"])]);
    assert_only_warning(&config(&text).check_host(&virtual_too), "5:22", "(it has 192.0.2.13)");
    let none = host(&[("eth0", &[])]);
    assert_only_warning(&config(&text).check_host(&none), "5:22", "it has no IPv4 address");
}

#[test]
fn network_and_broadcast_addresses_and_our_own_among_the_peers_are_reported() {
    let host = host(&[("eth0", &["192.0.2.11/24"])]);
    for (address, words) in [
        ("192.0.2.255", "the broadcast address of eth0's network here (192.0.2.11/24)"),
        ("192.0.2.0", "the address of the network itself of eth0's network here"),
    ] {
        let text = instance("interface = \"eth0\"").replace("192.0.2.1\"", &format!("{address}\""));
        assert_only_warning(&config(&text).check_host(&host), "3:14", words);
    }
    let text = instance("interface = \"eth0\"\nunicast = { source = \"192.0.2.12\", peers = [\"192.0.2.11\"] }");
    let shown: Vec<String> = config(&text).check_host(&host).warnings.iter().map(ToString::to_string).collect();
    assert!(
        shown.iter().any(|it| it.starts_with("v.toml:5:45: ") && it.contains("an address of this host itself")),
        "{shown:?}"
    );
}

#[test]
fn file_with_a_wrong_mode_is_reported_with_the_right_one() {
    let dir = tempfile::tempdir().expect("a directory");
    let main = dir.path().join("vouchd.toml");
    let text = instance("interface = \"eth0\"\nauth = { type = \"pass\", password = \"1234\" }");
    fs::write(&main, text).expect("written");
    let eth0 = host(&[("eth0", &["192.0.2.11/24"])]);
    let owner = fs::metadata(&main).expect("written").uid();
    let account = |user, groups: &[u32]| Account { name: "vouchd".to_owned(), user, groups: groups.to_vec() };
    let group = fs::metadata(&main).expect("written").gid();
    let shown = |mode, daemon: Option<Account>| {
        fs::set_permissions(&main, fs::Permissions::from_mode(mode)).expect("changed");
        let config = vouchd_config::load(&main).expect("valid");
        let found = config.check_host(&Host { daemon, ..eth0.clone() });
        assert!(found.errors.is_empty());
        found.warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let works = format!("`chown root:vouchd {0} && chmod 0640 {0}`", main.display());
    let said = shown(0o644, None);
    assert!(said.contains("v.toml") || said.contains(":5:1: every user of this host can read the password"), "{said}");
    assert!(said.contains(&works) && !said.contains("1234"), "{said}");
    let said = shown(0o600, Some(account(owner + 1, &[group + 1])));
    assert!(
        said.contains("its mode is 0600: the unit starts the daemon as user vouchd, which can't read it"),
        "{said}"
    );
    assert!(said.contains(&works), "{said}");
    assert_eq!(shown(0o640, Some(account(owner + 1, &[group]))), "");
    assert_eq!(shown(0o640, None), "");
}

#[test]
fn user_that_the_checker_can_not_become_is_an_error() {
    let config = vouchd_config::resolve(vec![("v.toml".into(), "[daemon]\nuser = \"checks\"\n".to_owned())]);
    let config = config.expect("valid");
    for (number, words) in [(None, "no such user"), (Some(0), "this is root")] {
        let shown = config.check_user(number).expect("a problem").to_string();
        assert!(shown.starts_with("v.toml:2:8: daemon.user = \"checks\": ") && shown.contains(words), "{shown}");
    }
    assert!(config.check_user(Some(1000)).is_none());
}
