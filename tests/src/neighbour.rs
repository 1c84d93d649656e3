//! What a host of the segment believes of the virtual address: whose MAC address it has.

use crate::site::{INTERFACE, Node, Site, VIP};

/// The client, which has talked to the virtual address and so has an entry for it.
#[derive(Debug)]
pub struct Neighbour<'s> {
    site: &'s Site,
}

impl Site {
    /// The client, after it has talked to the virtual address.
    pub fn client_of_the_virtual_address(&self) -> Neighbour<'_> {
        // Whether anybody answers there is no matter: an entry is made by asking.
        let _ = self.host(Node::Client).sh(&format!("ping -c 1 -W 2 {VIP} || curl -s -m 2 http://{VIP}/"));
        Neighbour { site: self }
    }

    /// The MAC address of a host's interface.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn mac(&self, node: Node) -> anyhow::Result<String> {
        Ok(self.host(node).sh(&format!("cat /sys/class/net/{INTERFACE}/address"))?.trim().to_owned())
    }
}

impl Neighbour<'_> {
    /// The MAC address that it has for the virtual address.
    pub fn entry(&self) -> Option<String> {
        let entry = self.site.host(Node::Client).sh(&format!("ip neigh show {VIP} dev {INTERFACE}")).ok()?;
        Some(entry.split("lladdr ").nth(1)?.split_whitespace().next()?.to_owned())
    }

    /// Whether that is this node's.
    pub fn knows(&self, node: Node) -> bool {
        self.entry().is_some_and(|entry| self.site.mac(node).is_ok_and(|mac| mac == entry))
    }
}
