//! Other machines that answer for an instance's addresses, in words.

use std::time::{Duration, SystemTime};

use super::ago::ago;
use vouchd_ipc::status::{Address, Conflict, Instance};

/// Changes to addresses take a moment. A status in between is not a fault.
pub(crate) const SETTLING: Duration = Duration::from_secs(1);

/// Reports another machine that still answers for an address which this active router holds.
pub(crate) fn conflict(instance: &Instance, address: &Address, now: SystemTime) -> Option<String> {
    let conflict = address.conflict.as_ref().filter(|it| it.since.is_some() && instance.state == "active")?;
    let times = if conflict.count == 1 { "once".to_owned() } else { format!("{} times", conflict.count) };
    Some(format!(
        "{} answers for {} too (arp_conflict), heard {times}, last {}: remove the address \
         from that machine, or, if it is a router, make sure that its advertisements arrive here",
        conflict.mac,
        address.address,
        ago(&conflict.last, now)
    ))
}

/// Whether the conflict was heard again after [`SETTLING`], and is neither a late frame of a takeover nor a single stray frame.
pub(crate) fn lasts(conflict: &Conflict) -> bool {
    let at = |text: &str| humantime::parse_rfc3339_weak(text).ok();
    let (since, last) = (conflict.since.as_deref().and_then(at), at(&conflict.last));
    let time = since.zip(last).and_then(|(since, last)| last.duration_since(since).ok());
    time.is_some_and(|time| time > SETTLING)
}

/// Everything that is known about other machines, including conflicts that have ended.
pub(crate) fn all(instance: &Instance, now: SystemTime) -> Vec<String> {
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
