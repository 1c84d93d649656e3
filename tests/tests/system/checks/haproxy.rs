//! The servers of a proxy behind each router decide who gets the address.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::ensure;
use vouchd_tests::pair::VRID;
use vouchd_tests::site::INTERFACE;
use vouchd_tests::vouchd::{Files, Vouchd};
use vouchd_tests::web::Web;
use vouchd_tests::{Need, Node, VIP, system_test};

#[test]
fn proxy_with_fewer_servers_gives_the_address_away() {
    system_test("servers of a backend", &[Need::Vouchd, Need::Haproxy], |site| {
        let _web = [Web::start(site, Node::Web01)?, Web::start(site, Node::Web02)?];
        let start = |node: Node, servers: [Node; 2], priority: u8| {
            let dir = site.dir(&format!("haproxy-{}", node.name()))?;
            let (config, socket) = (dir.join("haproxy.cfg"), dir.join("admin.sock"));
            let [a, b] = servers.map(Node::address);
            fs::write(
                &config,
                format!(
                    "global\n stats socket {} mode 666 level user\ndefaults\n timeout connect 1s\n timeout client 1s\n \
                     timeout server 1s\nbackend web\n server a {a}:80 check inter 100ms\n server b {b}:80 check inter 100ms\n",
                    socket.display()
                ),
            )?;
            let args: [&Path; 3] = [Path::new("-db"), Path::new("-f"), &config];
            let haproxy = site.host(node).daemon("haproxy", Path::new("/usr/sbin/haproxy"), args)?;
            let config = format!(
                "[check.web]\nplugin = \"haproxy\"\nparams = {{ socket = {socket:?}, backend = \"web\", per_down = -30 }}\n\
                 interval = \"200ms\"\nadjust = [-50, 0]\nallow = {{ unix = [{socket:?}] }}\n\n[instance.web]\n\
                 interface = \"{INTERFACE}\"\nvirtual_router_id = {VRID}\npriority = {priority}\n\
                 addresses = [\"{VIP}\"]\nchecks = [\"web\"]\n"
            );
            let files = Files::new(site, node)?;
            anyhow::Ok((haproxy, Vouchd::start_with(site, node, files, &config)?))
        };
        // Nobody listens where the second server of the better router should be.
        let (_first, better) = start(Node::Nginx01, [Node::Web01, Node::Nginx02], 120)?;
        let (_second, _other) = start(Node::Nginx02, [Node::Web01, Node::Web02], 100)?;
        site.holders().wait_for(Node::Nginx02, VIP, Duration::from_secs(15))?;
        let check = better.check("web")?;
        let message = check["message"].as_str().unwrap_or_default();
        ensure!(check["verdict"] == "pass" && message.contains("web has 1 of 2 servers up (b DOWN)"), "{check}");
        let instance = better.instance("web")?;
        ensure!(instance["priority"]["effective"] == 90, "{instance}");
        Ok(())
    });
}
