//! The site: the hosts of the operator's notes on one Ethernet segment, 192.168.175.0/24, plus one host that misbehaves.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, bail};
use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::holders::Holders;
use crate::host::Host;

/// The virtual address of the notes.
pub const VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 175, 100);

/// The interface of every host.
pub const INTERFACE: &str = "ens33";

const PREFIX: &str = "vouchd-tests-";

/// A place in the topology.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Node {
    Nginx01,
    Nginx02,
    Web01,
    Web02,
    Client,
    /// Sends what nobody should send.
    Intruder,
}

impl Node {
    pub const ALL: [Node; 6] = [Node::Nginx01, Node::Nginx02, Node::Web01, Node::Web02, Node::Client, Node::Intruder];
    /// Those on which a router runs.
    pub const ROUTERS: [Node; 2] = [Node::Nginx01, Node::Nginx02];

    pub fn name(self) -> &'static str {
        match self {
            Node::Nginx01 => "nginx01",
            Node::Nginx02 => "nginx02",
            Node::Web01 => "web01",
            Node::Web02 => "web02",
            Node::Client => "client",
            Node::Intruder => "intruder",
        }
    }

    pub fn address(self) -> Ipv4Addr {
        let last = match self {
            Node::Nginx01 => 101,
            Node::Nginx02 => 102,
            Node::Web01 => 121,
            Node::Web02 => 122,
            Node::Client => 10,
            Node::Intruder => 66,
        };
        Ipv4Addr::new(192, 168, 175, last)
    }

    /// The node's port at the switch.
    pub(crate) fn port(self) -> String {
        format!("p-{}", self.name())
    }
}

/// All hosts, running and connected.
#[derive(Debug)]
pub struct Site {
    // The fields' order is the order in which they are torn down.
    holders: Holders,
    hosts: Vec<Host>,
    switch: Host,
    dir: PathBuf,
}

impl Site {
    /// Boots the hosts and connects them.
    ///
    /// # Errors
    /// When a namespace or a link can't be made.
    pub fn new() -> anyhow::Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        sweep_leftovers();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("{PREFIX}{}-{number}", std::process::id()));
        fs::create_dir(&dir).with_context(|| dir.display().to_string())?;
        // The checker runs as another user and reads its plugins from here.
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755))?;

        let switch = Host::boot("switch", &dir)?;
        let hosts = Node::ALL.iter().map(|node| Host::boot(node.name(), &dir)).collect::<anyhow::Result<Vec<_>>>()?;
        connect(&switch, &hosts)?;
        let holders = Holders::watch(Node::ROUTERS.map(|node| (node, &hosts[node as usize])))?;
        Ok(Self { holders, hosts, switch, dir })
    }

    pub fn host(&self, node: Node) -> &Host {
        &self.hosts[node as usize]
    }

    /// The host that is the Ethernet segment.
    pub fn switch(&self) -> &Host {
        &self.switch
    }

    /// Which router has which address, now and earlier.
    pub fn holders(&self) -> &Holders {
        &self.holders
    }

    /// A directory for one daemon's files, readable by all users.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn dir(&self, name: &str) -> anyhow::Result<PathBuf> {
        let dir = self.dir.join(name);
        fs::create_dir_all(&dir)?;
        Ok(dir)
    }

    /// Takes a host's cable out, or puts it back in.
    ///
    /// # Errors
    /// When the link can't be changed.
    pub fn cable(&self, node: Node, plugged: bool) -> anyhow::Result<()> {
        let state = if plugged { "up" } else { "down" };
        self.switch.sh(&format!("ip link set {} {state}", node.port())).map(drop)
    }

    /// Keeps multicast from a host, or lets it through again; what the host sends arrives all the same.
    ///
    /// # Errors
    /// When the switch can't be changed.
    pub fn multicast(&self, node: Node, delivered: bool) -> anyhow::Result<()> {
        let flood = if delivered { "on" } else { "off" };
        self.switch.sh(&format!("bridge link set dev {} mcast_flood {flood}", node.port())).map(drop)
    }

    /// Prints the end of every daemon's log.
    pub fn print_logs(&self) {
        const LINES: usize = 120;
        println!("{:#?}", self.holders);
        let Ok(entries) = fs::read_dir(&self.dir) else { return };
        let mut logs: Vec<_> = entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
            .collect();
        logs.sort();
        for log in logs {
            let text = fs::read_to_string(&log).unwrap_or_default();
            let lines: Vec<_> = text.lines().collect();
            if lines.is_empty() {
                continue;
            }
            let name = log.file_stem().unwrap_or_default().to_string_lossy();
            println!("---- {name} (last {LINES} of {} lines)", lines.len());
            for line in &lines[lines.len().saturating_sub(LINES)..] {
                println!("{line}");
            }
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if std::env::var_os("VOUCHD_TESTS_KEEP").is_none() {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

fn connect(switch: &Host, hosts: &[Host]) -> anyhow::Result<()> {
    switch.sh("ip link add br0 type bridge stp_state 0 mcast_snooping 0 forward_delay 0 && ip link set br0 up")?;
    for (node, host) in Node::ALL.iter().zip(hosts) {
        let port = node.port();
        // Only the network of the switch, not its processes: the peer's namespace is named by a process id of out here.
        let output = Command::new("nsenter")
            .args(["-t", &switch.init().to_string(), "-n", "--"])
            .args(["ip", "link", "add", &port, "type", "veth", "peer", "name", INTERFACE])
            .args(["netns", &host.init().to_string()])
            .output()?;
        if !output.status.success() {
            bail!("veth to {}: {}", host.name, String::from_utf8_lossy(&output.stderr));
        }
        switch.sh(&format!("ip link set {port} master br0 && ip link set {port} up"))?;
        host.sh(&format!("ip addr add {}/24 dev {INTERFACE} && ip link set {INTERFACE} up", node.address()))?;
    }
    Ok(())
}

/// Removes directories of tests that no longer run.
fn sweep_leftovers() {
    let Ok(entries) = fs::read_dir(std::env::temp_dir()) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        if owner(&path).is_some_and(|pid| kill(Pid::from_raw(pid), None).is_err())
            && std::env::var_os("VOUCHD_TESTS_KEEP").is_none()
        {
            let _ = fs::remove_dir_all(path);
        }
    }
}

fn owner(path: &Path) -> Option<i32> {
    path.file_name()?.to_str()?.strip_prefix(PREFIX)?.split('-').next()?.parse().ok()
}
