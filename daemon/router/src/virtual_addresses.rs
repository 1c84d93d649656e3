//! An instance's addresses in the terms of `vouchd_net`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use vouchd_config::{AddressFlags, Instance};
use vouchd_net::{AddressAttributes, Claim, InstanceKey, Routing, VirtualAddress};
use vouchd_wire::{Family, Priority};

use crate::virtual_macs;

/// The claim of an instance that is not active.
pub(crate) fn claim(instance: &Instance) -> Claim {
    Claim {
        instance: key(instance),
        addresses: of(instance),
        attributes: attributes(instance),
        owner: instance.priority == Priority::OWNER,
        adopt: instance.adopt,
        routing: routing(instance),
        virtual_mac: virtual_macs::of(instance),
        accept: instance.accept,
        lifetime: None,
    }
}

/// The key of an instance of one family.
pub(crate) fn key(instance: &Instance) -> InstanceKey {
    InstanceKey::new(&instance.name, family(instance))
}

/// The family of an instance of one family, as [`Instance::of_family`] makes it.
pub(crate) fn family(instance: &Instance) -> Family {
    instance.families.first().copied().unwrap_or(Family::V4)
}

/// The virtual routers of an instance: one for each of its families.
pub(crate) fn by_family(instance: &Instance) -> impl Iterator<Item = Instance> + '_ {
    instance.families.iter().map(|family| instance.of_family(*family))
}

/// The routes and rules of an instance.
pub(crate) fn routing(instance: &Instance) -> Arc<Routing> {
    Arc::new(Routing { routes: instance.routes.clone(), rules: instance.rules.clone() })
}

/// The addresses of an instance, advertised or not, on the interface of its virtual MAC if it has one and they name no other.
pub(crate) fn of(instance: &Instance) -> Arc<[VirtualAddress]> {
    placed(instance).map(|(address, _)| address).collect()
}

/// The attributes of the addresses.
fn attributes(instance: &Instance) -> Arc<BTreeMap<VirtualAddress, Arc<AddressAttributes>>> {
    let attributes = placed(instance).map(|(address, configured)| {
        let AddressFlags { home, manage_temporary, no_prefix_route, auto_join, deprecated } = configured.flags;
        let attributes = AddressAttributes {
            label: configured.label.clone(),
            scope: configured.scope,
            broadcast: configured.broadcast,
            peer: configured.peer,
            home,
            manage_temporary,
            no_prefix_route,
            auto_join,
            deprecated,
        };
        (address, Arc::new(attributes))
    });
    Arc::new(attributes.collect())
}

/// Each address as it is installed, and as it is configured.
fn placed(instance: &Instance) -> impl Iterator<Item = (VirtualAddress, &vouchd_config::VirtualAddress)> {
    let virtual_mac = virtual_macs::of(instance);
    let has_mac = virtual_mac.is_some();
    let own: Arc<str> = virtual_mac.map_or_else(|| instance.interface.as_str().into(), |mac| mac.name);
    let all = instance.addresses.iter().chain(&instance.extra_addresses);
    all.map(move |address| {
        // The interface of a virtual MAC has one family.
        let is_at_home = !has_mac || Family::of(address.ip) == family(instance);
        let default = || if is_at_home { Arc::clone(&own) } else { instance.interface.as_str().into() };
        let interface = address.interface.as_deref().map_or_else(default, Arc::from);
        let prefix = match address.ip {
            // Without the prefix fe80::/64, answers to link-local neighbours would have no route there.
            IpAddr::V6(ip) if has_mac && ip.is_unicast_link_local() && address.prefix == 128 => 64,
            _ => address.prefix,
        };
        (VirtualAddress { interface, address: address.ip, prefix }, address)
    })
}
