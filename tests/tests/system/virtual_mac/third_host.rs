//! What a third host sees over failovers.

use std::collections::BTreeSet;

use anyhow::ensure;
use vouchd_tests::claimants::{Claimants, Kind};
use vouchd_tests::{Need, Node, system_test};

use super::{
    LINK_LOCAL, MAC_V4, MAC_V6, PATIENCE, V4, V6, connect, entry, instance, ip, mac, start, wait_all, with_ipv6,
};
use vouchd_tests::wait::until;

/// Rows 3, 60, 61 and 85: what a third host learns.
#[test]
fn third_host_sees_only_the_virtual_mac_over_ten_failovers() {
    system_test("the virtual MAC over ten failovers", &[Need::Vouchd], |site| {
        with_ipv6(site)?;
        let client = site.host(Node::Client);
        let seen = Claimants::start(client)?;
        let addresses = [V4, LINK_LOCAL, V6];
        let macs = [(V4, MAC_V4), (LINK_LOCAL, MAC_V6), (V6, MAC_V6)];
        let text = |priority| instance(priority, &addresses, "accept = true");
        let backup = start(site, Node::Nginx02, &text(90))?;
        for _ in 0..5 {
            let preferred = start(site, Node::Nginx01, &text(100))?;
            wait_all(&preferred, "active")?;
            wait_all(&backup, "backup")?;
            check(client, &macs)?;
            ensure!(preferred.stop()?.success());
            wait_all(&backup, "active")?;
            check(client, &macs)?;
        }
        for (address, expected) in macs {
            let only = BTreeSet::from([mac(expected)]);
            for kind in [if address == V4 { Kind::Arp } else { Kind::Neighbour }, Kind::Frame] {
                ensure!(seen.of(kind, ip(address)) == only, "{kind:?} of {address}: {:?}", seen.of(kind, ip(address)));
            }
        }
        for node in Node::ROUTERS {
            let sources = seen.of(Kind::Advertisement, node.address().into());
            ensure!(sources == BTreeSet::from([mac(MAC_V4)]), "{node:?}: {sources:?}");
            // The node's own address stays at its own MAC address.
            let own = seen.of(Kind::Arp, node.address().into());
            ensure!(own.len() <= 1 && !own.contains(&mac(MAC_V4)), "{node:?}: {own:?}");
        }
        Ok(())
    });
}

/// The client reaches every address, with the entries that it has and with fresh ones.
fn check(client: &vouchd_tests::host::Host, macs: &[(&str, &str)]) -> anyhow::Result<()> {
    for flush in [false, true] {
        if flush {
            client.sh("ip neigh flush dev ens33")?;
        }
        for (address, expected) in macs {
            until(&format!("{address} to answer"), PATIENCE, || connect(client, address) == "refused")?;
            let entry = entry(client, address);
            ensure!(entry.as_deref() == Some(*expected), "{address} is at {entry:?}");
            // The R flag, although these routers forward nothing.
            let shown = client.sh(&format!("ip neigh show {address} dev ens33"))?;
            ensure!(*address == V4 || shown.contains(" router"), "{shown}");
        }
    }
    Ok(())
}
