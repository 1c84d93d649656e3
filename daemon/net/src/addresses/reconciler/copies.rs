//! Copies of virtual addresses that are not vouchd's, and which of them are an interface's own address.

use std::net::IpAddr;

use super::{Placement, Reconciler};
use crate::addresses::command::{Claim, VirtualAddress, is_in_subnet};
use crate::addresses::report::HostCopy;
use crate::netlink::{HeldAddress, Link, OUR_PROTOCOL};

impl Reconciler {
    /// Whether an address is neither ours nor another vouchd's.
    pub(super) fn is_the_hosts(&self, held: &HeldAddress) -> bool {
        held.protocol != OUR_PROTOCOL && !self.ours.contains_key(&Placement::of(held))
    }

    /// Copies of an address on its own interface that are not vouchd's.
    pub(crate) fn copies(&self, address: &VirtualAddress) -> Vec<HostCopy> {
        let Some(link) = self.kernel.link_named(&address.interface) else { return Vec::new() };
        let is_copy = |held: &&HeldAddress| held.index == link.index && self.is_the_hosts(held);
        let copies: Vec<_> = self.kernel.copies(address.address).filter(is_copy).collect();
        // Nearly always: the rest is costly where an interface has many addresses.
        if copies.is_empty() {
            return Vec::new();
        }
        let hosts: Vec<_> = self.kernel.on(link.index).filter(|held| self.is_the_hosts(held)).collect();
        copies
            .into_iter()
            .map(|held| HostCopy {
                at: VirtualAddress { interface: link.name.as_str().into(), address: held.address, prefix: held.prefix },
                own: is_own(held, &hosts),
            })
            .collect()
    }

    /// Copies of an IPv4 address on other interfaces that are not vouchd's. Unless `arp_ignore` is set, Linux answers for
    /// them on every interface. For an IPv6 address it answers on the address's own interface only; the interface below that
    /// of a virtual MAC is in the same network.
    pub(crate) fn copies_elsewhere(&self, claim: &Claim, address: &VirtualAddress) -> Vec<HostCopy> {
        let parent = claim.virtual_mac.as_ref().map(|virtual_mac| &*virtual_mac.parent);
        let counts = |link: &Link| address.address.is_ipv4() || parent == Some(link.name.as_str());
        let copies = self.kernel.copies(address.address).filter(|held| self.is_the_hosts(held));
        let copies = copies.filter_map(|held| Some((self.kernel.link(held.index)?, held)));
        let copies = copies.filter(|(link, _)| link.name != *address.interface && counts(link));
        copies
            .map(|(link, held)| HostCopy {
                at: VirtualAddress { interface: link.name.as_str().into(), address: held.address, prefix: held.prefix },
                own: false,
            })
            .collect()
    }

    /// An address of the host that the kernel could remove together with this one, because `promote_secondaries` is not set.
    pub(crate) fn endangered_by(&self, address: &VirtualAddress) -> Option<VirtualAddress> {
        let link =
            self.kernel.link_named(&address.interface).filter(|link| !link.promotes && address.is_in_subnet())?;
        let at_risk = self.kernel.on(link.index).find(|held| {
            held.address != address.address
                && held.prefix == address.prefix
                && self.is_the_hosts(held)
                && network(held.address, held.prefix) == network(address.address, held.prefix)
        })?;
        Some(VirtualAddress { interface: link.name.as_str().into(), address: at_risk.address, prefix: at_risk.prefix })
    }
}

/// Whether one of an interface's addresses is the interface's own: its primary one (IPv4), or the only one of its subnet.
/// `all` are the host's addresses there. Any other address was added beside it.
fn is_own(held: &HeldAddress, all: &[&HeldAddress]) -> bool {
    if held.secondary {
        return false;
    }
    let others: Vec<_> = all.iter().filter(|other| other.address != held.address).collect();
    let is_within = |address: IpAddr, of: &HeldAddress| network(address, of.prefix) == network(of.address, of.prefix);
    // The primary address of a subnet with secondary ones.
    let leads =
        others.iter().any(|other| other.secondary && other.prefix == held.prefix && is_within(other.address, held));
    // The first address of the interface, unless it is a /32 within the subnet of another.
    let covered = others.iter().any(|other| is_within(held.address, other));
    let first = all.iter().find(|one| one.scope == 0 && one.address.is_ipv4());
    let is_first = is_in_subnet(held.address, held.prefix) && first.is_some_and(|one| one.is_same(held));
    leads || is_first || !covered
}

/// The network part of an address, which differs between the families.
pub(super) fn network(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(u32::from(prefix))).unwrap_or(0);
            IpAddr::from((u32::from(v4) & mask).to_be_bytes())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(u32::from(prefix))).unwrap_or(0);
            IpAddr::from((u128::from(v6) & mask).to_be_bytes())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(text: &str) -> HeldAddress {
        let (text, secondary) = text.strip_suffix(" secondary").map_or((text, false), |text| (text, true));
        let (address, prefix) = text.split_once('/').unwrap();
        HeldAddress {
            index: 5,
            address: address.parse().unwrap(),
            prefix: prefix.parse().unwrap(),
            peer: None,
            scope: 0,
            secondary,
            tentative: false,
            permanent: true,
            protocol: 0,
        }
    }

    #[test]
    fn own_address_is_the_primary_one_or_the_only_one_of_its_subnet() {
        for (first, rest, own) in [
            // Alone.
            ("192.0.2.9/24", &[][..], true),
            ("192.0.2.9/32", &[], true),
            // In a subnet of its own.
            ("198.51.100.9/24", &["192.0.2.1/24"], true),
            // Before the others of the subnet.
            ("192.0.2.9/24", &["192.0.2.1/24 secondary"], true),
            ("192.0.2.9/16", &["192.0.2.1/24"], true),
            // Among addresses of the other family.
            ("192.0.2.9/24", &["2001:db8::1/64"], true),
            ("2001:db8::9/64", &["192.0.2.1/24", "fe80::1/64"], true),
        ] {
            let rest: Vec<_> = rest.iter().map(|text| held(text)).collect();
            let all: Vec<_> = [held(first)].into_iter().chain(rest).collect();
            assert_eq!(is_own(&all[0], &all.iter().collect::<Vec<_>>()), own, "{first}");
        }
    }

    #[test]
    fn address_beside_the_interfaces_own_is_a_copy() {
        for all in [
            ["192.0.2.1/24", "192.0.2.9/24 secondary"],
            ["192.0.2.1/24", "192.0.2.9/32"],
            ["192.0.2.1/24", "192.0.2.9/25"],
            ["192.0.2.1/16", "192.0.2.9/24"],
            ["2001:db8::1/64", "2001:db8::9/128"],
            ["fe80::1/64", "fe80::9/64"],
        ] {
            let all = all.map(held);
            assert!(!is_own(&all[1], &all.iter().collect::<Vec<_>>()), "{all:?}");
        }
        // A single address may have been there first.
        let all = [held("192.0.2.9/32"), held("192.0.2.1/24")];
        assert!(!is_own(&all[0], &all.iter().collect::<Vec<_>>()));
    }
}
