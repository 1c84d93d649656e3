//! vouchd knows which addresses are its own, and never touches the host's.

use std::time::Duration;

use anyhow::ensure;
use nix::sys::signal::Signal;
use vouchd_tests::addresses::{AddressWatch, forms, index, permanent};
use vouchd_tests::vouchd::{Files, Vouchd};
use vouchd_tests::wait::{holds, until};
use vouchd_tests::{Need, Node, system_test};

use super::{NODE, OWN, PATIENCE, address, control, form, has, instance, reload, said, start, wait_exactly};

#[test]
fn hosts_own_address_is_rejected_below_255_and_never_touched() {
    system_test("the host's own address", &[Need::Vouchd], |site| {
        let host = site.host(NODE);
        for (addresses, lease) in
            [("192.168.175.101/24", "auto"), ("192.168.175.101", "auto"), ("192.168.175.101/24", "off")]
        {
            let text = instance("web", 7, &[addresses], &format!("lease = \"{lease}\""));
            let vouchd = start(site, &text)?;
            let (code, told) = said(site, &format!("config check {}", vouchd.files.config().display()))?;
            ensure!(
                code == 2 && told.contains("192.168.175.101/24 on ens33 is this host's own address"),
                "{code}: {told}"
            );
            ensure!(told.contains("priority = 255") && told.contains("vouchd.toml:"), "{told}");
            until("the reason", PATIENCE, || {
                vouchd.instance("web").is_ok_and(|instance| {
                    instance["state"] == "initialize" && instance["reason"].to_string().contains("own address")
                })
            })?;
            // Longer than it takes to become active.
            holds("it stays in initialize", Duration::from_millis(800), || {
                vouchd.instance("web").is_ok_and(|instance| instance["state"] == "initialize")
            })?;
            ensure!(vouchd.stop()?.success());
            let own = form(index(host, "ens33")?, "192.168.175.101/24");
            ensure!(permanent(host)?.contains(&own), "{:?}", forms(host));
        }
        Ok(())
    });
}

#[test]
fn owner_announces_the_hosts_address_and_never_touches_it() {
    system_test("the owner", &[Need::Vouchd], |site| {
        let host = site.host(NODE);
        let watch = AddressWatch::start(host)?;
        let text = instance("web", 7, &["192.168.175.101/24", "192.168.175.100"], "priority = 255");
        let vouchd = start(site, &text)?;
        let (code, told) = said(site, &format!("config check {}", vouchd.files.config().display()))?;
        ensure!(code == 0, "{told}");
        vouchd.wait_state("web", "active", PATIENCE)?;
        wait_exactly(host, &["192.168.175.100/32"])?;
        until("status", PATIENCE, || {
            address(&vouchd, "web", 0)["host"] == true && address(&vouchd, "web", 1)["installed"] == true
        })?;
        ensure!(said(site, &format!("status --control {}", control(&vouchd)))?.1.contains("192.168.175.101+"));
        ensure!(vouchd.stop()?.success());
        wait_exactly(host, &[])?;
        let off = watch.went_off(0, &forms(host)?);
        ensure!(!off.iter().any(|(_, address)| address.to_string() == OWN), "{off:?}");
        Ok(())
    });
}

#[test]
fn static_copy_is_reported_on_a_backup_and_stays_after_an_activation() {
    system_test("a static copy of the virtual address", &[Need::Vouchd], |site| {
        let host = site.host(NODE);
        let other = instance("web", 7, &["192.168.175.100"], "priority = 200");
        let active = Vouchd::start_with(site, Node::Nginx02, Files::without_builtins(site, Node::Nginx02)?, &other)?;
        active.wait_state("web", "active", PATIENCE)?;
        host.sh("ip address add 192.168.175.100/24 dev ens33")?;
        let vouchd = start(site, &instance("web", 7, &["192.168.175.100"], ""))?;
        vouchd.wait_state("web", "backup", PATIENCE)?;
        let reported = |prefix: u8| {
            format!("192.168.175.100/{prefix} is on ens33 and not vouchd's: this host answers for it while a backup")
        };
        until("the copy in status", PATIENCE, || {
            address(&vouchd, "web", 0)["copies"][0]["address"] == "192.168.175.100/24"
        })?;
        // Another one, added later.
        host.sh("ip address add 192.168.175.100/32 dev ens33")?;
        until("the other copy", PATIENCE, || {
            address(&vouchd, "web", 0)["copies"].as_array().is_some_and(|it| it.len() == 2)
        })?;
        for command in ["status", "explain"] {
            let (_, text) = said(site, &format!("{command} --control {}", control(&vouchd)))?;
            ensure!(text.contains(&reported(24)) && text.contains(&reported(32)), "{command}: {text}");
        }
        until("the log", PATIENCE, || {
            vouchd.process.log().contains(&reported(24)) && vouchd.process.log().contains(&reported(32))
        })?;
        let (code, text) = said(site, &format!("config check {}", vouchd.files.config().display()))?;
        ensure!(code == 0 && text.contains("warning") && text.contains(&reported(24)), "{code}: {text}");
        // The router becomes active, uses the copy in the same form, and does not touch it.
        drop(active);
        vouchd.wait_state("web", "active", PATIENCE)?;
        until("the host's address in use", PATIENCE, || address(&vouchd, "web", 0)["host"] == true)?;
        wait_exactly(host, &["192.168.175.100/24", "192.168.175.100/32"])?;
        ensure!(permanent(host)?.contains(&form(index(host, "ens33")?, "192.168.175.100/32")), "it got a lease");
        let (_, page) = said(site, &format!("status --control {}", control(&vouchd)))?;
        ensure!(page.contains("+ on the interface, not added by vouchd"), "{page}");
        // A copy that is added now is reported as one of an active router.
        host.sh("ip address add 192.168.175.100/25 dev ens33")?;
        until("the log of the active router", PATIENCE, || {
            let log = vouchd.process.log();
            log.contains("192.168.175.100/25 is on ens33 and not vouchd's: it stays when vouchd gives the address up")
        })?;
        ensure!(!vouchd.process.log().contains(&reported(25)), "{}", vouchd.process.log());
        host.sh("ip address del 192.168.175.100/25 dev ens33")?;
        // Nobody listens there, but a refused connection needs the address too.
        let reach = "curl -s -m 1 http://192.168.175.100/; ip neigh show 192.168.175.100";
        until("the client to reach it", PATIENCE, || {
            site.host(Node::Client).sh(reach).is_ok_and(|line| line.contains("lladdr"))
        })?;
        ensure!(vouchd.stop()?.success());
        wait_exactly(host, &["192.168.175.100/24", "192.168.175.100/32"])?;
        Ok(())
    });
}

#[test]
fn adopted_copy_goes_while_inactive_and_is_vouchds_while_active() {
    system_test("adopt = true", &[Need::Vouchd], |site| {
        let (host, other) = (site.host(NODE), instance("web", 7, &["192.168.175.100"], "priority = 200"));
        let active = Vouchd::start_with(site, Node::Nginx02, Files::without_builtins(site, Node::Nginx02)?, &other)?;
        active.wait_state("web", "active", PATIENCE)?;
        host.sh("ip address add 192.168.175.100/24 dev ens33")?;
        let vouchd = start(site, &instance("web", 7, &["192.168.175.100"], "adopt = true"))?;
        vouchd.wait_state("web", "backup", PATIENCE)?;
        wait_exactly(host, &[])?;
        host.sh("ip address add 192.168.175.100/32 dev ens33")?;
        wait_exactly(host, &[])?;
        drop(active);
        vouchd.wait_state("web", "active", PATIENCE)?;
        wait_exactly(host, &["192.168.175.100/32"])?;
        host.sh("ip address replace 192.168.175.100/32 dev ens33; ip address add 192.168.175.100/24 dev ens33")?;
        wait_exactly(host, &["192.168.175.100/32"])?;
        until("a lease", PATIENCE, || permanent(host).is_ok_and(|it| it.iter().all(|form| form.prefix != 32)))?;
        ensure!(vouchd.stop()?.success());
        wait_exactly(host, &[])
    });
}

#[test]
fn hosts_secondary_address_survives_stop_fault_kill_and_reload() {
    system_test("promote_secondaries = 0", &[Need::Vouchd], |site| {
        let host = site.host(NODE);
        // With another address the interface is never without one.
        host.sh("echo 0 > /proc/sys/net/ipv4/conf/all/promote_secondaries; ip address add 10.9.0.1/24 dev ens33")?;
        let vip = "192.168.175.100/24";
        let text = instance("web", 7, &[vip], "");
        let files = Files::without_builtins(site, NODE)?;
        files.write_config(NODE.name(), &text)?;
        host.sh("echo 0 > /proc/sys/net/ipv4/conf/ens33/promote_secondaries")?;
        let (code, told) = said(site, &format!("config check {}", files.config().display()))?;
        ensure!(code == 0 && told.contains("net.ipv4.conf.ens33.promote_secondaries is 0"), "{code}: {told}");
        for end in ["stop", "kill", "reload", "fault"] {
            host.sh("echo 0 > /proc/sys/net/ipv4/conf/ens33/promote_secondaries")?;
            let mut vouchd = start(site, &text)?;
            vouchd.wait_state("web", "active", PATIENCE)?;
            wait_exactly(host, &[vip, "10.9.0.1/24"])?;
            let shown = vouchd.status()?["interfaces"][0]["promote_secondaries"].to_string();
            ensure!(shown.contains("was 0, set to 1"), "{shown}");
            // As after a change of the netmask and back: the virtual address is the primary one now.
            host.sh(&format!("ip address del {OWN}/24 dev ens33 && ip address add {OWN}/24 dev ens33"))?;
            until("the host's address to be secondary", PATIENCE, || {
                host.sh("ip -4 address show dev ens33")
                    .is_ok_and(|all| all.contains(&format!("{OWN}/24 scope global secondary")))
            })?;
            until("active", PATIENCE, || vouchd.instance("web").is_ok_and(|it| it["state"] == "active"))?;
            let (watch, before) = (AddressWatch::start(host)?, forms(host)?);
            match end {
                "stop" => {
                    vouchd.process.signal(Signal::SIGTERM);
                    ensure!(vouchd.process.wait(Duration::from_secs(5))?.success());
                }
                "kill" => vouchd.process.signal_all(Signal::SIGKILL),
                "reload" => reload(&vouchd, &instance("web", 7, &["192.168.175.99"], ""))?,
                _ => {
                    host.sh("ip link set ens33 down")?;
                    until("initialize", PATIENCE, || {
                        vouchd.instance("web").is_ok_and(|it| it["state"] == "initialize")
                    })?;
                }
            }
            until("the virtual address to go", PATIENCE, || !has(host, "ens33", vip))?;
            ensure!(has(host, "ens33", "192.168.175.101/24"), "{end}: the host lost its address: {:?}", forms(host));
            let off = watch.went_off(0, &before);
            ensure!(!off.iter().any(|(_, address)| address.to_string() == OWN), "{end}: {off:?}");
            drop(vouchd);
            host.sh("ip link set ens33 up")?;
            until("no address to be left", PATIENCE, || !has(host, "ens33", "192.168.175.99"))?;
        }
        Ok(())
    });
}
