//! A small kernel: links, addresses, and what it notifies about.

use super::*;

/// The part of rtnetlink that the model depends on.
#[derive(Default)]
pub(super) struct Kernel {
    pub(super) links: Vec<Link>,
    pub(super) addresses: Vec<HeldAddress>,
    pub(super) news: Vec<(Change, u32)>,
    pub(super) promotes: bool,
    /// Before Linux 5.18.
    pub(super) forgets_marks: bool,
    /// Addresses that it refuses to add.
    pub(super) refuses: BTreeSet<(IpAddr, u8)>,
}

impl Kernel {
    pub(super) fn with_link(mut self, index: u32, name: &str) -> Self {
        let mac = Some([2, 0, 0, 0, 0, 1]);
        let link =
            Link { index, name: name.into(), enabled: true, running: true, mac, promotes: false, ..Link::default() };
        self.links.push(link.clone());
        self.news.push((Change::Link(link), 0));
        self
    }

    /// Switches an interface off, which removes its IPv6 addresses, or on.
    pub(super) fn switch(&mut self, index: u32, enabled: bool) {
        let link = self.links.iter_mut().find(|link| link.index == index).unwrap();
        (link.enabled, link.running) = (enabled, enabled);
        self.news.push((Change::Link(link.clone()), 0));
        if !enabled {
            let gone = self.addresses.extract_if(.., |held| held.index == index && held.address.is_ipv6());
            self.news.extend(gone.map(|held| (Change::AddressGone(held), 0)));
        }
    }

    pub(super) fn rename(&mut self, index: u32, name: &str) {
        let link = self.links.iter_mut().find(|link| link.index == index).unwrap();
        link.name = name.into();
        self.news.push((Change::Link(link.clone()), 0));
    }

    pub(super) fn add(
        &mut self,
        placement: Placement,
        protocol: u8,
        permanent: bool,
        replace: bool,
        port: u32,
    ) -> Result<(), i32> {
        let protocol = if self.forgets_marks { 0 } else { protocol };
        if self.refuses.contains(&(placement.address, placement.prefix)) {
            return Err(libc::EPERM);
        }
        let is_same = |held: &&HeldAddress| held.address == placement.address && held.prefix != placement.prefix;
        if placement.address.is_ipv6() && self.addresses.iter().any(|held| is_same(&held)) {
            return Err(libc::EEXIST);
        }
        let held = match self.addresses.iter_mut().find(|held| Placement::of(held) == placement) {
            Some(_) if !replace => return Err(libc::EEXIST),
            Some(held) => {
                (held.protocol, held.permanent) = (protocol, permanent);
                held.clone()
            }
            None => {
                let secondary = self.addresses.iter().any(|held| same_subnet(held, placement) && !held.secondary);
                let held = HeldAddress {
                    index: placement.index,
                    address: placement.address,
                    prefix: placement.prefix,
                    peer: None,
                    scope: 0,
                    secondary,
                    tentative: false,
                    permanent,
                    protocol,
                };
                self.addresses.push(held.clone());
                held
            }
        };
        self.news.push((Change::Address(held), port));
        Ok(())
    }

    pub(super) fn remove(&mut self, placement: Placement, port: u32) -> Result<(), i32> {
        let position = self.addresses.iter().position(|held| Placement::of(held) == placement);
        let gone = self.addresses.remove(position.ok_or(libc::EADDRNOTAVAIL)?);
        let was_primary = !gone.secondary;
        self.news.push((Change::AddressGone(gone), port));
        if was_primary {
            let others: Vec<_> = self.addresses.iter().filter(|held| same_subnet(held, placement)).cloned().collect();
            if self.promotes {
                if let Some(first) = others.first() {
                    let held = self.addresses.iter_mut().find(|held| held.is_same(first)).unwrap();
                    held.secondary = false;
                    self.news.push((Change::Address(held.clone()), port));
                }
            } else {
                self.addresses.retain(|held| !same_subnet(held, placement));
                self.news.extend(others.into_iter().map(|held| (Change::AddressGone(held), port)));
            }
        }
        Ok(())
    }

    /// Somebody else adds a permanent address.
    pub(super) fn host_adds(&mut self, address: IpAddr, prefix: u8) {
        let _ = self.add(Placement { index: ETH0, address, prefix }, 0, true, false, 77);
    }

    pub(super) fn host_removes(&mut self, address: IpAddr, prefix: u8) {
        let _ = self.remove(Placement { index: ETH0, address, prefix }, 77);
    }

    pub(super) fn placements(&self) -> BTreeSet<(u32, IpAddr, u8)> {
        self.addresses.iter().map(|held| (held.index, held.address, held.prefix)).collect()
    }

    pub(super) fn of_host(&self) -> BTreeSet<(u32, IpAddr, u8)> {
        let hosts = self.addresses.iter().filter(|held| held.protocol != OUR_PROTOCOL);
        hosts.map(|held| (held.index, held.address, held.prefix)).collect()
    }
}

fn same_subnet(held: &HeldAddress, placement: Placement) -> bool {
    let network = |address| super::copies::network(address, placement.prefix);
    held.index == placement.index
        && held.prefix == placement.prefix
        && placement.address.is_ipv4()
        && network(held.address) == network(placement.address)
}
