//! An instance's addresses in the terms of `vouchd_net`.

use std::net::IpAddr;
use std::sync::Arc;

use vouchd_config::Instance;
use vouchd_net::{Claim, InstanceKey, VirtualAddress};
use vouchd_wire::Priority;

/// The claim of an instance that is not active.
pub(crate) fn claim(instance: &Instance) -> Claim {
    Claim {
        instance: InstanceKey::from(instance.name.as_str()),
        addresses: of(instance),
        owner: instance.priority == Priority::OWNER,
        adopt: instance.adopt,
        lifetime: None,
    }
}

/// The addresses of an instance. The configuration has only IPv4 addresses so far.
pub(crate) fn of(instance: &Instance) -> Arc<[VirtualAddress]> {
    let interface: Arc<str> = instance.interface.as_str().into();
    let v4 = instance.addresses.iter().filter_map(|address| match address.ip {
        IpAddr::V4(ip) => {
            Some(VirtualAddress { interface: Arc::clone(&interface), address: ip, prefix: address.prefix })
        }
        IpAddr::V6(_) => None,
    });
    v4.collect()
}
