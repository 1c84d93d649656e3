//! Which versions other routers send, where a group of routers moves from version 2 to 3 (RFC 9568 section 8.4).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use vouchd_wire::Time;

/// More than any real virtual router has; a flood of forged source addresses must not fill the memory.
const MAX_SOURCES: usize = 32;

/// Advertisements of version 3 without one of version 2 between them until a router counts as one that sends version 3 only.
/// One or two of version 2 may be lost.
const IN_A_ROW: u32 = 4;

#[derive(Debug, Default)]
pub(crate) struct Versions {
    sources: BTreeMap<IpAddr, Version3>,
}

/// A router that sends version 3.
#[derive(Debug)]
struct Version3 {
    heard: Time,
    /// Since it was last heard in version 2.
    in_a_row: u32,
}

impl Versions {
    /// Returns whether `source` was heard in version 3 within a down interval, so that its version 2 is to be ignored.
    pub(crate) fn hear_version_2(&mut self, now: Time, source: IpAddr, down_interval: Duration) -> bool {
        let Some(known) = self.sources.get_mut(&source) else { return false };
        known.in_a_row = 0;
        now.since(known.heard) <= down_interval
    }

    /// Returns whether it is certain now that `source` sends version 3 only; once.
    pub(crate) fn hear_version_3(&mut self, now: Time, source: IpAddr) -> bool {
        if !self.sources.contains_key(&source) && self.sources.len() >= MAX_SOURCES {
            let oldest = self.sources.iter().min_by_key(|(_, known)| known.heard).map(|(address, _)| *address);
            oldest.and_then(|address| self.sources.remove(&address));
        }
        let known = self.sources.entry(source).or_insert(Version3 { heard: now, in_a_row: 0 });
        known.heard = now;
        known.in_a_row = known.in_a_row.saturating_add(1);
        known.in_a_row == IN_A_ROW
    }
}
