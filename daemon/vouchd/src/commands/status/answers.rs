//! Who else answers for an instance's addresses, in words.

use std::time::SystemTime;

use super::ago::ago;
use super::judge::SETTLING;
use vouchd_ipc::status::{Address, Conflict, Instance};

/// That another machine answers for the address which this active router holds, while that goes on.
pub fn conflict(instance: &Instance, address: &Address, now: SystemTime) -> Option<String> {
    let conflict = address.conflict.as_ref().filter(|it| it.since.is_some() && instance.state == "active")?;
    let times = if conflict.count == 1 { "once".to_owned() } else { format!("{} times", conflict.count) };
    Some(format!(
        "{} answers for {} too (arp_conflict), heard {times}, last {}: take the address from that machine, or, if it is a router, let this one hear its advertisements",
        conflict.mac,
        address.address,
        ago(&conflict.last, now)
    ))
}

/// Whether that was heard again after more than a moment: no late word of a hand-over, and not a single stray frame.
pub fn lasts(conflict: &Conflict) -> bool {
    let at = |text: &str| humantime::parse_rfc3339_weak(text).ok();
    let (since, last) = (conflict.since.as_deref().and_then(at), at(&conflict.last));
    let time = since.zip(last).and_then(|(since, last)| last.duration_since(since).ok());
    time.is_some_and(|time| time > SETTLING)
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
