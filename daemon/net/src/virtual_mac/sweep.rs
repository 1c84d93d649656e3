//! Removal of interfaces with virtual MACs that an earlier run of vouchd left behind.

use std::io;

use super::keeper::remove;
use super::{is_marked, virtual_router};
use crate::netlink::RequestSocket;

/// An interface of an earlier run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweptMac {
    /// Its name.
    pub name: String,
    /// The interface that it is on; `None` if that is in another network namespace.
    pub parent: Option<String>,
    /// The number of its virtual router.
    pub vrid: u8,
}

/// Removes every macvlan that carries vouchd's mark and the MAC address of a virtual router, except those for which
/// `is_kept` says that another running daemon keeps them, and puts back the settings of the interfaces below. Returns what
/// was removed. May wait for the kernel.
///
/// # Errors
/// When the links cannot be read.
pub fn sweep_virtual_macs(is_kept: impl Fn(&SweptMac) -> bool) -> io::Result<Vec<SweptMac>> {
    let mut requests = RequestSocket::open()?;
    let links = requests.links()?;
    let mut remaining: Vec<_> = links.iter().filter(|link| is_marked(link)).collect();
    let mut removed = Vec::new();
    for link in remaining.clone() {
        let Some((_, vrid)) = link.mac.and_then(virtual_router) else { continue };
        let parent = links.iter().find(|parent| Some(parent.index) == link.parent);
        let found = SweptMac { name: link.name.clone(), parent: parent.map(|parent| parent.name.clone()), vrid };
        if is_kept(&found) {
            continue;
        }
        remaining.retain(|other| other.index != link.index);
        if remove(&mut requests, link, remaining.iter().copied()) {
            removed.push(found);
        }
    }
    Ok(removed)
}
