//! Makes, switches and removes the interfaces with virtual MACs. On the thread of the address keeper.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use vouchd_wire::Family;

use super::saved::Saved;
use super::{VirtualMac, VirtualMacError, VirtualMacState, is_marked, sysctl};
use crate::addresses::InstanceKey;
use crate::netlink::{InetSetting, KernelState, Link, RequestSocket};

/// What one instance wants.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) instance: InstanceKey,
    pub(crate) virtual_mac: VirtualMac,
    /// The instance is active.
    pub(crate) active: bool,
}

/// What there is under the name that an instance wants.
enum Found<'a> {
    /// The parent does not exist.
    NoParent,
    /// Nothing.
    Nothing { parent: u32 },
    /// A macvlan of vouchd, as wanted.
    Ours(&'a Link),
    /// A macvlan of vouchd with another parent or MAC address.
    Outdated(&'a Link),
    /// An interface of somebody else.
    Foreign,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct VirtualMacKeeper {
    /// Something may have to be done. Renewing the lease of one of many instances does not look at all interfaces.
    suspected: bool,
    /// Failures and warnings, by instance, until they have healed.
    errors: BTreeMap<InstanceKey, VirtualMacError>,
    warnings: BTreeMap<InstanceKey, String>,
    /// The names of the interfaces that this daemon made or took over.
    owned: BTreeSet<String>,
    /// The settings of parents as they were before vouchd changed them, by index. The alias of a macvlan keeps them too, but
    /// goes with a macvlan that somebody deletes.
    saved: BTreeMap<u32, Saved>,
    /// Interfaces as they are after they were made. The kernel notifies of no alias while an interface is switched off.
    made: Vec<Link>,
    /// Instances whose request failed: not tried again before the next command or notification.
    refused: BTreeSet<InstanceKey>,
}

impl VirtualMacKeeper {
    /// Notes that a command or a notification may have changed what is to be done.
    pub(crate) fn suspect(&mut self) {
        self.suspected = true;
    }

    pub(crate) fn is_suspected(&self) -> bool {
        self.suspected
    }

    /// Starts anew after a command or a notification: requests that failed are tried again. Returns whether there may be
    /// anything to do.
    pub(crate) fn begin(&mut self) -> bool {
        self.refused.clear();
        self.suspected
    }

    /// Notes that everything is done as far as possible. Returns whether there was anything to do.
    pub(crate) fn end(&mut self) -> bool {
        std::mem::take(&mut self.suspected)
    }

    /// Makes what is missing and switches on what active instances need. Returns whether anything changed: then take in the
    /// kernel's notifications and [`take_made`](Self::take_made), and call it again.
    pub(crate) fn raise(&mut self, requests: &mut RequestSocket, kernel: &KernelState, wanted: &[Wanted]) -> bool {
        let is_wanted = |instance: &InstanceKey| wanted.iter().any(|wanted| wanted.instance == *instance);
        self.errors.retain(|instance, _| is_wanted(instance));
        self.warnings.retain(|instance, _| is_wanted(instance));
        let mut changed = false;
        for wanted in wanted {
            if self.refused.contains(&wanted.instance) {
                continue;
            }
            match self.raise_one(requests, kernel, wanted) {
                Ok(did) => {
                    changed |= did;
                    self.errors.remove(&wanted.instance);
                }
                Err(error) => {
                    self.refused.insert(wanted.instance.clone());
                    self.errors.insert(wanted.instance.clone(), error);
                }
            }
        }
        changed
    }

    fn raise_one(
        &mut self,
        requests: &mut RequestSocket,
        kernel: &KernelState,
        wanted: &Wanted,
    ) -> Result<bool, VirtualMacError> {
        let Wanted { instance, virtual_mac, active } = wanted;
        let failed = |what| move |error| VirtualMacError::new(virtual_mac, what, error);
        match find(kernel, virtual_mac) {
            Found::NoParent => Ok(false),
            Found::Foreign => Err(VirtualMacError::NameTaken(Arc::clone(&virtual_mac.name))),
            // Of another daemon that runs.
            Found::Outdated(link) if !self.owned.contains(&link.name) => {
                Err(VirtualMacError::InUse(Arc::clone(&virtual_mac.name)))
            }
            Found::Outdated(link) => {
                requests.delete_link(link.index).map_err(failed("removing the old macvlan"))?;
                Ok(true)
            }
            Found::Nothing { parent } => {
                let (link, warning) =
                    self.make(requests, kernel, virtual_mac, parent).map_err(failed("making the macvlan"))?;
                self.made.push(link);
                self.owned.insert(virtual_mac.name.to_string());
                match warning {
                    Some(warning) => self.warnings.insert(instance.clone(), warning),
                    None => self.warnings.remove(instance),
                };
                Ok(true)
            }
            Found::Ours(link) if *active && !link.enabled => {
                match requests.switch_link(link.index, true) {
                    // It is gone: the notification says so.
                    Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(true),
                    other => other.map(|()| true).map_err(failed("switching on the macvlan")),
                }
            }
            Found::Ours(link) => {
                self.owned.insert(link.name.clone());
                Ok(false)
            }
        }
    }

    /// Makes the macvlan and all settings. If one of them fails, nothing is left. Returns it as it is then, and a
    /// warning for the operator.
    fn make(
        &mut self,
        requests: &mut RequestSocket,
        kernel: &KernelState,
        virtual_mac: &VirtualMac,
        parent: u32,
    ) -> io::Result<(Link, Option<String>)> {
        requests.add_macvlan(parent, &virtual_mac.name, virtual_mac.mac())?;
        let index = if_nametoindex(&*virtual_mac.name)?;
        let before = self.saved.get(&parent).cloned().unwrap_or_default();
        let made = set_up(requests, kernel, virtual_mac, index, parent, before)
            .and_then(|(saved, warning)| Ok((requests.link(index)?, saved, warning)));
        match made {
            Ok((link, saved, warning)) => {
                self.saved.insert(parent, saved);
                Ok((link, warning))
            }
            Err(error) => {
                // The first error is the one to report.
                let _ = requests.delete_link(index);
                Err(error)
            }
        }
    }

    /// Takes the interfaces that were made, as the kernel shows them now.
    pub(crate) fn take_made(&mut self) -> Vec<Link> {
        std::mem::take(&mut self.made)
    }

    /// Switches off what instances that are not active do not need, and removes what nobody wants any more. Called when the
    /// addresses are gone. Returns whether anything changed.
    pub(crate) fn lower(&mut self, requests: &mut RequestSocket, kernel: &KernelState, wanted: &[Wanted]) -> bool {
        let mut changed = false;
        let by_name: BTreeMap<&str, &Wanted> =
            wanted.iter().map(|wanted| (&*wanted.virtual_mac.name, wanted)).collect();
        let mut remaining: BTreeSet<u32> =
            kernel.links().filter(|link| is_marked(link)).map(|link| link.index).collect();
        for link in kernel.links().filter(|link| is_marked(link) && self.owned.contains(&link.name)) {
            match by_name.get(link.name.as_str()) {
                Some(Wanted { active: true, .. }) => {}
                Some(wanted) => {
                    if link.enabled && is_as_wanted(kernel, link, &wanted.virtual_mac) {
                        changed |= log(requests.switch_link(link.index, false), link, "switched off");
                    }
                }
                None => {
                    remaining.remove(&link.index);
                    let others = kernel.links().filter(|other| remaining.contains(&other.index));
                    changed |= remove(requests, link, others);
                    // The last one on this parent has put everything back.
                    let is_last = !kernel.links().any(|it| remaining.contains(&it.index) && it.parent == link.parent);
                    link.parent.filter(|_| is_last).map(|parent| self.saved.remove(&parent));
                }
            }
        }
        self.owned.retain(|name| by_name.contains_key(name.as_str()));
        changed
    }

    /// The state of what one instance wants.
    pub(crate) fn state(&self, kernel: &KernelState, wanted: &Wanted) -> VirtualMacState {
        let link = match find(kernel, &wanted.virtual_mac) {
            Found::Ours(link) => Some(link),
            Found::NoParent | Found::Nothing { .. } | Found::Outdated(_) | Found::Foreign => None,
        };
        VirtualMacState {
            exists: link.is_some(),
            up: link.is_some_and(|link| link.enabled),
            error: self.errors.get(&wanted.instance).cloned(),
            warning: self.warnings.get(&wanted.instance).cloned(),
        }
    }
}

fn find<'a>(kernel: &'a KernelState, virtual_mac: &VirtualMac) -> Found<'a> {
    match (kernel.link_named(&virtual_mac.name), kernel.link_named(&virtual_mac.parent)) {
        (Some(link), _) if !is_marked(link) => Found::Foreign,
        (Some(link), _) if is_as_wanted(kernel, link, virtual_mac) => Found::Ours(link),
        (Some(link), _) => Found::Outdated(link),
        (None, Some(parent)) => Found::Nothing { parent: parent.index },
        (None, None) => Found::NoParent,
    }
}

fn is_as_wanted(kernel: &KernelState, link: &Link, virtual_mac: &VirtualMac) -> bool {
    let parent = kernel.link_named(&virtual_mac.parent);
    link.mac == Some(virtual_mac.mac()) && parent.is_some_and(|parent| link.parent == Some(parent.index))
}

/// Returns what was changed on the parent, as it was before, and a warning for the operator.
fn set_up(
    requests: &mut RequestSocket,
    kernel: &KernelState,
    virtual_mac: &VirtualMac,
    index: u32,
    parent: u32,
    before: Saved,
) -> io::Result<(Saved, Option<String>)> {
    let on_parent = requests.link(parent)?.inet;
    let mut saved = match virtual_mac.family {
        Family::V4 => Saved::of(&on_parent),
        Family::V6 => Saved::default(),
    };
    let changes = saved.changes();
    if virtual_mac.family == Family::V4 {
        // What is changed already is what an earlier macvlan has saved.
        saved.extend(before);
        for other in kernel.links().filter(|other| is_marked(other) && other.parent == Some(parent)) {
            saved.extend(Saved::of_link(other));
        }
    }
    // First, so that nothing is changed that could not be put back.
    requests.set_alias(index, &saved.alias())?;
    match requests.generate_no_addresses(index) {
        // A kernel without IPv6.
        Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => {}
        other => other?,
    }
    let own = [
        (InetSetting::ArpIgnore, 1),
        (InetSetting::RpFilter, 2),
        (InetSetting::Forwarding, on_parent.get(InetSetting::Forwarding)),
    ];
    requests.set_inet(index, &own)?;
    requests.set_inet(parent, &changes)?;
    let warnings = [sysctl::set(&virtual_mac.name, virtual_mac.family).err(), sysctl::obstacle(virtual_mac.family)];
    let warnings: Vec<_> = warnings.into_iter().flatten().collect();
    Ok((saved, (!warnings.is_empty()).then(|| warnings.join("; "))))
}

/// Removes a macvlan of vouchd. First puts back the settings of its parent that none of the `others` has saved, too. Returns
/// whether anything changed.
pub(super) fn remove<'a>(requests: &mut RequestSocket, link: &Link, others: impl Iterator<Item = &'a Link>) -> bool {
    let mut saved = Saved::of_link(link);
    others.filter(|other| other.parent == link.parent).for_each(|other| saved.subtract(&Saved::of_link(other)));
    let restored = link.parent.map_or(Ok(()), |parent| {
        let now = requests.link(parent)?.inet;
        requests.set_inet(parent, &saved.restorations(&now))
    });
    if let Err(error) = restored {
        tracing::warn!("could not put back the settings of the interface below {}: {error}", link.name);
    }
    log(requests.delete_link(link.index), link, "removed")
}

fn log(result: io::Result<()>, link: &Link, what: &str) -> bool {
    match result {
        Ok(()) => true,
        Err(error) if error.raw_os_error() == Some(Errno::ENODEV as i32) => true,
        Err(error) => {
            tracing::warn!("{} could not be {what}: {error}", link.name);
            false
        }
    }
}
