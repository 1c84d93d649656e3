//! vouchd as a system service: its unit, its notifications to systemd, the privileges of its processes.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use nix::sys::signal::Signal;
use vouchd_tests::capture::Capture;
use vouchd_tests::host::Process;
use vouchd_tests::pair::{Plan, VRID};
use vouchd_tests::vouchd::{Files, INSTANCE, Vouchd, config, spawn};
use vouchd_tests::wait::until;
use vouchd_tests::{Need, Node, VIP, system_test};

const NEEDS: [Need; 1] = [Need::Vouchd];

fn unchecked() -> Plan {
    Plan { check: None, ..Plan::default() }
}

/// A line of /proc/PID/status, or of a thread's.
fn status_line(path: &str, key: &str) -> anyhow::Result<String> {
    let status = fs::read_to_string(path).with_context(|| path.to_owned())?;
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    Ok(line.with_context(|| format!("no {key} in {path}"))?.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn capabilities(pid: i32, set: &str) -> anyhow::Result<u64> {
    Ok(u64::from_str_radix(&status_line(&format!("/proc/{pid}/status"), set)?, 16)?)
}

#[test]
fn systemd_accepts_the_unit() {
    let analyze = Path::new("/usr/bin/systemd-analyze");
    if !analyze.exists() {
        return vouchd_skip::skip("no systemd-analyze", "install the package systemd");
    }
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("packaging/vouchd.service");
    let text = fs::read_to_string(unit).unwrap().replace("/usr/bin/vouchd", "/bin/true");
    for line in ["Type=notify", "Restart=always", "WatchdogSec=10", "CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_RAW"] {
        assert!(text.lines().any(|other| other == line), "the unit lacks {line}");
    }
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("vouchd.service");
    fs::write(&copy, text).unwrap();
    let output = Command::new(analyze).arg("verify").arg(&copy).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("vouchd.service"), "{}: {said}", output.status);
}

#[test]
fn systemd_is_notified_of_ready_watchdog_and_stopping() {
    system_test("sd_notify", &NEEDS, |site| {
        let files = Files::new(site, Node::Nginx01)?;
        files.write_config("nginx01", &config(Node::Nginx01, &unchecked()))?;
        let path = site.dir("notify")?.join("socket");
        let socket = UnixDatagram::bind(&path)?;
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        let notification = || -> anyhow::Result<String> {
            let mut buffer = [0; 256];
            let length = socket.recv(&mut buffer).context("vouchd sends no notification")?;
            Ok(String::from_utf8_lossy(&buffer[..length]).trim().to_owned())
        };
        let environment = [format!("NOTIFY_SOCKET={}", path.display()), "WATCHDOG_USEC=600000".to_owned()];
        let mut process = spawn(site, Node::Nginx01, "vouchd", &files.config(), &environment)?;
        let first = notification()?;
        ensure!(first == "READY=1", "the first notification is {first:?}");
        for _ in 0..3 {
            let next = notification()?;
            ensure!(next == "WATCHDOG=1", "expected WATCHDOG=1, found {next:?}");
        }
        process.signal(Signal::SIGTERM);
        until("STOPPING=1", Duration::from_secs(5), || notification().is_ok_and(|message| message == "STOPPING=1"))?;
        let status = process.wait(Duration::from_secs(5))?;
        ensure!(status.code() == Some(0), "ended with {status}");
        Ok(())
    });
}

#[test]
fn router_keeps_only_needed_privileges_and_checker_none() {
    system_test("privileges", &NEEDS, |site| {
        let vouchd = Vouchd::start(site, Node::Nginx01, &unchecked())?;
        let (router, checker) = (vouchd.process.pid(), vouchd.checker()?);
        // It has its name before it drops its privileges.
        until("the checker to change its user", Duration::from_secs(5), || {
            status_line(&format!("/proc/{checker}/status"), "Uid").is_ok_and(|uids| !uids.contains("0 0"))
        })?;
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            ensure!(capabilities(checker, set)? == 0, "the checker has {set} {:#x}", capabilities(checker, set)?);
        }
        for pid in [router, checker] {
            ensure!(
                status_line(&format!("/proc/{pid}/status"), "NoNewPrivs")? == "1",
                "process {pid} may gain privileges"
            );
        }
        ensure!(status_line(&format!("/proc/{checker}/status"), "Groups")?.is_empty(), "the checker has groups");
        // NET_ADMIN 12, NET_RAW 13, and with root: SETUID 7, SETGID 6, KILL 5, SETPCAP 8, SYS_NICE 23, IPC_LOCK 14.
        let allowed: u64 = [12, 13, 7, 6, 5, 8, 23, 14].into_iter().map(|bit| 1 << bit).sum();
        let effective = capabilities(router, "CapEff")?;
        ensure!(effective & !allowed == 0, "the router has more capabilities than it needs: {effective:#x}");
        ensure!(effective & (1 << 12 | 1 << 13) == 1 << 12 | 1 << 13, "the router lacks capabilities: {effective:#x}");
        protocol_thread_is_real_time(&vouchd.process)
    });
}

/// Policy 2 is SCHED_RR (sched(7)), field 41 of /proc/PID/stat.
fn protocol_thread_is_real_time(process: &Process) -> anyhow::Result<()> {
    let mut policies = Vec::new();
    for task in fs::read_dir(format!("/proc/{}/task", process.pid()))?.flatten() {
        let stat = fs::read_to_string(task.path().join("stat"))?;
        let (name, fields) = stat.rsplit_once(')').context("a line of stat")?;
        let policy = fields.split_whitespace().nth(38).context("the policy in stat")?.to_owned();
        policies.push((name.rsplit('(').next().unwrap_or_default().to_owned(), policy));
    }
    let policy_of = |thread: &str| policies.iter().find(|(name, _)| name == thread).map(|(_, policy)| policy.as_str());
    ensure!(policy_of("protocol") == Some("2"), "the protocol thread is not SCHED_RR: {policies:?}");
    ensure!(policy_of("health") == Some("0"), "the health thread is not an ordinary one: {policies:?}");
    let locked = status_line(&format!("/proc/{}/status", process.pid()), "VmLck")?;
    ensure!(locked != "0 kB", "no memory is locked");
    Ok(())
}

#[test]
fn sigterm_sends_priority_zero_removes_the_address_and_exits_with_0() {
    system_test("SIGTERM", &NEEDS, |site| {
        let capture = Capture::start(site)?;
        let vouchd = Vouchd::start(site, Node::Nginx01, &unchecked())?;
        vouchd.wait_state(INSTANCE, "active", Duration::from_secs(6))?;
        site.holders().wait_for(Node::Nginx01, VIP, Duration::from_secs(2))?;
        let start = Instant::now();
        let status = vouchd.stop()?;
        ensure!(status.code() == Some(0), "ended with {status}");
        ensure!(site.holders().now(VIP).is_empty(), "the address was left behind");
        let last = capture.advertisements(Node::Nginx01, VRID, start).pop();
        ensure!(last.is_some_and(|last| last.priority() == 0), "its last advertisement was not priority 0");
        Ok(())
    });
}

#[test]
fn sighup_loads_a_changed_file_without_a_flap_and_ignores_a_broken_one() {
    system_test("SIGHUP", &NEEDS, |site| {
        let capture = Capture::start(site)?;
        let plan = unchecked();
        let vouchd = Vouchd::start(site, Node::Nginx01, &plan)?;
        vouchd.wait_state(INSTANCE, "active", Duration::from_secs(6))?;
        let start = Instant::now();
        let transitions = vouchd.instance(INSTANCE)?["transitions"].clone();

        vouchd.files.write_config("nginx01", &config(Node::Nginx01, &Plan { priority: 90, ..plan.clone() }))?;
        vouchd.process.signal(Signal::SIGHUP);
        until("the new priority", Duration::from_secs(2), || {
            vouchd.instance(INSTANCE).is_ok_and(|instance| instance["priority"]["effective"] == 90)
        })?;

        vouchd.files.write_config("nginx01", "[instance.web_server_group]\npriorty = 80\n")?;
        vouchd.process.signal(Signal::SIGHUP);
        until("the error in status", Duration::from_secs(2), || {
            vouchd
                .status()
                .is_ok_and(|status| status["config"]["error"].as_str().is_some_and(|error| error.contains("priorty")))
        })?;

        until("an advertisement with the new priority", Duration::from_secs(3), || {
            let sent = capture.advertisements(Node::Nginx01, VRID, start);
            sent.iter().any(|advertisement| advertisement.priority() == 90)
        })?;
        let sent = capture.advertisements(Node::Nginx01, VRID, start);
        ensure!(sent.iter().all(|advertisement| advertisement.priority() != 0), "it resigned");
        let instance = vouchd.instance(INSTANCE)?;
        ensure!(instance["state"] == "active" && instance["transitions"] == transitions, "it flapped: {instance}");
        Ok(())
    });
}
