//! A second `vouchd run` on a host takes nothing from the first, whatever its configuration.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::ensure;
use nix::sys::signal::Signal;
use vouchd_tests::command::{Output, vouchd};
use vouchd_tests::pair::Plan;
use vouchd_tests::site::INTERFACE;
use vouchd_tests::vouchd::{Files, INSTANCE, Vouchd, binary, config, spawn};
use vouchd_tests::wait::{holds, until};
use vouchd_tests::{Need, Node, Site, VIP, system_test};

const NEEDS: [Need; 1] = [Need::Vouchd];
const HOST: Node = Node::Nginx01;

fn active(site: &Site, lease: bool) -> anyhow::Result<Vouchd> {
    let mut text = config(HOST, &Plan { check: None, ..Plan::default() });
    if !lease {
        text.push_str("lease = \"off\"\n");
    }
    let vouchd = Vouchd::start_with(site, HOST, Files::without_builtins(site, HOST)?, &text)?;
    site.holders().wait_for(HOST, VIP, Duration::from_secs(8))?;
    Ok(vouchd)
}

/// Runs `vouchd run`, which has to end by itself within 10 s.
fn run(site: &Site, config: &Path) -> anyhow::Result<Output> {
    let init = site.host(HOST).init().to_string();
    let enter = ["10", "nsenter", "-t", &init, "-m", "-u", "-n", "-p", "--"];
    Output::of(Command::new("timeout").args(enter).arg(binary()).args(["run", "-c"]).arg(config))
}

/// Writes the configuration of a second daemon, and returns its path and that of its control socket.
fn write_other(site: &Site, rest: &str) -> anyhow::Result<(std::path::PathBuf, std::path::PathBuf)> {
    let dir = site.dir("second")?;
    let (file, control) = (dir.join("vouchd.toml"), dir.join("control.sock"));
    let text = format!(
        "[daemon]\ncontrol = {control:?}\ncache_dir = \"off\"\nplugin_dir = {dir:?}\nbuiltin_plugin_dir = {dir:?}\n\n{rest}"
    );
    std::fs::write(&file, text)?;
    Ok((file, control))
}

fn instance(vrid: u8, address: &str) -> String {
    format!(
        "[instance.other]\ninterface = \"{INTERFACE}\"\nvirtual_router_id = {vrid}\naddresses = [\"{address}\"]\n\
         advert_interval = \"1s\"\n"
    )
}

/// The first daemon has kept its address all the time, and still answers.
fn unharmed(site: &Site, first: &Vouchd) -> anyhow::Result<()> {
    let tenures = site.holders().tenures(HOST, VIP);
    ensure!(matches!(tenures.as_slice(), [(_, None)]), "the address was removed: {tenures:?}");
    let status = first.instance(INSTANCE)?;
    ensure!(status["state"] == "active" && status["transitions"] == 2, "{status}");
    Ok(())
}

fn refused(output: &Output, words: &[&str]) -> anyhow::Result<()> {
    ensure!(output.code == Some(1), "{output:?}");
    for word in words {
        ensure!(output.stderr.contains(word), "no {word:?} in: {}", output.stderr);
    }
    Ok(())
}

/// The process id of the first daemon as its host sees it.
fn pid(site: &Site) -> anyhow::Result<String> {
    let pids = site.host(HOST).sh("pgrep -o -x vouchd")?;
    Ok(format!("pid {}", pids.trim()))
}

#[test]
fn same_configuration_is_refused_before_anything_is_touched() {
    system_test("the same command twice", &NEEDS, |site| {
        let first = active(site, true)?;
        refused(&run(site, &first.files.config())?, &[&pid(site)?, "daemon.control"])?;
        // The same when the socket's file has been removed.
        std::fs::remove_file(first.files.control())?;
        refused(&run(site, &first.files.config())?, &[&pid(site)?, "daemon.control"])?;
        let tenures = site.holders().tenures(HOST, VIP);
        ensure!(matches!(tenures.as_slice(), [(_, None)]), "the address was removed: {tenures:?}");
        Ok(())
    });
}

#[test]
fn another_control_socket_gets_neither_the_virtual_router_nor_the_address() {
    system_test("another control socket", &NEEDS, |site| {
        let first = active(site, true)?;
        for (vrid, address, what) in
            [(55, "192.168.175.150", "virtual router 55"), (56, "192.168.175.100/24", "192.168.175.100")]
        {
            let (file, _) = write_other(site, &instance(vrid, address))?;
            refused(&run(site, &file)?, &[what, &pid(site)?, "stop it"])?;
            unharmed(site, &first)?;
        }
        Ok(())
    });
}

#[test]
fn daemons_with_different_addresses_share_an_interface_and_a_reload_takes_nothing() {
    system_test("two daemons on one interface", &NEEDS, |site| {
        // Without a lease nothing would restore a lost address.
        let first = active(site, false)?;
        let (file, control) = write_other(site, &instance(56, "192.168.175.150"))?;
        let second = spawn(site, HOST, "second", &file, &[])?;
        let held = || site.host(HOST).sh(&format!("ip -4 -o addr show dev {INTERFACE}")).unwrap_or_default();
        until("the second one's address", Duration::from_secs(8), || held().contains("192.168.175.150/"))?;
        unharmed(site, &first)?;

        write_other(site, &instance(56, &VIP.to_string()))?;
        second.signal(Signal::SIGHUP);
        let error = || {
            let status =
                vouchd(["status".as_ref(), "--json".as_ref(), "--control".as_ref(), control.as_os_str()]).ok()?;
            let status: serde_json::Value = serde_json::from_str(&status.stdout).ok()?;
            status["config"]["error"].as_str().map(str::to_owned)
        };
        until("the reload to be refused", Duration::from_secs(5), || {
            error().is_some_and(|error| error.contains("held by another vouchd"))
        })?;
        ensure!(held().contains("192.168.175.150/"), "the second one lost its address: {}", held());
        unharmed(site, &first)
    });
}

#[test]
fn start_beside_a_frozen_daemon_is_refused_and_removes_nothing() {
    system_test("SIGSTOP of the first", &NEEDS, |site| {
        let first = active(site, false)?;
        first.process.signal_all(Signal::SIGSTOP);
        let frozen = Instant::now();
        let (file, _) = write_other(site, &instance(56, "192.168.175.150"))?;
        refused(&run(site, &file)?, &[&pid(site)?, "does not answer", "kill -CONT"])?;
        let rest = Duration::from_secs(2).saturating_sub(frozen.elapsed());
        holds("the address stays", rest, || site.holders().now(VIP) == [HOST])?;
        first.process.signal_all(Signal::SIGCONT);
        Ok(())
    });
}

#[test]
fn start_after_a_kill_removes_leftover_addresses() {
    system_test("SIGKILL, and start again", &NEEDS, |site| {
        let first = active(site, false)?;
        first.process.signal_all(Signal::SIGKILL);
        drop(first);
        ensure!(site.holders().now(VIP) == [HOST], "without a lease the address stays");
        let start = Instant::now();
        let _second = active(site, false)?;
        ensure!(site.holders().lost(HOST, VIP, start).is_some(), "the leftover address was not removed");
        Ok(())
    });
}
