//! keepalived, the incumbent, configured by the same [`Plan`] as vouchd.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::host::Process;
use crate::pair::{Plan, Probe, Timing, VRID};
use crate::site::{INTERFACE, Node, Site, VIP};
use crate::wait::until;

/// A running keepalived.
#[derive(Debug)]
pub struct Keepalived {
    /// Its process.
    pub process: Process,
}

impl Keepalived {
    /// Starts it and waits until its instance is in a state.
    ///
    /// # Errors
    /// If it ends, or takes longer than 5 s.
    pub fn start(site: &Site, node: Node, plan: &Plan) -> anyhow::Result<Self> {
        Self::start_with(site, node, &config(node, plan))
    }

    /// Starts it with a configuration file of this text.
    ///
    /// # Errors
    /// If it ends, or takes longer than 5 s.
    pub fn start_with(site: &Site, node: Node, config: &str) -> anyhow::Result<Self> {
        let dir = site.dir(&format!("keepalived-{}", node.name()))?;
        let file = dir.join("keepalived.conf");
        fs::write(&file, config)?;
        let (pid, vrrp) = (dir.join("main.pid"), dir.join("vrrp.pid"));
        for leftover in [&pid, &vrrp] {
            // Left by one that was killed: keepalived would take another process of that number for itself.
            let _ = fs::remove_file(leftover);
        }
        let args: [&Path; 7] =
            [Path::new("-nlDP"), Path::new("-f"), &file, Path::new("-p"), &pid, Path::new("-r"), &vrrp];
        let mut process = site.host(node).daemon("keepalived", Path::new("/usr/sbin/keepalived"), args)?;
        until(&format!("keepalived on {} to enter a state", node.name()), Duration::from_secs(5), || {
            !process.is_running() || process.log().contains(" STATE")
        })?;
        anyhow::ensure!(process.is_running(), "keepalived ended: {}", process.log());
        Ok(Self { process })
    }

    /// Stops it as `systemctl stop keepalived` does.
    ///
    /// # Errors
    /// If it does not end within 5 s.
    pub fn stop(mut self) -> anyhow::Result<ExitStatus> {
        self.process.signal(Signal::SIGTERM);
        self.process.wait(Duration::from_secs(5))
    }
}

/// The plan as a keepalived configuration.
pub fn config(node: Node, plan: &Plan) -> String {
    let mut text = format!("global_defs {{\n    router_id {}\n    script_user root\n}}\n", node.name());
    if let Some(check) = &plan.check {
        let script = match check.probe {
            Probe::Process => "/usr/bin/killall -0 nginx",
            Probe::Http => "/usr/bin/curl -sf -o /dev/null -m 1 http://127.0.0.1/",
        };
        // Its unit is the second.
        let interval = check.interval.as_secs().max(1);
        let _ = write!(
            text,
            "vrrp_script check_nginx {{\n    script \"{script}\"\n    interval {interval}\n    \
             rise {}\n    fall {}\n",
            check.rise, check.fall
        );
        if let Some(weight) = check.weight {
            let _ = writeln!(text, "    weight {weight}");
        }
        text.push_str("}\n");
    }
    let _ = write!(
        text,
        "vrrp_instance web_server_group {{\n    state BACKUP\n    interface {INTERFACE}\n    \
         virtual_router_id {VRID}\n    priority {}\n",
        plan.priority
    );
    match plan.timing {
        Timing::V2 => text.push_str("    version 2\n    advert_int 1\n"),
        Timing::V3 { interval } => {
            let _ = writeln!(text, "    version 3\n    advert_int {}", interval.as_secs_f64());
        }
    }
    if let Some(password) = plan.password {
        let _ = write!(text, "    authentication {{\n        auth_type PASS\n        auth_pass {password}\n    }}\n");
    }
    if !plan.preempt {
        text.push_str("    nopreempt\n");
    }
    if plan.unicast {
        let peer = crate::pair::peer(node).address();
        let _ = write!(text, "    unicast_src_ip {}\n    unicast_peer {{\n        {peer}\n    }}\n", node.address());
    }
    let _ = write!(text, "    virtual_ipaddress {{\n        {VIP}\n    }}\n");
    if plan.check.is_some() {
        text.push_str("    track_script {\n        check_nginx\n    }\n");
    }
    text.push_str("}\n");
    text
}
