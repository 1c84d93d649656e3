//! Beside keepalived with `use_vmac`, in both roles: both advertise from the same MAC address.

use anyhow::ensure;
use vouchd_tests::keepalived::Keepalived;
use vouchd_tests::wait::until;
use vouchd_tests::{Need, Node, system_test};

use super::{MAC_V4, PATIENCE, V4, connect, entry, instance, start, wait_all};

fn keepalived(priority: u8) -> String {
    format!(
        "global_defs {{\n    router_id nginx02\n}}\nvrrp_instance gw {{\n    state BACKUP\n    interface ens33\n    \
         virtual_router_id 55\n    priority {priority}\n    version 3\n    advert_int 0.1\n    use_vmac\n    \
         virtual_ipaddress {{\n        {V4}/24\n    }}\n}}\n"
    )
}

#[test]
fn row_3_keepalived_with_use_vmac_is_heard_by_an_active_router_and_hears_it() {
    system_test("keepalived with use_vmac", &[Need::Vouchd, Need::Keepalived], |site| {
        let client = site.host(Node::Client);
        let vouchd = start(site, Node::Nginx01, &instance(100, &[V4], "accept = true"))?;
        wait_all(&vouchd, "active")?;
        // As the backup, it hears the active vouchd.
        let lower = Keepalived::start_with(site, Node::Nginx02, &keepalived(80))?;
        std::thread::sleep(std::time::Duration::from_millis(800));
        ensure!(!lower.process.log().contains("MASTER STATE"), "{}", lower.process.log());
        wait_all(&vouchd, "active")?;
        lower.stop()?;
        // With a better priority, it is heard although it sends from the MAC address that is up here.
        let higher = Keepalived::start_with(site, Node::Nginx02, &keepalived(200))?;
        wait_all(&vouchd, "backup")?;
        // Not by which MAC address: keepalived's host may answer ARP with its own one, too.
        until("the client to reach keepalived", PATIENCE, || connect(client, V4) == "refused")?;
        higher.stop()?;
        wait_all(&vouchd, "active")?;
        client.sh("ip neigh flush dev ens33")?;
        until("the client to reach vouchd", PATIENCE, || connect(client, V4) == "refused")?;
        ensure!(entry(client, V4).as_deref() == Some(MAC_V4), "{:?}", entry(client, V4));
        Ok(())
    });
}
