//! Announcements of addresses, and questions about who else has them.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use vouchd_wire::Time;

use super::{Worker, refusal};
use crate::addresses::command::{InstanceKey, VirtualAddress};
use crate::addresses::lease::Late;
use crate::addresses::report::{AddressError, Report};
use crate::clock;

/// Minimum gap between two announcements of an address that somebody deletes again and again.
const ANNOUNCEMENT_PAUSE: Duration = Duration::from_millis(100);

impl Worker {
    pub(super) fn announce_returned(&mut self) {
        let now = clock::now();
        self.announced.retain(|_, at| now.since(*at) < ANNOUNCEMENT_PAUSE);
        for (placement, mac) in self.reconciler.take_returned() {
            // Nobody has had the time to learn another MAC address for it.
            if self.announced.contains_key(&placement) {
                continue;
            }
            self.announced.insert(placement, now);
            if let Err(error) = self.neighbours.announce(placement.index, mac, placement.address) {
                tracing::warn!("{} could not be announced: {error}", placement.address);
            }
        }
    }

    pub(super) fn announce_all(&mut self, instance: &InstanceKey, repeat: u32, not_after: Time) -> Result<u32, Late> {
        Late::check(not_after, clock::now())?;
        let Some(claim) = self.reconciler.claim(instance) else { return Ok(0) };
        let (addresses, is_active) = (Arc::clone(&claim.addresses), claim.lifetime.is_some());
        let mut targets = Vec::new();
        for address in addresses.iter() {
            let target = if is_active { self.reconciler.target(address) } else { Err(AddressError::NotInstalled) };
            match target {
                Ok((index, Some(mac))) => targets.push((index, mac, address)),
                // Only Ethernet has ARP, and link-layer addresses for neighbour discovery.
                Ok((_, None)) => {}
                Err(error) => self.announce_failed(instance, address, error),
            }
        }
        let mut frames = 0;
        for _ in 0..repeat {
            // Round by round, so that every address is announced once before any is announced twice.
            let mut left = Vec::with_capacity(targets.len());
            for (index, mac, address) in targets {
                Late::check(not_after, clock::now())?;
                match self.neighbours.announce(index, mac, address.address) {
                    Ok(()) => {
                        frames += 1;
                        left.push((index, mac, address));
                    }
                    Err(error) => self.announce_failed(instance, address, refusal(error, "CAP_NET_RAW")),
                }
            }
            targets = left;
        }
        Ok(frames)
    }

    /// A request that cannot be sent is not repeated: the next Ask makes up for it.
    pub(super) fn ask_all(&self, instance: &InstanceKey, sender: IpAddr, not_after: Time) {
        let claim = self.reconciler.claim(instance).filter(|claim| claim.lifetime.is_some());
        for (claim, address) in
            claim.into_iter().flat_map(|claim| claim.addresses.iter().map(move |address| (claim, address)))
        {
            if Late::check(not_after, clock::now()).is_err() {
                return;
            }
            if let Some((index, mac)) = self.asker(claim, address)
                && let Err(error) = self.neighbours.ask(index, mac, sender, address.address)
            {
                tracing::debug!(%error, "could not ask who else has {}", address.address);
            }
        }
    }

    fn announce_failed(&self, instance: &InstanceKey, address: &VirtualAddress, error: AddressError) {
        let (instance, address) = (instance.clone(), address.clone());
        self.report(Report::AnnounceFailed { instance, address, error });
    }
}
