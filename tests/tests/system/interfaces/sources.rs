//! Sources of advertisements on other interfaces, and other multicast groups.

use vouchd_tests::site::INTERFACE;
use vouchd_tests::{Need, Node, system_test};

use super::{NODE, instance, start, wait_for};

#[test]
fn unicast_source_on_loopback_carries_an_election_and_is_missed_when_it_goes() {
    system_test("source on lo", &[Need::Vouchd], |site| {
        for (node, own, other, via) in
            [(Node::Nginx01, 1, 2, Node::Nginx02.address()), (Node::Nginx02, 2, 1, Node::Nginx01.address())]
        {
            site.host(node).sh(&format!(
                "ip address add 198.51.100.{own}/32 dev lo && ip route add 198.51.100.{other}/32 via {via}"
            ))?;
        }
        let unicast =
            |own, other| format!("unicast = {{ source = \"198.51.100.{own}\", peers = [\"198.51.100.{other}\"] }}");
        let better = start(site, Node::Nginx01, &instance(INTERFACE, &unicast(1, 2)))?;
        wait_for(&better, "active", "")?;
        let worse = instance(INTERFACE, &unicast(2, 1)).replace("priority = 100", "priority = 80");
        let worse = start(site, Node::Nginx02, &worse)?;
        wait_for(&worse, "backup", "")?;

        site.host(NODE).sh("ip address del 198.51.100.1/32 dev lo")?;
        wait_for(&better, "initialize", "has the address 198.51.100.1")?;
        wait_for(&worse, "active", "")?;
        site.host(NODE).sh("ip address add 198.51.100.1/32 dev lo")?;
        wait_for(&better, "active", "")?;
        wait_for(&worse, "backup", "")
    });
}

#[test]
fn two_groups_on_one_interface_are_two_virtual_routers() {
    system_test("multicast groups", &[Need::Vouchd], |site| {
        // The same VRID in both groups: the other router has each at another priority.
        let config = |priorities: [u8; 2]| -> String {
            [("web", "239.0.0.18", 100), ("other", "239.0.0.19", 200)]
                .into_iter()
                .zip(priorities)
                .map(|((name, group, last), priority)| {
                    format!(
                        "[instance.{name}]\ninterface = \"{INTERFACE}\"\nvirtual_router_id = 55\nversion = 3\n\
                         advert_interval = \"100ms\"\npriority = {priority}\naddresses = [\"192.168.175.{last}/24\"]\n\
                         multicast = {{ group = \"{group}\" }}\n"
                    )
                })
                .collect()
        };
        let one = start(site, Node::Nginx01, &config([150, 50]))?;
        let two = start(site, Node::Nginx02, &config([100, 100]))?;
        let within = super::PATIENCE;
        one.wait_state("web", "active", within)?;
        two.wait_state("web", "backup", within)?;
        one.wait_state("other", "backup", within)?;
        two.wait_state("other", "active", within)?;
        for vouchd in [&one, &two] {
            for name in ["web", "other"] {
                let advertisements = &vouchd.instance(name)?["advertisements"];
                let discarded = advertisements["discarded"].as_object().is_some_and(|reasons| !reasons.is_empty());
                anyhow::ensure!(!discarded, "{name}: {advertisements}");
            }
        }
        Ok(())
    });
}
