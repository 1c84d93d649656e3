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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::virtual_addresses::by_family;

    /// The names for instances of these interfaces, numbers and addresses; `name` is the configured one.
    fn names(instances: &[(&str, u8, &str, Option<&str>)]) -> Vec<String> {
        let text = instances.iter().enumerate().map(|(number, (interface, vrid, addresses, name))| {
            let value = name.map_or("true".to_owned(), |name| format!("{{ name = {name:?} }}"));
            format!(
                "[instance.i{number}]\ninterface = {interface:?}\nvirtual_router_id = {vrid}\nversion = 3\n\
                 addresses = [{addresses}]\nvirtual_mac = {value}\n"
            )
        });
        let config = vouchd_config::resolve(vec![("vouchd.toml".into(), text.collect())]).expect("a configuration");
        let mut instances: Vec<_> = config.instances.iter().flat_map(by_family).collect();
        name_all(&mut instances);
        instances.iter().filter_map(of).map(|virtual_mac| virtual_mac.name.to_string()).collect()
    }

    #[test]
    fn name_says_family_and_number() {
        assert_eq!(names(&[("eth0", 7, "'192.0.2.100', 'fe80::100'", None)]), ["vrrp4.7", "vrrp6.7"]);
    }

    #[test]
    fn same_number_on_further_interfaces_has_a_place_after_it() {
        let both = [("eth1", 7, "'198.51.100.1'", None), ("eth0", 7, "'192.0.2.100'", None)];
        assert_eq!(names(&both), ["vrrp4.7.2", "vrrp4.7"]);
    }

    #[test]
    fn configured_name_is_for_one_family_and_fits_with_its_suffix() {
        let both = [("eth0", 7, "'192.0.2.100', 'fe80::100'", Some("gateway-of-lan0"))];
        assert_eq!(names(&both), ["gateway-of-lan0", "gateway-of-la.6"]);
    }
}
