//! The site: two proxies, two web servers, a client and an intruder on one Ethernet segment, 192.168.175.0/24.

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

/// The virtual address.
pub const VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 175, 100);

/// The interface of every host.
pub const INTERFACE: &str = "ens33";

const PREFIX: &str = "vouchd-tests-";

/// A place in the topology.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Node {
    /// The proxy that has the virtual address first.
    Nginx01,
    /// The other proxy.
    Nginx02,
    /// A web server behind the proxies.
    Web01,
    /// The other web server.
    Web02,
    /// Uses the virtual address.
    Client,
    /// Sends packets that no host should send.
    Intruder,
}

impl Node {
    /// All places.
    pub const ALL: [Node; 6] = [Node::Nginx01, Node::Nginx02, Node::Web01, Node::Web02, Node::Client, Node::Intruder];
    /// The places where a router runs.
    pub const ROUTERS: [Node; 2] = [Node::Nginx01, Node::Nginx02];

    /// The host's name.
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

    /// The host's own address.
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
    // Fields are dropped in this order.
    holders: Holders,
    hosts: Vec<Host>,
    switch: Host,
    dir: PathBuf,
}

impl Site {
    /// Boots the hosts and connects them.
    ///
    /// # Errors
    /// If a namespace or a link cannot be made.
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

    /// The host at a place.
    pub fn host(&self, node: Node) -> &Host {
        &self.hosts[node as usize]
    }

    /// The host that is the Ethernet segment.
    pub fn switch(&self) -> &Host {
        &self.switch
    }

    /// Connects hosts by another Ethernet segment, with an interface of this name on each.
    ///
    /// # Errors
    /// If a link cannot be made.
    pub fn segment(&self, interface: &str, nodes: &[Node]) -> anyhow::Result<()> {
        let bridge = format!("b-{interface}");
        let bridge_options = "type bridge stp_state 0 mcast_snooping 0 forward_delay 0";
        self.switch.sh(&format!("ip link add {bridge} {bridge_options} && ip link set {bridge} up"))?;
        for &node in nodes {
            let port = format!("{}-{interface}", node.name());
            plug(&self.switch, self.host(node), &port, interface, &bridge)?;
            self.host(node).sh(&format!("ip link set {interface} up"))?;
        }
        Ok(())
    }

    /// Which router held which address when.
    pub fn holders(&self) -> &Holders {
        &self.holders
    }

    /// Makes a directory for the files of one daemon, readable by all users. It may exist already.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn dir(&self, name: &str) -> anyhow::Result<PathBuf> {
        let dir = self.dir.join(name);
        fs::create_dir_all(&dir)?;
        Ok(dir)
    }

    /// Unplugs a host's cable, or plugs it in again.
    ///
    /// # Errors
    /// If the link cannot be changed.
    pub fn cable(&self, node: Node, plugged: bool) -> anyhow::Result<()> {
        let state = if plugged { "up" } else { "down" };
        self.switch.sh(&format!("ip link set {} {state}", node.port())).map(drop)
    }

    /// Stops or resumes the delivery of multicast to a host. What the host sends is delivered either way.
    ///
    /// # Errors
    /// If the switch cannot be changed.
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
        plug(switch, host, &port, INTERFACE, "br0")?;
        host.sh(&format!("ip addr add {}/24 dev {INTERFACE} && ip link set {INTERFACE} up", node.address()))?;
    }
    Ok(())
}

/// Connects a host's `interface` with a `port` of a bridge in the switch.
fn plug(switch: &Host, host: &Host, port: &str, interface: &str, bridge: &str) -> anyhow::Result<()> {
    // In the switch's network namespace but not its process namespace: the other end's namespace is named by a process
    // id that is valid out here.
    let output = Command::new("nsenter")
        .args(["-t", &switch.init().to_string(), "-n", "--"])
        .args(["ip", "link", "add", port, "type", "veth", "peer", "name", interface])
        .args(["netns", &host.init().to_string()])
        .output()?;
    if !output.status.success() {
        bail!("veth to {}: {}", host.name, String::from_utf8_lossy(&output.stderr));
    }
    switch.sh(&format!("ip link set {port} master {bridge} && ip link set {port} up")).map(drop)
}

/// Removes the directories of tests that have ended.
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
