//! An instance's addresses in the terms of `vouchd_net`.

use std::net::IpAddr;
use std::sync::Arc;

use vouchd_config::Instance;
use vouchd_net::{Claim, InstanceKey, Routing, VirtualAddress};
use vouchd_wire::{Family, Priority};

use crate::virtual_macs;

/// The claim of an instance that is not active.
pub(crate) fn claim(instance: &Instance) -> Claim {
    Claim {
        instance: key(instance),
        addresses: of(instance),
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

/// The addresses of an instance, on the interface of its virtual MAC if it has one.
pub(crate) fn of(instance: &Instance) -> Arc<[VirtualAddress]> {
    let virtual_mac = virtual_macs::of(instance);
    let has_mac = virtual_mac.is_some();
    let interface: Arc<str> = virtual_mac.map_or_else(|| instance.interface.as_str().into(), |mac| mac.name);
    let address = |address: &vouchd_config::VirtualAddress| VirtualAddress {
        interface: Arc::clone(&interface),
        address: address.ip,
        prefix: match address.ip {
            // Without the prefix fe80::/64, answers to link-local neighbours would have no route there.
            IpAddr::V6(ip) if has_mac && ip.is_unicast_link_local() && address.prefix == 128 => 64,
            _ => address.prefix,
        },
    };
    instance.addresses.iter().map(address).collect()
}
