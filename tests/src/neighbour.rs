//! The client's neighbour table: which MAC address it has for the virtual address.

use crate::site::{INTERFACE, Node, Site, VIP};

/// The client's entry for the virtual address.
#[derive(Debug)]
pub struct Neighbour<'s> {
    site: &'s Site,
}

impl Site {
    /// Makes the client ask for the virtual address, so that it has an entry for it.
    pub fn client_of_the_virtual_address(&self) -> Neighbour<'_> {
        // An entry is made by asking, even if nobody answers.
        let _ = self.host(Node::Client).sh(&format!("ping -c 1 -W 2 {VIP} || curl -s -m 2 http://{VIP}/"));
        Neighbour { site: self }
    }

    /// The MAC address of a host's interface.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn mac(&self, node: Node) -> anyhow::Result<String> {
        Ok(self.host(node).sh(&format!("cat /sys/class/net/{INTERFACE}/address"))?.trim().to_owned())
    }
}

impl Neighbour<'_> {
    /// The MAC address of the entry; `None` if there is no entry, or it is incomplete.
    pub fn entry(&self) -> Option<String> {
        let entry = self.site.host(Node::Client).sh(&format!("ip neigh show {VIP} dev {INTERFACE}")).ok()?;
        Some(entry.split("lladdr ").nth(1)?.split_whitespace().next()?.to_owned())
    }

    /// Whether the entry has this node's MAC address.
    pub fn knows(&self, node: Node) -> bool {
        self.entry().is_some_and(|entry| self.site.mac(node).is_ok_and(|mac| mac == entry))
    }
}
