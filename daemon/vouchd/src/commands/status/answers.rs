//! Who else answers for an instance's addresses, in words.

use std::time::{Duration, SystemTime};

use super::ago::ago;
use crate::status::{Address, Instance};

/// How long a conflict is news: after so long at most the router has announced the addresses against it, so what was not
/// heard again since is over.
const NEWS: Duration = Duration::from_secs(10);

/// That another machine answers for the address which this active router holds, if that was heard lately.
pub fn conflict(instance: &Instance, address: &Address, now: SystemTime) -> Option<String> {
    let conflict = address.conflict.as_ref().filter(|_| instance.state == "active")?;
    let last = humantime::parse_rfc3339_weak(&conflict.last).ok()?;
    (now.duration_since(last).unwrap_or_default() <= NEWS).then(|| {
        let times = if conflict.count == 1 { "once".to_owned() } else { format!("{} times", conflict.count) };
        format!(
            "{} answers for {} too (arp_conflict), heard {times}, last {}: take the address from that machine, or, if it is a router, let this one hear its advertisements",
            conflict.mac,
            address.address,
            ago(&conflict.last, now)
        )
    })
}

/// All that is known, also what is long over.
pub fn all(instance: &Instance, now: SystemTime) -> Vec<String> {
    let mut lines = Vec::new();
    for address in &instance.addresses {
        if let Some(conflict) = conflict(instance, address, now) {
            lines.push(conflict);
        } else if let Some(old) = &address.conflict {
            let (mac, count, last) = (&old.mac, old.count, ago(&old.last, now));
            lines.push(format!(
                "{mac} answered for {} while this router was active: {count} times, last {last}",
                address.address
            ));
        }
        if let Some(mac) = &address.answered_by {
            lines.push(format!("{mac} answers for {}", address.address));
        }
    }
    lines
}
