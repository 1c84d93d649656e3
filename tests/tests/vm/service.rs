//! The packaged unit under a real systemd.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;
use vouchd_tests::command::Output;
use vouchd_tests::vouchd::{binary, builtin_plugins, checker_binary};
use vouchd_tests::wait::until;

use super::{ADDRESS, INSTANCE, WITHIN, is_guest};

const INTERFACE: &str = "lan9";

fn run(line: &str) -> anyhow::Result<String> {
    let output = Output::of(Command::new("sh").args(["-c", line]))?;
    ensure!(output.code == Some(0), "{line}: {:?}: {}", output.code, output.text());
    Ok(output.stdout)
}

/// As the packages do: executables, plugins, unit, user, configuration.
fn install() -> anyhow::Result<()> {
    let packaging = builtin_plugins().with_file_name("packaging");
    let plugins = Path::new("/usr/lib/vouchd/plugins");
    for directory in [plugins, Path::new("/etc/vouchd/plugins"), Path::new("/etc/vouchd/conf.d")] {
        fs::create_dir_all(directory)?;
    }
    for executable in [binary(), checker_binary()] {
        let copy = Path::new("/usr/bin").join(executable.file_name().context("a name")?);
        fs::copy(&executable, &copy)?;
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o755))?;
    }
    fs::copy(builtin_plugins().join("process.wasm"), plugins.join("process.wasm"))?;
    fs::copy(packaging.join("vouchd.service"), "/lib/systemd/system/vouchd.service")?;
    fs::copy(packaging.join("vouchd.sysusers"), "/usr/lib/sysusers.d/vouchd.conf")?;
    fs::write(
        "/etc/vouchd/vouchd.toml",
        format!(
            "[check.bus]\nplugin = \"process\"\nparams = {{ name = \"dbus-daemon\" }}\n\
             allow = {{ process = [\"dbus-daemon\"] }}\ntimeout = \"10s\"\n\n\
             [instance.{INSTANCE}]\ninterface = \"{INTERFACE}\"\nvirtual_router_id = 55\nversion = 3\npriority = 100\n\
             addresses = [\"{ADDRESS}/24\"]\nchecks = [\"bus\"]\n"
        ),
    )?;
    run("chmod -R a+rX /etc/vouchd /usr/lib/vouchd && systemd-sysusers && systemctl daemon-reload")?;
    run(&format!(
        "ip link add {INTERFACE} type dummy && ip addr add 10.10.0.1/24 dev {INTERFACE} && ip link set {INTERFACE} up"
    ))
    .map(drop)
}

fn property(name: &str) -> anyhow::Result<String> {
    Ok(run(&format!("systemctl show vouchd.service --property={name} --value"))?.trim().to_owned())
}

fn state() -> Option<String> {
    let output = Output::of(Command::new("vouchd").args(["status", "--json"])).ok()?;
    let status: Value = serde_json::from_str(&output.stdout).ok()?;
    Some(status["instances"][0]["state"].as_str()?.to_owned())
}

fn wait_active() -> anyhow::Result<()> {
    let result = until("the service to hold the address", WITHIN, || {
        state().as_deref() == Some("active")
            && run(&format!("ip -o addr show dev {INTERFACE}")).is_ok_and(|shown| shown.contains(ADDRESS))
    });
    result.with_context(|| {
        run("systemctl status vouchd; journalctl -u vouchd --no-pager | tail -50; true").unwrap_or_default()
    })
}

#[test]
fn packaged_unit_starts_and_its_watchdog_replaces_a_router_that_hangs() {
    if is_guest() {
        unit_starts_and_watchdog_works().unwrap();
    }
}

fn unit_starts_and_watchdog_works() -> anyhow::Result<()> {
    install()?;
    // Type=notify: it returns once vouchd has reported that it is ready.
    run("systemctl start vouchd.service")
        .with_context(|| run("journalctl -u vouchd --no-pager").unwrap_or_default())?;
    ensure!(property("ActiveState")? == "active", "{}", property("ActiveState")?);
    ensure!(property("WatchdogUSec")? == "10s", "the watchdog is {}", property("WatchdogUSec")?);
    wait_active()?;
    let main = property("MainPID")?;
    let user = run(&format!("ps -o user= -p {main}"))?;
    ensure!(user.trim() == "vouchd", "it runs as {user}");

    // Ten seconds are tested by reading the property; waiting for them twice is not needed.
    fs::create_dir_all("/run/systemd/system/vouchd.service.d")?;
    fs::write(
        "/run/systemd/system/vouchd.service.d/fast.conf",
        "[Service]\nWatchdogSec=3\nTimeoutAbortSec=1\nRestartSec=100ms\n",
    )?;
    run("systemctl daemon-reload && systemctl restart vouchd.service")?;
    wait_active()?;
    let hung = property("MainPID")?;
    ensure!(hung != main, "the unit was not restarted");
    run(&format!("kill -STOP {hung}"))?;
    until("systemd to start another", WITHIN, || {
        property("NRestarts").is_ok_and(|restarts| restarts == "1") && property("MainPID").is_ok_and(|pid| pid != hung)
    })?;
    let journal = run("journalctl -u vouchd --no-pager")?;
    ensure!(journal.contains("Watchdog timeout"), "it was not the watchdog:\n{journal}");
    wait_active()?;
    run("systemctl stop vouchd.service")?;
    ensure!(property("Result")? == "success", "it stopped with {}", property("Result")?);
    until("the address to be gone", Duration::from_secs(5), || {
        run(&format!("ip -o addr show dev {INTERFACE}")).is_ok_and(|shown| !shown.contains(ADDRESS))
    })
}
