//! Plugins and drop-ins that are copied in and replaced while the daemon runs.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::ensure;
use vouchd_tests::capture::{Capture, longest_gap};
use vouchd_tests::guest::Guest;
use vouchd_tests::pair::VRID;
use vouchd_tests::site::INTERFACE;
use vouchd_tests::vouchd::{Files, Vouchd};
use vouchd_tests::wait::{holds, until};
use vouchd_tests::{Need, Node, VIP, system_test};

#[test]
fn plugin_and_drop_in_copied_while_running_are_checked_within_a_second() {
    system_test("a new plugin and drop-in", &[Need::Vouchd], |site| {
        let files = Files::new(site, Node::Nginx01)?;
        let config = format!(
            "[instance.web]\ninterface = \"{INTERFACE}\"\nvirtual_router_id = {VRID}\naddresses = [\"{VIP}\"]\n"
        );
        let vouchd = Vouchd::start_with(site, Node::Nginx01, files.clone(), &config)?;
        vouchd.wait_state("web", "active", Duration::from_secs(10))?;
        let before = vouchd.instance("web")?;
        let capture = Capture::start(site)?;
        let start = Instant::now();

        let plugin = files.plugin_dir().join("extra.wasm");
        let drop_in = format!(
            "[check.extra]\nplugin = \"extra\"\n\n[instance.second]\ninterface = \"{INTERFACE}\"\nvirtual_router_id = 100\n\
             priority = 150\naddresses = [\"192.168.175.200\"]\nchecks = [\"extra\"]\n"
        );
        fs::write(&plugin, Guest::new("").module())?;
        fs::write(files.drop_in("extra.toml"), drop_in)?;
        let copied = Instant::now();
        until("a verdict of the new check", Duration::from_secs(1), || {
            vouchd.check("extra").is_ok_and(|check| check["verdict"] == "pass")
        })?;
        println!("checked {:.3} s after the copy", copied.elapsed().as_secs_f64());
        vouchd.wait_state("second", "active", Duration::from_secs(6))?;
        let second = vouchd.instance("second")?;
        let loaded = vouchd.plugin("extra")?["sha256"].clone();

        fs::write(&plugin, b"\0asm, but not really")?;
        until("status to show the broken file", Duration::from_secs(3), || {
            vouchd.plugin("extra").is_ok_and(|plugin| plugin["error"].is_string())
        })?;
        holds("the broken file changes nothing else", Duration::from_secs(3), || {
            vouchd.check("extra").is_ok_and(|check| check["verdict"] == "pass")
                && vouchd
                    .instance("second")
                    .is_ok_and(|now| now["state"] == "active" && now["transitions"] == second["transitions"])
                && vouchd.plugin("extra").is_ok_and(|plugin| plugin["sha256"] == loaded)
        })?;

        fs::write(&plugin, Guest::new("").fails().module())?;
        until("the verdict of the next version", Duration::from_secs(3), || {
            vouchd.check("extra").is_ok_and(|check| check["verdict"] == "fail")
        })?;

        let sent = capture.advertisements(Node::Nginx01, VRID, start);
        let gap = longest_gap(sent.iter().map(|a| a.at), start, Instant::now());
        ensure!(gap <= Duration::from_millis(1100), "a gap of {gap:?} between advertisements");
        ensure!(vouchd.instance("web")?["transitions"] == before["transitions"]);
        Ok(())
    });
}

#[test]
fn broken_drop_in_changes_only_status() {
    system_test("a broken drop-in", &[Need::Vouchd], |site| {
        let files = Files::new(site, Node::Nginx01)?;
        let config = format!(
            "[instance.web]\ninterface = \"{INTERFACE}\"\nvirtual_router_id = {VRID}\naddresses = [\"{VIP}\"]\n"
        );
        let vouchd = Vouchd::start_with(site, Node::Nginx01, files.clone(), &config)?;
        vouchd.wait_state("web", "active", Duration::from_secs(10))?;
        let before = vouchd.instance("web")?;
        fs::write(files.drop_in("bad.toml"), "[instance.web]\npriority = 300\n")?;
        until("status to show it", Duration::from_secs(3), || {
            vouchd
                .status()
                .is_ok_and(|status| status["config"]["error"].as_str().is_some_and(|error| error.contains("bad.toml:")))
        })?;
        let web = vouchd.instance("web")?;
        ensure!(web["state"] == "active" && web["transitions"] == before["transitions"], "{web}");
        Ok(())
    });
}
