//! Attributes of addresses, extra addresses, and addresses on other interfaces.

use std::time::{Duration, Instant};

use anyhow::ensure;
use nix::sys::signal::Signal;
use vouchd_tests::vouchd::{Files, Vouchd};
use vouchd_tests::wait::until;
use vouchd_tests::{Need, Node, Site, VIP, system_test};

const PATIENCE: Duration = Duration::from_secs(15);

fn config(priority: u8, addresses: &str) -> String {
    format!(
        "[instance.web]\ninterface = \"ens33\"\nvirtual_router_id = 55\nversion = 3\nadvert_interval = \"100ms\"\n\
         priority = {priority}\n{addresses}\n"
    )
}

fn start(site: &Site, node: Node, priority: u8, addresses: &str) -> anyhow::Result<Vouchd> {
    Vouchd::start_with(site, node, Files::without_builtins(site, node)?, &config(priority, addresses))
}

/// What `ip` shows of an address, or nothing.
fn shown(site: &Site, node: Node, interface: &str, local: &str) -> String {
    let all = site.host(node).sh(&format!("ip -j address show dev {interface}")).unwrap_or_default();
    let list = all.split("\"addr_info\":[").nth(1).unwrap_or_default();
    let found = list.split("},{").find(|one| one.contains(&format!("\"local\":\"{local}\"")));
    found.unwrap_or_default().to_owned()
}

#[test]
fn addresses_have_their_attributes_and_extra_ones_move_with_the_others() {
    system_test("labels, broadcast, other interfaces, extra addresses of both families", &[Need::Vouchd], |site| {
        for node in Node::ROUTERS {
            site.host(node)
                .sh("ip link add inside type veth peer name wire; ip link set wire up; ip link set inside up")?;
        }
        let addresses = format!(
            "addresses = [{{ address = \"{VIP}/24\", label = \"ens33:web\", broadcast = \"192.168.175.255\" }}]\n\
             extra_addresses = [\"192.168.175.200\", {{ address = \"10.9.0.1/24\", interface = \"inside\" }}, \
             \"2001:db8::5/64\"]"
        );
        let first = start(site, Node::Nginx01, 150, &addresses)?;
        let second = start(site, Node::Nginx02, 100, &addresses)?;
        first.wait_state("web", "active", PATIENCE)?;
        let all = [
            ("ens33", "192.168.175.100"),
            ("ens33", "192.168.175.200"),
            ("inside", "10.9.0.1"),
            ("ens33", "2001:db8::5"),
        ];
        let has = |node| all.map(|(interface, local)| !shown(site, node, interface, local).is_empty());
        until("all on the first", PATIENCE, || has(Node::Nginx01) == [true; 4])?;
        let vip = shown(site, Node::Nginx01, "ens33", "192.168.175.100");
        ensure!(vip.contains("\"label\":\"ens33:web\"") && vip.contains("\"broadcast\":\"192.168.175.255\""), "{vip}");
        for (interface, local) in all {
            let one = shown(site, Node::Nginx01, interface, local);
            ensure!(!one.contains("\"valid_life_time\":4294967295"), "{local} is leased: {one}");
        }
        ensure!(has(Node::Nginx02) == [false; 4], "the backup has none");
        // The advertisements name the first only, so a router without the extra ones agrees.
        let instance = second.instance("web")?;
        let discarded = &instance["advertisements"]["discarded"];
        ensure!(discarded.as_object().is_none_or(|reasons| reasons.is_empty()), "{discarded}");
        let status = first.instance("web")?;
        ensure!(status["addresses"][1]["extra"] == true && status["addresses"][2]["interface"] == "inside", "{status}");

        first.process.signal_all(Signal::SIGKILL);
        until("all on the second", PATIENCE, || has(Node::Nginx02) == [true; 4])?;
        until("the leases on the first to end", PATIENCE, || has(Node::Nginx01) == [false; 4])
    });
}

#[test]
fn missing_interface_of_an_address_does_not_keep_the_instance_from_serving() {
    system_test("an address on an interface that comes later", &[Need::Vouchd], |site| {
        let addresses = format!(
            "addresses = [\"{VIP}\"]\nextra_addresses = [{{ address = \"10.9.0.1/24\", interface = \"inside\" }}]"
        );
        let vouchd = start(site, Node::Nginx01, 150, &addresses)?;
        vouchd.wait_state("web", "active", PATIENCE)?;
        until("the error", PATIENCE, || {
            let error = |it: serde_json::Value| it["addresses"][1]["error"].as_str().unwrap_or_default().to_owned();
            vouchd.instance("web").is_ok_and(|it| error(it).contains("inside does not exist"))
        })?;
        let shown_status = vouchd.command(&["status"])?;
        ensure!(shown_status.code == Some(1), "{}", shown_status.page());
        site.host(Node::Nginx01).sh("ip link add inside type veth peer name wire; ip link set inside up")?;
        until("the address", PATIENCE, || !shown(site, Node::Nginx01, "inside", "10.9.0.1").is_empty())?;
        ensure!(vouchd.instance("web")?["state"] == "active", "it stayed active");
        Ok(())
    });
}

#[test]
fn reload_that_changes_a_label_touches_no_other_address() {
    system_test("a reload changes the label of one address", &[Need::Vouchd], |site| {
        let with = |label: &str| {
            format!("addresses = [\"{VIP}\", {{ address = \"192.168.175.210/32\", label = \"ens33:{label}\" }}]")
        };
        let vouchd = start(site, Node::Nginx01, 150, &with("a"))?;
        let label = || shown(site, Node::Nginx01, "ens33", "192.168.175.210");
        until("the first label", PATIENCE, || label().contains("ens33:a"))?;
        let since = vouchd.instance("web")?["since"].clone();
        let start = Instant::now();
        vouchd.files.write_config(Node::Nginx01.name(), &config(150, &with("b")))?;
        vouchd.process.signal(Signal::SIGHUP);
        until("the second label", PATIENCE, || label().contains("ens33:b"))?;
        ensure!(vouchd.instance("web")?["since"] == since, "it stayed active");
        ensure!(site.holders().lost(Node::Nginx01, VIP, start).is_none(), "the other address stayed");
        ensure!(site.holders().now(VIP) == [Node::Nginx01], "the router kept the address");
        Ok(())
    });
}
