//! Links that lose and delay packets.

use std::time::Duration;

use anyhow::ensure;
use vouchd_tests::Node;
use vouchd_tests::site::{INTERFACE, Site};
use vouchd_tests::wait::{holds, until};

use super::{INSTANCE, WITHIN, guest_test, start, wait_active};

fn netem(site: &Site, node: Node, rule: &str) -> anyhow::Result<()> {
    site.host(node).sh(&format!("tc qdisc replace dev {INTERFACE} root netem {rule}")).map(drop)
}

#[test]
fn delayed_and_lost_advertisements_move_nothing_and_a_cut_direction_is_healed() {
    guest_test("netem", |site| {
        let routers = [start(site, Node::Nginx01, INTERFACE, "")?, start(site, Node::Nginx02, INTERFACE, "")?];
        wait_active(site, &routers, Node::Nginx01, INTERFACE)?;
        let transitions = || -> anyhow::Result<String> {
            let of = |router: &vouchd_tests::vouchd::Vouchd| Ok(router.instance(INSTANCE)?["transitions"].to_string());
            let both: anyhow::Result<Vec<_>> = routers.iter().map(of).collect();
            Ok(both?.join(" "))
        };
        let before = transitions()?;
        for node in Node::ROUTERS {
            netem(site, node, "delay 200ms 100ms loss 3%")?;
        }
        let received = || routers[1].instance(INSTANCE).ok()?["advertisements"]["received"].as_u64();
        let first = received().unwrap_or(0);
        // Time is the rule here: 3 % of loss makes three losses in a row once in ten hours.
        holds("no transition", Duration::from_secs(6), || transitions().is_ok_and(|now| now == before))?;
        ensure!(received() > Some(first), "no advertisement came through");

        // Only what nginx01 sends is lost: nginx02 believes it dead, and steps down as soon as it hears it again.
        netem(site, Node::Nginx01, "loss 100%")?;
        routers[1].wait_state(INSTANCE, "active", WITHIN)?;
        site.host(Node::Nginx01).sh(&format!("tc qdisc del dev {INTERFACE} root"))?;
        until("one active router", WITHIN, || {
            routers[1].instance(INSTANCE).is_ok_and(|instance| instance["state"] == "backup")
        })?;
        wait_active(site, &routers, Node::Nginx01, INTERFACE)
    });
}
