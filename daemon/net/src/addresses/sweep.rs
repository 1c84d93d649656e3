//! Removal of addresses that an earlier run of vouchd left behind.

use std::io;

use crate::addresses::attributes::AddressAttributes;
use crate::addresses::command::VirtualAddress;
use crate::addresses::worker::is_gone;
use crate::netlink::{AddressRequest, OUR_PROTOCOL, RequestSocket};

/// Removes every address with our mark, on the given interfaces or on all, except those for which `is_kept` says
/// that another running daemon keeps them. Returns the removed addresses. May wait for the kernel.
///
/// # Errors
/// When addresses cannot be read or one cannot be removed; those before it are removed.
pub fn sweep(
    interfaces: Option<&[&str]>,
    is_kept: impl Fn(&VirtualAddress) -> bool,
) -> io::Result<Vec<VirtualAddress>> {
    let mut requests = RequestSocket::open()?;
    let links = requests.links()?;
    let mut removed = Vec::new();
    for held in requests.addresses()? {
        let Some(link) = links.iter().find(|link| link.index == held.index) else { continue };
        let wanted = interfaces.is_none_or(|names| names.contains(&link.name.as_str()));
        let found = VirtualAddress { interface: link.name.as_str().into(), address: held.address, prefix: held.prefix };
        if held.protocol != OUR_PROTOCOL || !wanted || is_kept(&found) {
            continue;
        }
        // The host's addresses of the same subnet stay.
        if found.is_in_subnet() && !link.promotes {
            requests.promote_secondaries(held.index)?;
        }
        let removal = AddressRequest::Remove { index: held.index, address: held.address, prefix: held.prefix };
        match requests.change_address(removal, &AddressAttributes { peer: held.peer, ..Default::default() }) {
            Ok(()) => removed.push(found),
            // Its lease ended in the meantime.
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(removed)
}
