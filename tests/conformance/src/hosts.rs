//! What hosts are made of: a directory, a cable, addresses.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::ensure;
use vouchd_tests::host::Host;

use crate::plan::INTERFACE;

/// A directory for the files of one try. Its name is one that the fixture of the whole-system tests sweeps.
pub(crate) fn scratch() -> anyhow::Result<PathBuf> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let dir = std::env::temp_dir().join(format!("vouchd-tests-{}-lab{number}", std::process::id()));
    fs::create_dir(&dir)?;
    Ok(dir)
}

/// Gives a router's interface the addresses 192.0.2.N, fe80::N and 2001:db8::N.
pub(crate) fn address(host: &Host, number: u8) -> anyhow::Result<()> {
    let commands = format!(
        "echo 1 > /proc/sys/net/ipv6/conf/{INTERFACE}/addr_gen_mode
         ip link set {INTERFACE} up
         ip address add 192.0.2.{number}/24 dev {INTERFACE}
         ip address add fe80::{number}/64 dev {INTERFACE} nodad
         ip address add 2001:db8::{number}/64 dev {INTERFACE} nodad"
    );
    host.sh(&commands).map(drop)
}

/// A cable from a port of one host to the interface of another. The port is up and has no address of its own.
pub(crate) fn connect(cable: &Host, port: &str, host: &Host) -> anyhow::Result<()> {
    // In the network namespace but not the process namespace of the first: the second is named by a process id that is
    // valid out here.
    let output = Command::new("nsenter")
        .args(["-t", &cable.init().to_string(), "-n", "--", "ip", "link", "add", port, "type", "veth"])
        .args(["peer", "name", INTERFACE, "netns", &host.init().to_string()])
        .output()?;
    ensure!(output.status.success(), "veth: {}", String::from_utf8_lossy(&output.stderr));
    let quiet = format!("echo 1 > /proc/sys/net/ipv6/conf/{port}/disable_ipv6; ip link set {port} up");
    cable.sh(&quiet).map(drop)
}
