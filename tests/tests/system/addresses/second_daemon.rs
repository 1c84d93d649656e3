//! A second `vouchd run` on a host where one is running: whatever its configuration, it takes nothing from the first.

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use anyhow::ensure;
use nix::sys::signal::Signal;
use vouchd_tests::pair::Plan;
use vouchd_tests::site::INTERFACE;
use vouchd_tests::vouchd::{Files, INSTANCE, Vouchd, binary, config};
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

/// Runs `vouchd run` to its end, which has to come by itself.
fn run(site: &Site, config: &Path) -> anyhow::Result<Output> {
    let init = site.host(HOST).init().to_string();
    let enter = ["10", "nsenter", "-t", &init, "-m", "-u", "-n", "-p", "--"];
    Ok(Command::new("timeout").args(enter).arg(binary()).args(["run", "-c"]).arg(config).output()?)
}

/// The configuration of a second daemon, with its own control socket.
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

/// The first daemon has had its address all the time and still answers.
fn unharmed(site: &Site, first: &Vouchd) -> anyhow::Result<()> {
    let tenures = site.holders().tenures(HOST, VIP);
    ensure!(matches!(tenures.as_slice(), [(_, None)]), "the address was taken away: {tenures:?}");
    let status = first.instance(INSTANCE)?;
    ensure!(status["state"] == "active" && status["transitions"] == 2, "{status}");
    Ok(())
}

fn refused(output: &Output, words: &[&str]) -> anyhow::Result<()> {
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(1), "{}: {said}", output.status);
    for word in words {
        ensure!(said.contains(word), "{word:?} is not in: {said}");
    }
    Ok(())
}

/// The first daemon's process as its own host sees it.
fn pid(site: &Site) -> anyhow::Result<String> {
    let pids = site.host(HOST).sh("pgrep -o -x vouchd")?;
    Ok(format!("pid {}", pids.trim()))
}

#[test]
fn with_the_same_configuration_it_is_refused_before_it_touches_anything() {
    system_test("the same command twice", &NEEDS, |site| {
        let first = active(site, true)?;
        refused(&run(site, &first.files.config())?, &[&pid(site)?, "daemon.control"])?;
        // Without the socket's file, too, which anybody may have removed.
        std::fs::remove_file(first.files.control())?;
        refused(&run(site, &first.files.config())?, &[&pid(site)?, "daemon.control"])?;
        let tenures = site.holders().tenures(HOST, VIP);
        ensure!(matches!(tenures.as_slice(), [(_, None)]), "the address was taken away: {tenures:?}");
        Ok(())
    });
}

#[test]
fn with_another_control_socket_it_gets_neither_the_virtual_router_nor_the_address() {
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
fn with_other_addresses_on_the_same_interface_both_run_and_a_reload_takes_nothing_either() {
    system_test("two daemons on one interface", &NEEDS, |site| {
        // For ever: nothing would put it back.
        let first = active(site, false)?;
        let (file, control) = write_other(site, &instance(56, "192.168.175.150"))?;
        let args: [&Path; 3] = [Path::new("run"), Path::new("-c"), &file];
        let second = site.host(HOST).daemon("second", &binary(), args)?;
        let held = || site.host(HOST).sh(&format!("ip -4 -o addr show dev {INTERFACE}")).unwrap_or_default();
        until("the second one's address", Duration::from_secs(8), || held().contains("192.168.175.150/"))?;
        unharmed(site, &first)?;

        write_other(site, &instance(56, &VIP.to_string()))?;
        second.signal(Signal::SIGHUP);
        let error = || {
            let status = Command::new(binary()).args(["status", "--json", "--control"]).arg(&control).output().ok()?;
            let status: serde_json::Value = serde_json::from_slice(&status.stdout).ok()?;
            status["config"]["error"].as_str().map(str::to_owned)
        };
        until("the reload to be refused", Duration::from_secs(5), || {
            error().is_some_and(|error| error.contains("kept by another vouchd"))
        })?;
        ensure!(held().contains("192.168.175.150/"), "the second one lost its address: {}", held());
        unharmed(site, &first)
    });
}

#[test]
fn beside_a_frozen_one_it_is_refused_and_removes_nothing() {
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
fn after_a_kill_the_next_one_starts_and_removes_what_was_left() {
    system_test("SIGKILL, and start again", &NEEDS, |site| {
        let first = active(site, false)?;
        first.process.signal_all(Signal::SIGKILL);
        drop(first);
        ensure!(site.holders().now(VIP) == [HOST], "without a lease the address stays");
        let start = Instant::now();
        let _second = active(site, false)?;
        ensure!(site.holders().lost(HOST, VIP, start).is_some(), "what was left was not removed");
        Ok(())
    });
}
