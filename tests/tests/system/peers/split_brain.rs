//! Two routers that do not understand each other, and what `status` and `explain` report about it.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;
use vouchd_tests::keepalived::Keepalived;
use vouchd_tests::pair::{Plan, Timing};
use vouchd_tests::site::INTERFACE;
use vouchd_tests::vouchd::{Files, Vouchd};
use vouchd_tests::wait::{holds, until};
use vouchd_tests::{Need, Node, Site, VIP, system_test};

const LONG: Duration = Duration::from_secs(20);

/// Two routers. Their instances have the same interface and addresses, and these lines.
struct Case {
    name: &'static str,
    nginx01: &'static str,
    nginx02: &'static str,
    /// What nginx02 reports about nginx01.
    says: &'static [&'static str],
}

const FAST: &str = "virtual_router_id = 55\nversion = 3\nadvert_interval = \"200ms\"\n";

const CASES: [Case; 6] = [
    Case {
        name: "another password",
        nginx01: "virtual_router_id = 55\nversion = 2\nauth = { type = \"pass\", password = \"1234\" }\n",
        nginx02: "virtual_router_id = 55\nversion = 2\nauth = { type = \"pass\", password = \"4321\" }\n",
        says: &["of its advertisements were discarded (auth_password), the last ", "set the same password on both"],
    },
    Case {
        name: "another virtual router id",
        nginx01: "virtual_router_id = 56\nversion = 3\nadvert_interval = \"200ms\"\n",
        nginx02: FAST,
        says: &["for 192.168.175.100, under the virtual router id 56", "set the same virtual_router_id on both"],
    },
    Case {
        name: "another version",
        nginx01: FAST,
        nginx02: "virtual_router_id = 55\nversion = 2\n",
        says: &["(version), the last ", "set the same version on both"],
    },
    Case {
        name: "a peer that is not configured",
        nginx01: "unicast = { source = \"192.168.175.101\", peers = [\"192.168.175.102\"] }\n\
                  virtual_router_id = 55\nversion = 3\nadvert_interval = \"200ms\"\n",
        nginx02: "unicast = { source = \"192.168.175.102\", peers = [\"192.168.175.121\"] }\n\
                  virtual_router_id = 55\nversion = 3\nadvert_interval = \"200ms\"\n",
        says: &["(unknown_peer), the last ", "add it to unicast.peers of this router"],
    },
    Case {
        name: "multicast against unicast",
        nginx01: FAST,
        nginx02: "unicast = { source = \"192.168.175.102\", peers = [\"192.168.175.101\"] }\n\
                  virtual_router_id = 55\nversion = 3\nadvert_interval = \"200ms\"\n",
        says: &["(destination), the last ", "set unicast on both, or on neither"],
    },
    Case {
        name: "another interval of version 2",
        nginx01: "virtual_router_id = 55\nversion = 2\nadvert_interval = \"2s\"\n",
        nginx02: "virtual_router_id = 55\nversion = 2\n",
        says: &["(interval), the last ", "set the same advert_interval on both"],
    },
];

fn start(site: &Site, node: Node, priority: u8, instance: &str) -> anyhow::Result<Vouchd> {
    let files = Files::without_builtins(site, node)?;
    let text = format!(
        "[instance.web]\ninterface = \"{INTERFACE}\"\npriority = {priority}\naddresses = [\"{VIP}\"]\n{instance}"
    );
    Vouchd::start_with(site, node, files, &text)
}

/// Exit status and output, as one line, of a command that asks a daemon.
fn run(vouchd: &Vouchd, arguments: &[&str]) -> anyhow::Result<(Option<i32>, String)> {
    let output = vouchd.command(arguments)?;
    Ok((output.code, output.page()))
}

/// Waits until the reason of the state, `status`, `explain` and the exit status report the claim with these words.
fn wait_for_claim(vouchd: &Vouchd, who: Node, words: &[&str]) -> anyhow::Result<()> {
    let claim = format!("{} also claims to be active", who.address());
    let says_it = |text: &str| text.contains(&claim) && words.iter().all(|part| text.contains(part));
    let reason = || vouchd.instance("web").map(|web| web["reason"].as_str().unwrap_or_default().to_owned());
    until(&format!("{claim}, {words:?}"), LONG, || reason().is_ok_and(|reason| says_it(&reason)))
        .with_context(|| format!("{:?}\n{:?}", reason(), run(vouchd, &["status"])))?;
    let (code, status) = run(vouchd, &["status"])?;
    ensure!(code == Some(2) && says_it(&status), "exit status {code:?}, expected 2: {status}");
    let (code, json) = run(vouchd, &["status", "--json"])?;
    let json: Value = serde_json::from_str(&json)?;
    ensure!(code == Some(2) && json["level"] == "fault", "exit status {code:?}, expected 2: {json}");
    let peers = json["instances"][0]["peers"].as_array().context("no peers")?;
    let address = who.address().to_string();
    let peer = peers.iter().find(|peer| peer["address"] == *address).context("not among the peers")?;
    ensure!(peer["claim"].as_str().is_some_and(says_it), "{peer}");
    let (_, explained) = run(vouchd, &["explain"])?;
    ensure!(says_it(&explained), "{explained}");
    Ok(())
}

/// Waits until `status` reports as a fault that the other router answers for the address.
fn wait_for_arp(site: &Site, vouchd: &Vouchd, who: Node) -> anyhow::Result<()> {
    let mac = site.mac(who)?;
    let reason = format!("no active router was heard on {INTERFACE}, but {mac} answers for {VIP}");
    until("the other router's ARP to be a fault", LONG, || {
        run(vouchd, &["status"]).is_ok_and(|(code, page)| {
            code == Some(2) && page.contains(&reason) && page.contains("too (arp_conflict), heard")
        })
    })
    .with_context(|| format!("{:?}", run(vouchd, &["status"])))
}

/// The fault stays for so long that the other router falls silent meanwhile.
fn stays_a_fault(vouchd: &Vouchd) -> anyhow::Result<()> {
    holds("exit status 2", Duration::from_secs(15), || run(vouchd, &["status"]).is_ok_and(|(code, _)| code == Some(2)))
        .with_context(|| format!("{:?}", run(vouchd, &["status"])))
}

/// vouchd, and a keepalived with another password.
fn keepalived_beside(site: &Site) -> anyhow::Result<(Vouchd, Keepalived)> {
    let vouchd = start(site, Node::Nginx01, 100, CASES[0].nginx01)?;
    vouchd.wait_state("web", "active", LONG)?;
    let plan = Plan { priority: 80, check: None, timing: Timing::V2, password: Some("4321"), ..Plan::default() };
    let keepalived = Keepalived::start(site, Node::Nginx02, &plan)?;
    Ok((vouchd, keepalived))
}

#[test]
fn claim_of_a_keepalived_that_discards_and_rarely_sends_stays_a_fault() {
    system_test("keepalived with another password", &[Need::Vouchd, Need::Keepalived], |site| {
        let (vouchd, keepalived) = keepalived_beside(site)?;
        // keepalived may have sent a single advertisement before vouchd's kept it from sending.
        until("a fault with the remedy", LONG, || {
            run(&vouchd, &["status"]).is_ok_and(|(code, page)| {
                code == Some(2)
                    && page.contains("192.168.175.102")
                    && page.contains("discarded (auth_password)")
                    && page.contains("set the same password on both")
            })
        })
        .with_context(|| format!("{:?}", run(&vouchd, &["status"])))?;
        stays_a_fault(&vouchd)?;
        keepalived.stop()?;
        wait_for_no_claim(&vouchd)
    });
}

#[test]
fn arp_of_an_unheard_keepalived_is_a_fault() {
    system_test("keepalived, VRRP dropped in both directions", &[Need::Vouchd, Need::Keepalived], |site| {
        for node in [Node::Nginx01, Node::Nginx02] {
            site.multicast(node, false)?;
        }
        let (vouchd, keepalived) = keepalived_beside(site)?;
        wait_for_arp(site, &vouchd, Node::Nginx02)?;
        stays_a_fault(&vouchd)?;
        ensure!(vouchd.instance("web")?["state"] == "active", "it gave up");
        keepalived.stop()?;
        wait_for_no_claim(&vouchd)
    });
}

#[test]
fn another_cluster_with_the_same_id_is_no_split_brain() {
    system_test("two clusters, one id", &[Need::Vouchd], |site| {
        let first = start(site, Node::Nginx01, 100, CASES[0].nginx01)?;
        let files = Files::without_builtins(site, Node::Nginx02)?;
        let text = format!(
            "[instance.web]\ninterface = \"{INTERFACE}\"\npriority = 80\naddresses = [\"192.168.175.200\"]\n{}",
            CASES[0].nginx02
        );
        let second = Vouchd::start_with(site, Node::Nginx02, files, &text)?;
        for (vouchd, other) in [(&first, Node::Nginx02), (&second, Node::Nginx01)] {
            let claim = format!("{} is active for other addresses under the same virtual router id", other.address());
            until(&claim, LONG, || {
                run(vouchd, &["status"]).is_ok_and(|(code, page)| {
                    code == Some(1)
                        && page.contains(&claim)
                        && page.contains("give one of the two another virtual_router_id")
                        && !page.contains("FAULT")
                })
            })
            .with_context(|| format!("{:?}", run(vouchd, &["status"])))?;
        }
        Ok(())
    });
}

/// Waits until no other router claims to be active. That another machine answered for the address is reported for longer.
fn wait_for_no_claim(vouchd: &Vouchd) -> anyhow::Result<()> {
    until("the end of the claim", LONG, || {
        run(vouchd, &["status"]).is_ok_and(|(code, page)| code != Some(2) && !page.contains("also claims"))
    })
    .with_context(|| format!("{:?}", run(vouchd, &["status"])))
}

fn shows(case: &Case) {
    system_test(case.name, &[Need::Vouchd], |site| {
        let first = start(site, Node::Nginx01, 100, case.nginx01)?;
        let second = start(site, Node::Nginx02, 80, case.nginx02)?;
        for vouchd in [&first, &second] {
            vouchd.wait_state("web", "active", LONG)?;
        }
        wait_for_claim(&second, Node::Nginx01, case.says)?;
        ensure!(second.process.log().contains("192.168.175.101 also claims to be active"), "{}", second.process.log());
        // The other router stops.
        first.stop()?;
        wait_for_no_claim(&second)?;
        second.stop()?;
        Ok(())
    });
}

#[test]
fn different_password_is_reported() {
    shows(&CASES[0]);
}

#[test]
fn different_virtual_router_id_is_reported() {
    shows(&CASES[1]);
}

#[test]
fn different_version_is_reported() {
    shows(&CASES[2]);
}

#[test]
fn missing_unicast_peer_is_reported() {
    shows(&CASES[3]);
}

#[test]
fn multicast_against_unicast_is_reported() {
    shows(&CASES[4]);
}

#[test]
fn different_interval_is_reported() {
    shows(&CASES[5]);
}

#[test]
fn one_way_loss_is_reported_and_ends_when_the_better_router_is_heard() {
    system_test("one-way loss", &[Need::Vouchd], |site| {
        let first = start(site, Node::Nginx01, 100, FAST)?;
        first.wait_state("web", "active", LONG)?;
        site.multicast(Node::Nginx02, false)?;
        let second = start(site, Node::Nginx02, 80, FAST)?;
        second.wait_state("web", "active", LONG)?;
        let words = ["with priority 80", "it does not receive what 192.168.175.101 sends, or discards it"];
        wait_for_claim(&first, Node::Nginx02, &words)?;
        // The other router hears no advertisement, only that another machine answers for the address.
        wait_for_arp(site, &second, Node::Nginx01)?;
        ensure!(first.instance("web")?["state"] == "active", "the better router gave up");

        site.multicast(Node::Nginx02, true)?;
        second.wait_state("web", "backup", LONG)?;
        wait_for_no_claim(&first)?;
        let web = second.instance("web")?;
        let peer = &web["peers"][0];
        ensure!(peer["address"] == "192.168.175.101" && peer["claim"].is_null(), "{web}");
        ensure!(peer["accepted"].as_u64() > Some(0) && peer["last_accepted"].is_string(), "{web}");
        Ok(())
    });
}

#[test]
fn peer_that_was_never_heard_is_shown_and_is_no_fault() {
    system_test("a silent unicast peer", &[Need::Vouchd], |site| {
        let first = start(site, Node::Nginx01, 100, CASES[3].nginx01)?;
        first.wait_state("web", "active", LONG)?;
        until("all to be well", LONG, || run(&first, &["status"]).is_ok_and(|(code, _)| code == Some(0)))?;
        let (_, status) = run(&first, &["status"])?;
        ensure!(status.contains("peer 192.168.175.102: never heard"), "{status}");
        Ok(())
    });
}
