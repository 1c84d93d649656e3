//! vouchd puts its addresses where they belong, knows which ones are its own, and never touches those that are not.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::ensure;
use nix::sys::signal::Signal;
use serde_json::Value;
use vouchd_tests::addresses::{AddressWatch, Form, forms, index, permanent};
use vouchd_tests::host::Host;
use vouchd_tests::vouchd::{Files, Vouchd, binary};
use vouchd_tests::wait::until;
use vouchd_tests::{Need, Node, Site, system_test};

const NODE: Node = Node::Nginx01;
/// Of the node itself, on the interface of every host.
const OWN: &str = "192.168.175.101";
const PATIENCE: Duration = Duration::from_secs(10);

fn instance(name: &str, vrid: u8, addresses: &[&str], more: &str) -> String {
    format!(
        "[instance.{name}]\ninterface = \"ens33\"\nvirtual_router_id = {vrid}\nversion = 3\nadvert_interval = \"100ms\"\n\
         addresses = {addresses:?}\n{more}\n"
    )
}

fn start(site: &Site, rest: &str) -> anyhow::Result<Vouchd> {
    Vouchd::start_with(site, NODE, Files::without_builtins(site, NODE)?, rest)
}

fn reload(vouchd: &Vouchd, rest: &str) -> anyhow::Result<()> {
    vouchd.files.write_config(NODE.name(), rest)?;
    vouchd.process.signal(Signal::SIGHUP);
    Ok(())
}

/// `192.168.175.100/24` on an interface.
fn form(index: u32, text: &str) -> Form {
    let (address, prefix) = text.split_once('/').unwrap_or((text, "32"));
    Form { index, address: address.parse().expect("an address"), prefix: prefix.parse().expect("a prefix length") }
}

fn has(host: &Host, interface: &str, text: &str) -> bool {
    index(host, interface).is_ok_and(|index| forms(host).is_ok_and(|forms| forms.contains(&form(index, text))))
}

/// Waits until the interface of every host has exactly these addresses beside the node's own.
fn wait_exactly(host: &Host, wanted: &[&str]) -> anyhow::Result<()> {
    let index = index(host, "ens33")?;
    let wanted: BTreeSet<_> =
        wanted.iter().copied().chain(["192.168.175.101/24"]).map(|text| form(index, text)).collect();
    let now =
        || -> BTreeSet<Form> { forms(host).unwrap_or_default().into_iter().filter(|it| it.index == index).collect() };
    until(&format!("{wanted:?}"), PATIENCE, || now() == wanted)
        .map_err(|error| error.context(format!("there is {:?}", now())))
}

fn address(vouchd: &Vouchd, name: &str, position: usize) -> Value {
    vouchd.instance(name).map(|instance| instance["addresses"][position].clone()).unwrap_or_default()
}

/// What a command says, on this host.
fn said(site: &Site, arguments: &str) -> anyhow::Result<(i32, String)> {
    let text = site.host(NODE).sh(&format!("{} {arguments} 2>&1; echo \"exit $?\"", binary().display()))?;
    let (text, code) = text.trim_end().rsplit_once("exit ").unwrap_or_default();
    Ok((code.parse()?, text.split_whitespace().collect::<Vec<_>>().join(" ")))
}

fn control(vouchd: &Vouchd) -> String {
    vouchd.files.control().display().to_string()
}

#[test]
fn hosts_own_address_is_refused_below_255_and_never_touched() {
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
            // Longer than it would take to become active.
            std::thread::sleep(Duration::from_millis(800));
            ensure!(vouchd.instance("web")?["state"] == "initialize");
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
        let told = |prefix: u8| {
            format!("192.168.175.100/{prefix} is on ens33 and not vouchd's: this host answers for it while a backup")
        };
        until("the copy in status", PATIENCE, || {
            address(&vouchd, "web", 0)["copies"][0]["address"] == "192.168.175.100/24"
        })?;
        // One more, added later.
        host.sh("ip address add 192.168.175.100/32 dev ens33")?;
        until("the other copy", PATIENCE, || {
            address(&vouchd, "web", 0)["copies"].as_array().is_some_and(|it| it.len() == 2)
        })?;
        for command in ["status", "explain"] {
            let (_, text) = said(site, &format!("{command} --control {}", control(&vouchd)))?;
            ensure!(text.contains(&told(24)) && text.contains(&told(32)), "{command}: {text}");
        }
        until("the log", PATIENCE, || {
            vouchd.process.log().contains(&told(24)) && vouchd.process.log().contains(&told(32))
        })?;
        let (code, text) = said(site, &format!("config check {}", vouchd.files.config().display()))?;
        ensure!(code == 0 && text.contains("warning") && text.contains(&told(24)), "{code}: {text}");
        // It becomes active, serves by the copy in the same form, and leaves it.
        drop(active);
        vouchd.wait_state("web", "active", PATIENCE)?;
        until("the host's address in use", PATIENCE, || address(&vouchd, "web", 0)["host"] == true)?;
        wait_exactly(host, &["192.168.175.100/24", "192.168.175.100/32"])?;
        ensure!(permanent(host)?.contains(&form(index(host, "ens33")?, "192.168.175.100/32")), "it got a lease");
        let (_, page) = said(site, &format!("status --control {}", control(&vouchd)))?;
        ensure!(page.contains("+ on the interface anyway, not put there by vouchd"), "{page}");
        // A copy that comes now is called what it is for an active router.
        host.sh("ip address add 192.168.175.100/25 dev ens33")?;
        until("the log of the active router", PATIENCE, || {
            let log = vouchd.process.log();
            log.contains("192.168.175.100/25 is on ens33 and not vouchd's: it stays when vouchd gives the address up")
        })?;
        ensure!(!vouchd.process.log().contains(&told(25)), "{}", vouchd.process.log());
        host.sh("ip address del 192.168.175.100/25 dev ens33")?;
        // Nothing listens there; that the connection is refused needs the address all the same.
        let reach = "curl -s -m 1 http://192.168.175.100/; ip neigh show 192.168.175.100";
        until("the client reaches it", PATIENCE, || {
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
        // One goes, one gets another prefix, one moves.
        reload(&vouchd, &(slow("web", 7, &["192.168.175.100/24"]) + &slow("dns", 8, &["192.168.175.97", second])))?;
        wait_exactly(host, &["192.168.175.100/24", second, "192.168.175.97"])?;
        let off: Vec<_> = watch.went_off(0, &before).into_iter().map(|(_, address)| address.to_string()).collect();
        ensure!(off == [third], "{off:?}");
        until("status", PATIENCE, || {
            let held = |name, position| address(&vouchd, name, position)["installed"] == true;
            held("web", 0) && held("dns", 0) && held("dns", 1)
        })?;
        // Each in turn, in the middle of an interval.
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
        // Another name for the same virtual router is no reason to give anything up.
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
fn interface_that_is_renamed_recreated_or_used_no_more_keeps_nothing() {
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
            until("nothing on the renamed interface", PATIENCE, || {
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
            // The configuration moves on to another interface.
            reload(&vouchd, &text("ens33"))?;
            until("nothing on the one before", PATIENCE, || !has(host, "lan0", "10.9.0.100"))?;
            until("the address on the new one", PATIENCE, || has(host, "ens33", "10.9.0.100"))?;
            ensure!(vouchd.stop()?.success());
            wait_exactly(host, &[])?;
        }
        Ok(())
    });
}

#[test]
fn hosts_secondary_address_survives_stop_fault_kill_and_reload() {
    system_test("promote_secondaries = 0", &[Need::Vouchd], |site| {
        let host = site.host(NODE);
        // The interface is never without an address.
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
            // A change of the netmask and back: the virtual address is the primary one now.
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
            until("nothing left", PATIENCE, || !has(host, "ens33", "192.168.175.99"))?;
        }
        Ok(())
    });
}

#[test]
fn address_error_that_healed_is_not_shown_any_more() {
    system_test("an error that heals", &[Need::Vouchd], |site| {
        let host = site.host(NODE);
        // The kernel refuses an address whose scope is not that of its subnet's others.
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
        let start = Instant::now();
        std::thread::sleep(Duration::from_secs(3));
        let (seconds, seen) = (start.elapsed().as_secs_f64(), watch.count());
        println!("{seen} renewals in {seconds:.1} s");
        ensure!(seen as f64 <= 400.0 * (seconds + 0.5), "{seen} in {seconds} s");
        ensure!(seen >= 100, "they are renewed: {seen}");
        ensure!(forms(host)?.len() >= 101);
        let output =
            Command::new(binary()).args(["status", "--json", "--control"]).arg(vouchd.files.control()).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        Ok(())
    });
}
