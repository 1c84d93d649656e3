//! The generated parts of docs/vrrp.md: the state diagram as the simulation saw it, and a table of timers.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use vouchd_vrrp::wire::{AdvertInterval, Priority, Version};
use vouchd_vrrp::{State, down_interval, lease, skew};

use crate::campaign::campaign;

/// Enough elections for every transition that a router outside of a group makes.
const ELECTIONS: u64 = 12_000;

/// The state diagram, in mermaid, with the reason for each transition by its name in status.
///
/// # Errors
/// A broken invariant: the transitions of such a run are nobody's business.
pub fn diagram() -> Result<String, String> {
    // With one thread, so that always the same seeds run.
    let done = campaign(1, ELECTIONS, 1);
    if let Some((seed, why)) = done.failures.first() {
        return Err(format!("seed {seed} {why}"));
    }
    let mut reasons: BTreeMap<(State, State), Vec<&str>> = BTreeMap::new();
    for (from, to, why) in done.report.figures.transitions.keys() {
        reasons.entry((*from, *to)).or_default().push(why);
    }
    let mut text = "```mermaid\nstateDiagram-v2\n    [*] --> initialize\n".to_owned();
    for ((from, to), reasons) in reasons {
        let _ = writeln!(text, "    {from} --> {to}: {}", reasons.join(", "));
    }
    text.push_str("    initialize --> [*]: shut_down\n```\n");
    Ok(text)
}

/// A table of timers for common settings, computed by the daemon's own functions.
pub fn timers() -> String {
    let mut text = "| version | interval | priority | Skew_Time | Active_Down_Interval | lease |\n".to_owned();
    text.push_str("|---|---|---|---|---|---|\n");
    for (version, centiseconds) in [
        (Version::V2, 100),
        (Version::V2, 300),
        (Version::V3, 100),
        (Version::V3, 50),
        (Version::V3, 20),
        (Version::V3, 10),
        (Version::V3, 1),
    ] {
        let Ok(interval) = AdvertInterval::from_centiseconds(centiseconds) else { continue };
        for priority in [254, 200, 100, 50, 1].map(Priority::new) {
            let _ = writeln!(
                text,
                "| {} | {} | {priority} | {} | {} | {} |",
                version.number(),
                shown(interval.duration()),
                shown(skew(version, priority, interval)),
                shown(down_interval(version, priority, interval, 3)),
                shown(lease(interval, 3)),
            );
        }
    }
    text
}

fn shown(duration: Duration) -> String {
    match duration.as_micros() {
        micros if micros < 1_000 => format!("{micros} µs"),
        micros if micros < 100_000 => format!("{:.1} ms", micros as f64 / 1e3),
        micros if micros < 1_000_000 => format!("{} ms", (micros + 500) / 1_000),
        micros => format!("{:.3} s", micros as f64 / 1e6).replace(".000", ""),
    }
}
