//! Addresses that the configuration, the host or the interface changes while vouchd runs.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::ensure;
use vouchd_tests::addresses::{AddressWatch, forms};
use vouchd_tests::wait::until;
use vouchd_tests::{Need, system_test};

use super::{NODE, PATIENCE, address, control, has, instance, reload, said, start, wait_exactly};

#[test]
fn reload_touches_only_the_difference_and_puts_back_at_once_what_somebody_deletes() {
    system_test("reloads, at an interval of 10 s", &[Need::Vouchd], |site| {
        let host = site.host(NODE);
        let slow = |name: &str, vrid: u8, addresses: &[&str]| {
            instance(name, vrid, addresses, "priority = 255").replace("100ms", "10s")
        };
        let [first, second, third] = ["192.168.175.100", "192.168.175.99", "192.168.175.98"];
        let vouchd = start(site, &(slow("web", 7, &[first, second, third]) + &slow("dns", 8, &["192.168.175.97"])))?;
        wait_exactly(host, &[first, second, third, "192.168.175.97"])?;
        let (watch, before) = (AddressWatch::start(host)?, forms(host)?);
        // The first gets another prefix, the second moves to the other instance, the third is removed.
        reload(&vouchd, &(slow("web", 7, &["192.168.175.100/24"]) + &slow("dns", 8, &["192.168.175.97", second])))?;
        wait_exactly(host, &["192.168.175.100/24", second, "192.168.175.97"])?;
        let off: Vec<_> = watch.went_off(0, &before).into_iter().map(|(_, address)| address.to_string()).collect();
        ensure!(off == [third], "{off:?}");
        until("status", PATIENCE, || {
            let held = |name, position| address(&vouchd, name, position)["installed"] == true;
            held("web", 0) && held("dns", 0) && held("dns", 1)
        })?;
        // Each is deleted in turn, in the middle of an interval.
        for (text, cut) in [("192.168.175.100/24", "192.168.175.100"), ("192.168.175.99/32", second)] {
            let deleted = Instant::now();
            host.sh(&format!("ip address del {text} dev ens33"))?;
            until("the address to be back", Duration::from_secs(3), || has(host, "ens33", text))?;
            let took = deleted.elapsed();
            println!("{text} back after {took:?}");
            ensure!(took < Duration::from_secs(2), "{took:?}");
            until("the log", PATIENCE, || {
                vouchd.process.log().contains(&format!("{text} on ens33 is back, and announced"))
            })?;
            ensure!(!vouchd.process.log().contains(&format!("gave up {cut}")), "{}", vouchd.process.log());
        }
        // Another name for the same virtual router removes no address.
        let (count, before) = (watch.count(), forms(host)?);
        reload(&vouchd, &(slow("site", 7, &["192.168.175.100/24"]) + &slow("names", 8, &["192.168.175.97", second])))?;
        until("the new names", PATIENCE, || address(&vouchd, "names", 1)["installed"] == true)?;
        ensure!(watch.went_off(count, &before).is_empty());
        ensure!(vouchd.stop()?.success());
        wait_exactly(host, &[])
    });
}

#[test]
fn prefix_change_leaves_nothing_behind_without_leases() {
    system_test("another prefix with lease = off", &[Need::Vouchd], |site| {
        let host = site.host(NODE);
        let text = |address: &str| instance("web", 7, &[address], "lease = \"off\"");
        let vouchd = start(site, &text("192.168.175.100"))?;
        wait_exactly(host, &["192.168.175.100/32"])?;
        for form in ["192.168.175.100/24", "192.168.175.100/25", "192.168.175.100/32"] {
            let (watch, before) = (AddressWatch::start(host)?, forms(host)?);
            reload(&vouchd, &text(form))?;
            wait_exactly(host, &[form])?;
            ensure!(watch.went_off(0, &before).is_empty(), "{form}");
        }
        ensure!(vouchd.stop()?.success());
        wait_exactly(host, &[])
    });
}

#[test]
fn interface_that_is_renamed_recreated_or_unconfigured_keeps_no_address() {
    system_test("interfaces that change", &[Need::Vouchd], |site| {
        let host = site.host(NODE);
        let make = |name: &str| {
            host.sh(&format!(
                "ip link add {name} type veth peer name {name}p && ip link set {name} up && ip link set {name}p up && \
                 ip address add 10.9.0.1/24 dev {name}"
            ))
        };
        make("lan0")?;
        for lease in ["off", "auto"] {
            let text = |interface: &str| {
                instance("web", 7, &["10.9.0.100"], &format!("lease = \"{lease}\"")).replace("ens33", interface)
            };
            let vouchd = start(site, &text("lan0"))?;
            vouchd.wait_state("web", "active", PATIENCE)?;
            until("the address", PATIENCE, || has(host, "lan0", "10.9.0.100"))?;
            host.sh("ip link set lan0 down && ip link set lan0 name lan9 && ip link set lan9 up")?;
            until("no address on the renamed interface", PATIENCE, || {
                has(host, "lan9", "10.9.0.1/24") && !has(host, "lan9", "10.9.0.100")
            })?;
            host.sh("ip link set lan9 down && ip link set lan9 name lan0 && ip link set lan0 up")?;
            until("the address again", PATIENCE, || has(host, "lan0", "10.9.0.100"))?;
            host.sh("ip link delete lan0")?;
            make("lan0")?;
            until("the address on the new interface", PATIENCE, || has(host, "lan0", "10.9.0.100"))?;
            // Into another network namespace and back.
            host.sh("ip netns add elsewhere && ip link set lan0 netns elsewhere")?;
            vouchd.wait_state("web", "initialize", PATIENCE)?;
            host.sh(
                "ip -n elsewhere link set lan0 netns 1 && ip link set lan0 up && ip address add 10.9.0.1/24 dev lan0",
            )?;
            host.sh("ip netns del elsewhere")?;
            until("the address on the interface that came back", PATIENCE, || has(host, "lan0", "10.9.0.100"))?;
            // The configuration moves to another interface.
            reload(&vouchd, &text("ens33"))?;
            until("no address on the old interface", PATIENCE, || !has(host, "lan0", "10.9.0.100"))?;
            until("the address on the new interface", PATIENCE, || has(host, "ens33", "10.9.0.100"))?;
            ensure!(vouchd.stop()?.success());
            wait_exactly(host, &[])?;
        }
        Ok(())
    });
}

#[test]
fn healed_address_error_is_no_longer_shown() {
    system_test("an error that heals", &[Need::Vouchd], |site| {
        let host = site.host(NODE);
        // The kernel rejects an address whose scope differs from that of another address of the subnet.
        host.sh("ip address add 10.9.0.1/24 scope link dev ens33")?;
        let vouchd = start(site, &instance("web", 7, &["192.168.175.100", "10.9.0.100/24"], ""))?;
        until("the error", PATIENCE, || address(&vouchd, "web", 1)["error"].is_string())?;
        ensure!(address(&vouchd, "web", 0)["error"].is_null());
        host.sh("ip address del 10.9.0.1/24 dev ens33")?;
        until("the error to heal", Duration::from_secs(30), || {
            (0..2).all(|at| {
                address(&vouchd, "web", at)["error"].is_null() && address(&vouchd, "web", at)["installed"] == true
            })
        })?;
        let (_, page) = said(site, &format!("status --control {}", control(&vouchd)))?;
        ensure!(!page.contains("FAILED"), "{page}");
        Ok(())
    });
}

#[test]
fn hundred_addresses_at_10_ms_are_renewed_four_times_a_second_at_most() {
    system_test("renewals at 10 ms", &[Need::Vouchd], |site| {
        let host = site.host(NODE);
        let addresses: Vec<_> = (0..100).map(|last| Ipv4Addr::new(10, 9, 0, last + 1).to_string()).collect();
        let addresses: Vec<_> = addresses.iter().map(String::as_str).collect();
        let vouchd = start(site, &instance("web", 7, &addresses, "").replace("100ms", "10ms"))?;
        vouchd.wait_state("web", "active", PATIENCE)?;
        until("all addresses", PATIENCE, || forms(host).is_ok_and(|forms| forms.len() >= 101))?;
        let watch = AddressWatch::start(host)?;
        // The period that is measured.
        let start = Instant::now();
        std::thread::sleep(Duration::from_secs(3));
        let (seconds, seen) = (start.elapsed().as_secs_f64(), watch.count());
        println!("{seen} renewals in {seconds:.1} s");
        ensure!(seen as f64 <= 400.0 * (seconds + 0.5), "{seen} in {seconds} s");
        ensure!(seen >= 100, "only {seen} renewals");
        ensure!(forms(host)?.len() >= 101);
        let output = vouchd.command(&["status", "--json"])?;
        ensure!(output.code == Some(0), "{output:?}");
        Ok(())
    });
}
