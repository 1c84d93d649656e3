//! vouchd beside keepalived over IPv6.

use anyhow::ensure;
use vouchd_tests::ipv6::{Greeter, VIP_LINK_LOCAL, VIP6};
use vouchd_tests::keepalived::Keepalived;
use vouchd_tests::{Need, Node, Site, system_test};

use super::{PATIENCE, VRID, instance, priority, start};

fn keepalived(node: Node, extra: &str) -> String {
    format!(
        "global_defs {{\n    router_id {}\n}}\nvrrp_instance web {{\n    state BACKUP\n    interface ens33\n    \
         version 3\n    virtual_router_id {VRID}\n    priority {}\n    advert_int 0.1\n{extra}    \
         virtual_ipaddress {{\n        {VIP_LINK_LOCAL}\n        {VIP6}\n    }}\n}}\n",
        node.name(),
        priority(node)
    )
}

fn beside_keepalived(site: &Site, unicast: bool) -> anyhow::Result<()> {
    site.with_ipv6()?;
    let _greeters = [Greeter::start(site, Node::Nginx01)?, Greeter::start(site, Node::Nginx02)?];
    for (ours, theirs) in [(Node::Nginx01, Node::Nginx02), (Node::Nginx02, Node::Nginx01)] {
        let (mut extra, mut their_extra) = (String::new(), String::new());
        if unicast {
            let (own, their) = (site.link_local(ours)?, site.link_local(theirs)?);
            // keepalived's unicast over IPv6 has the kernel's hop limit of 64 by default.
            let (hop_limit, ttl) = if ours == Node::Nginx01 { (255, "    unicast_ttl 255\n") } else { (64, "") };
            extra = format!("unicast = {{ source = \"{own}\", peers = [\"{their}\"], hop_limit = {hop_limit} }}");
            their_extra = format!("{ttl}    unicast_src_ip {their}\n    unicast_peer {{\n        {own}\n    }}\n");
        }
        let vouchd = start(site, ours, &instance(ours, &extra))?;
        let keepalived = Keepalived::start_with(site, theirs, &keepalived(theirs, &their_extra))?;
        // The better one, whichever it is.
        site.wait_ipv6_holder(Node::Nginx01, PATIENCE)?;
        ensure!(site.greeted_by(PATIENCE)? == "nginx01", "vouchd on {}", ours.name());
        let status = vouchd.instance("web")?;
        ensure!(status["advertisements"]["discarded"] == serde_json::json!({}), "{status}");
        // The better one resigns.
        if ours == Node::Nginx01 {
            vouchd.stop()?;
            site.wait_ipv6_holder(Node::Nginx02, PATIENCE)?;
            ensure!(site.greeted_by(PATIENCE)? == "nginx02");
            keepalived.stop()?;
        } else {
            keepalived.stop()?;
            site.wait_ipv6_holder(Node::Nginx02, PATIENCE)?;
            ensure!(site.greeted_by(PATIENCE)? == "nginx02");
            vouchd.stop()?;
        }
        ensure!(Node::ROUTERS.iter().all(|node| !site.holds_ipv6(*node, VIP6)), "both have stopped");
    }
    Ok(())
}

#[test]
fn rows_9_and_27_keepalived_and_vouchd_hand_ipv6_addresses_over_by_multicast() {
    system_test("IPv6 beside keepalived, multicast", &[Need::Vouchd, Need::Keepalived], |site| {
        beside_keepalived(site, false)
    });
}

#[test]
fn row_23_keepalived_and_vouchd_hand_ipv6_addresses_over_by_unicast() {
    system_test("IPv6 beside keepalived, unicast", &[Need::Vouchd, Need::Keepalived], |site| {
        beside_keepalived(site, true)
    });
}
