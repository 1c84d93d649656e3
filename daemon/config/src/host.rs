//! Whether a configuration fits a machine. What the machine has is an argument, so that tests need no real one.

use std::net::IpAddr;

use crate::errors::Problem;
use crate::model::Instance;
use crate::resolve::address::network_edge;
use crate::{Access, Config, InstancePlaces, hints};

/// What a machine has, as far as a configuration refers to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Host {
    /// All interfaces.
    pub interfaces: Vec<HostInterface>,
    /// The user that the systemd unit starts the daemon as, if it exists.
    pub daemon: Option<Account>,
}

/// A user of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The login name.
    pub name: String,
    /// The user ID.
    pub user: u32,
    /// The IDs of all its groups.
    pub groups: Vec<u32>,
}

/// A network interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostInterface {
    /// As in `ip link`.
    pub name: String,
    /// Of both families.
    pub addresses: Vec<HostAddress>,
}

/// An address of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostAddress {
    /// The address.
    pub ip: IpAddr,
    /// Its prefix length.
    pub prefix: u8,
}

/// The result of comparing a configuration with a machine.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    /// What can't work.
    pub errors: Vec<Problem>,
    /// What is allowed but probably not intended.
    pub warnings: Vec<Problem>,
}

impl Account {
    fn may_read(&self, access: Access) -> bool {
        let bits = if access.user == self.user {
            access.mode >> 6
        } else if self.groups.contains(&access.group) {
            access.mode >> 3
        } else {
            access.mode
        };
        self.user == 0 || bits & 0o4 != 0
    }
}

impl Host {
    fn interface(&self, name: &str) -> Option<&HostInterface> {
        self.interfaces.iter().find(|interface| interface.name == name)
    }
}

impl Config {
    /// Makes a problem about a virtual address of an instance, with its place.
    pub fn address_problem(&self, instance: &str, ip: IpAddr, message: String) -> Problem {
        let position = |found: &Instance| found.addresses.iter().position(|address| address.ip == ip);
        let configured = self.instances.iter().find(|found| found.name == instance);
        let place = configured
            .and_then(position)
            .and_then(|position| self.instances_at.get(instance)?.addresses.get(position).cloned());
        Problem { place, subject: format!("instance.{instance}.addresses: {ip}"), message }
    }

    /// Checks `daemon.user`, given its user ID on this host; `None`: there is no such user.
    pub fn check_user(&self, number: Option<u32>) -> Option<Problem> {
        let name = self.daemon.user.as_ref()?;
        let message = match number {
            None => {
                "this host has no such user, and the daemon does not start without it: create it, or name another one"
            }
            Some(0) => "this is root; expected an unprivileged user, because the checks run as this user",
            Some(_) => return None,
        };
        Some(Problem {
            place: self.user_at.clone(),
            subject: format!("daemon.user = {name:?}"),
            message: message.to_owned(),
        })
    }

    /// Checks interfaces, addresses and file modes against this host. Findings are in the order of the instances.
    pub fn check_host(&self, host: &Host) -> Findings {
        let mut findings = Findings { errors: Vec::new(), warnings: self.check_access(host) };
        for instance in &self.instances {
            let Some(at) = self.instances_at.get(&instance.name) else { continue };
            check_interface(instance, at, host, &mut findings);
            check_source(instance, at, host, &self.instances, &mut findings);
            check_edges(instance, at, host, &mut findings);
        }
        findings
    }

    /// Warns of files that the daemon can't read, and of passwords that every user can.
    fn check_access(&self, host: &Host) -> Vec<Problem> {
        let mut warnings = Vec::new();
        for (path, access) in self.access.iter().chain(&self.key_access) {
            let shown = path.display();
            let advice = format!("`chown root:vouchd {shown} && chmod 0640 {shown}`");
            if let Some(account) = host.daemon.as_ref().filter(|account| !account.may_read(*access)) {
                warnings.push(Problem {
                    place: None,
                    subject: shown.to_string(),
                    message: format!(
                        "its mode is {:04o}: the unit starts the daemon as user {}, which can't read it; run {advice}",
                        access.mode, account.name
                    ),
                });
            }
            if self.key_access.iter().any(|(key, access)| key == path && access.mode & 0o4 != 0) {
                warnings.push(Problem {
                    place: None,
                    subject: shown.to_string(),
                    message: format!(
                        "every user of this host can read the key (mode {:04o}); run {advice}",
                        access.mode
                    ),
                });
            }
            let password = self
                .instances_at
                .values()
                .filter(|at| at.has_secret)
                .filter_map(|at| at.auth.as_ref())
                .find(|at| at.file() == path);
            if let Some(place) = password.filter(|_| access.mode & 0o4 != 0) {
                warnings.push(Problem {
                    place: Some(place.clone()),
                    subject: String::new(),
                    message: format!(
                        "every user of this host can read the password or key (mode {:04o}); run {advice}",
                        access.mode
                    ),
                });
            }
        }
        warnings
    }
}

/// A missing interface is only a warning: it may appear later, and the check may run on another machine.
fn check_interface(instance: &Instance, at: &InstancePlaces, host: &Host, findings: &mut Findings) {
    let name = &instance.interface;
    if host.interface(name).is_some() {
        return;
    }
    let names: Vec<&str> = host.interfaces.iter().map(|interface| interface.name.as_str()).collect();
    let meant = hints::nearest(name, names.iter().copied()).map(|name| format!(" (did you mean {name:?}?)"));
    findings.warnings.push(Problem {
        place: Some(at.interface.clone()),
        subject: format!("instance.{}.interface = {name:?}", instance.name),
        message: format!(
            "this host has no such interface{}; the instance waits for it; this host has: {}",
            meant.unwrap_or_default(),
            names.join(", ")
        ),
    });
}

/// Warns of the first and the last address of the interface's networks. They are no errors, because another machine may have
/// other networks.
fn check_edges(instance: &Instance, at: &InstancePlaces, host: &Host, findings: &mut Findings) {
    let Some(interface) = host.interface(&instance.interface) else { return };
    let virtual_ips = instance.addresses.iter().map(|address| address.ip).zip(&at.addresses);
    let peers =
        instance.unicast.iter().flat_map(|unicast| unicast.peers.iter().map(|peer| peer.address)).zip(&at.peers);
    for (ip, place) in virtual_ips.chain(peers) {
        let edge = |of: &HostAddress| Some((network_edge(ip, of.ip, of.prefix)?, *of));
        if let Some((edge, of)) = interface.addresses.iter().find_map(edge) {
            findings.warnings.push(Problem {
                place: Some(place.clone()),
                subject: format!("instance.{}: {ip}", instance.name),
                message: format!(
                    "this is {edge} of {}'s network here ({}/{}); expected the address of a host",
                    interface.name, of.ip, of.prefix
                ),
            });
        }
        let is_ours = interface.addresses.iter().any(|address| address.ip == ip);
        if is_ours && at.peers.iter().any(|peer| std::ptr::eq(peer, place)) {
            findings.warnings.push(Problem {
                place: Some(place.clone()),
                subject: format!("instance.{}: {ip}", instance.name),
                message: "this is an address of this host itself; expected only the other routers".to_owned(),
            });
        }
    }
}

/// A missing source address is only a warning, for the same reasons.
fn check_source(instance: &Instance, at: &InstancePlaces, host: &Host, all: &[Instance], findings: &mut Findings) {
    let (Some(unicast), Some(place), Some(interface)) =
        (&instance.unicast, &at.source, host.interface(&instance.interface))
    else {
        return;
    };
    let Some(source) = unicast.sources.first() else { return };
    let is_virtual = instance.addresses.iter().any(|address| unicast.sources.contains(&address.ip));
    if is_virtual || interface.addresses.iter().any(|address| unicast.sources.contains(&address.ip)) {
        return;
    }
    // Virtual addresses may be on the interface now, but vouchd moves them.
    let moves = |ip: &IpAddr| all.iter().any(|instance| instance.addresses.iter().any(|address| address.ip == *ip));
    let theirs: Vec<String> = interface
        .addresses
        .iter()
        .map(|a| a.ip)
        .filter(|ip| ip.is_ipv4() && !moves(ip))
        .map(|ip| ip.to_string())
        .collect();
    let found = if theirs.is_empty() {
        "it has no IPv4 address of its own".to_owned()
    } else {
        format!("it has {}", theirs.join(", "))
    };
    findings.warnings.push(Problem {
        place: Some(place.clone()),
        subject: format!("instance.{}.unicast.source = \"{source}\"", instance.name),
        message: format!(
            "{} does not have this address on this host ({found}); the instance waits for it",
            instance.interface
        ),
    });
}
