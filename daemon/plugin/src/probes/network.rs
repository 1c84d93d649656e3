//! The network probe: this host's links and addresses. Needs no grant.

use std::collections::BTreeMap;

use super::error::of_host;
use super::interfaces;
use crate::contract::ProbeError;
use crate::contract::network::{Address, Link};
use crate::probes::changes::Changes;

pub(crate) fn links(changes: Option<&Changes>) -> Result<Vec<Link>, ProbeError> {
    let mut links = BTreeMap::new();
    for entry in entries(changes)? {
        links.insert(entry.link.clone(), Link { name: entry.link, up: entry.is_up, carrier: entry.has_carrier });
    }
    Ok(links.into_values().collect())
}

pub(crate) fn addresses(changes: Option<&Changes>) -> Result<Vec<Address>, ProbeError> {
    let found = entries(changes)?;
    let address = |entry: interfaces::Entry| {
        Some(Address { ip: entry.address?.to_string(), link: entry.link, prefix: entry.prefix })
    };
    Ok(found.filter_map(address).collect())
}

/// Subscribes to changes before it looks, so that none is missed.
fn entries(changes: Option<&Changes>) -> Result<impl Iterator<Item = interfaces::Entry>, ProbeError> {
    changes.inspect(|changes| changes.watch_network());
    interfaces::entries().map_err(|errno| of_host(errno, "asking the kernel for links and addresses"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_link_and_its_address_are_found() {
        let links = links(None).unwrap();
        let lo = links.iter().find(|link| link.name == "lo").expect("every machine has it");
        if lo.up {
            assert!(lo.carrier);
            let addresses = addresses(None).unwrap();
            assert!(addresses.iter().any(|a| a.link == "lo" && a.ip == "127.0.0.1" && a.prefix == 8), "{addresses:?}");
        }
    }
}
