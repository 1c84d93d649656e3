//! An instance's virtual MAC in the terms of `vouchd_net`, and the names of the interfaces that carry them.

use std::collections::BTreeSet;

use vouchd_config::Instance;
use vouchd_net::VirtualMac;
use vouchd_wire::Family;

use crate::virtual_addresses::family;

/// The longest name of an interface, in bytes (IFNAMSIZ without its NUL).
const LONGEST: usize = 15;

/// Gives the interface of every virtual MAC its name. `instances` have one family each.
///
/// The name is `vrrp4.VRID` or `vrrp6.VRID`. Where several interfaces have a virtual router of that number, the second one in
/// the order of the interfaces' names is `vrrp4.VRID.2`, and so on. A configured name is for the first family; the other one
/// has `.6` or `.4` after it.
pub(crate) fn name_all(instances: &mut [Instance]) {
    let with_mac = |instance: &&Instance| instance.virtual_mac.is_some();
    let carriers: BTreeSet<_> = instances
        .iter()
        .filter(with_mac)
        .map(|instance| (family(instance), instance.vrid.get(), instance.interface.clone()))
        .collect();
    let mut named: BTreeSet<String> = BTreeSet::new();
    for instance in instances {
        let (family, vrid, interface) = (family(instance), instance.vrid.get(), instance.interface.clone());
        let Some(virtual_mac) = &mut instance.virtual_mac else { continue };
        let name = match &virtual_mac.name {
            Some(name) if named.contains(name) => with_suffix(name, family),
            Some(name) => name.clone(),
            None => {
                let same = carriers.range((family, vrid, String::new())..=(family, vrid, interface));
                match same.count() {
                    0 | 1 => automatic(family, vrid),
                    place => format!("{}.{place}", automatic(family, vrid)),
                }
            }
        };
        named.insert(name.clone());
        virtual_mac.name = Some(name);
    }
}

fn automatic(family: Family, vrid: u8) -> String {
    format!("vrrp{}.{vrid}", digit(family))
}

fn with_suffix(name: &str, family: Family) -> String {
    let end = name.floor_char_boundary(LONGEST - 2);
    format!("{}.{}", &name[..end], digit(family))
}

fn digit(family: Family) -> char {
    match family {
        Family::V4 => '4',
        Family::V6 => '6',
    }
}

/// The virtual MAC of an instance of one family.
pub(crate) fn of(instance: &Instance) -> Option<VirtualMac> {
    let virtual_mac = instance.virtual_mac.as_ref()?;
    let family = family(instance);
    let name = virtual_mac.name.clone().unwrap_or_else(|| automatic(family, instance.vrid.get()));
    Some(VirtualMac { name: name.into(), parent: instance.interface.as_str().into(), family, vrid: instance.vrid })
}
