//! Whether the checker can see all processes, and which of them are this daemon's own.

use std::collections::HashSet;
use std::fs;

use nix::unistd::{getegid, getgroups};

use super::scan::{Entry, Seen};

/// Bit of CAP_SYS_PTRACE in `/proc/PID/status`.
const CAP_SYS_PTRACE: u32 = 19;

/// The processes of this daemon: `me`, and its ancestors and descendants of the same name. A check that found them would
/// pass for as long as it runs.
pub(super) fn own(entries: &[Entry], me: u32) -> HashSet<u32> {
    let entry = |pid: u32| entries.iter().find(|entry| entry.pid == pid);
    let Some(mut top) = entry(me) else { return [me].into() };
    // The router's name, to which those of the checker and its compiler append a word.
    let name = top.comm.strip_suffix("-checker").unwrap_or(&top.comm).to_owned();
    let is_ours = |entry: &Entry| {
        entry.comm.strip_prefix(name.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    let mut own: HashSet<u32> = [me].into();
    while let Some(parent) = entry(top.parent).filter(|parent| is_ours(parent) && !own.contains(&parent.pid)) {
        own.insert(parent.pid);
        top = parent;
    }
    loop {
        let more: Vec<u32> = entries
            .iter()
            .filter(|entry| own.contains(&entry.parent) && !own.contains(&entry.pid) && is_ours(entry))
            .map(|entry| entry.pid)
            .collect();
        if more.is_empty() {
            return own;
        }
        own.extend(more);
    }
}

/// Why the checker may not see all processes; `None` if it does.
pub(super) fn blindness(seen: &Seen, own: &HashSet<u32>) -> Option<String> {
    let is_there = |pid: u32| seen.entries.iter().any(|entry| entry.pid == pid);
    if !is_there(std::process::id()) {
        return Some(
            "/proc does not show this process: it is not mounted, or belongs to another PID namespace; mount the /proc of \
             the checker's own PID namespace"
                .to_owned(),
        );
    }
    let mounted = mount_options(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default());
    // Process 1 always exists.
    if seen.has_hidden || !is_there(1) || hides(&mounted, &groups(), may_trace()) {
        let gid = option(&mounted, "gid");
        let group = gid.map_or_else(
            || "mount it with hidepid=0, or with gid=GROUP and give the service that group (SupplementaryGroups=GROUP)".to_owned(),
            |gid| format!("give the service the group {gid} that may see them (SupplementaryGroups={gid}), or mount it with hidepid=0"),
        );
        let how = option(&mounted, "hidepid").map(|how| format!(", mounted with hidepid={how}")).unwrap_or_default();
        return Some(format!(
            "the processes of others are hidden from the checker: /proc{how}; {group}. In a unit, ProtectProc=default"
        ));
    }
    if seen.entries.iter().all(|entry| own.contains(&entry.pid)) {
        return Some(
            "the checker sees no process but its own: it is in a PID namespace of its own; in a unit, PrivatePIDs=no; in a \
             container, use the PID namespace of what is to be checked"
                .to_owned(),
        );
    }
    None
}

/// The options of the last mount on `/proc`.
fn mount_options(mountinfo: &str) -> String {
    let options = |line: &str| {
        let (mount, kind) = line.split_once(" - ")?;
        (mount.split(' ').nth(4)? == "/proc").then(|| kind.split(' ').nth(2).unwrap_or_default().to_owned())
    };
    mountinfo.lines().rev().find_map(options).unwrap_or_default()
}

fn option<'a>(options: &'a str, name: &str) -> Option<&'a str> {
    options.split(',').find_map(|option| option.strip_prefix(name)?.strip_prefix('='))
}

/// Whether the mount options hide other users' processes from a member of these groups (proc(5)).
fn hides(options: &str, groups: &[u32], may_trace: bool) -> bool {
    let in_group = groups.contains(&option(options, "gid").and_then(|gid| gid.parse().ok()).unwrap_or(0));
    match option(options, "hidepid") {
        None | Some("0" | "off") => false,
        // Shows only processes that the reader may trace, whatever its groups.
        Some("4" | "ptraceable") => !may_trace,
        Some(_) => !in_group && !may_trace,
    }
}

fn groups() -> Vec<u32> {
    let more = getgroups().unwrap_or_default();
    more.into_iter().chain([getegid()]).map(nix::unistd::Gid::as_raw).collect()
}

fn may_trace() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    effective
        .and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok())
        .is_some_and(|bits| bits >> CAP_SYS_PTRACE & 1 == 1)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn entry(pid: u32, parent: u32, comm: &str) -> Entry {
        Entry { pid, parent, comm: comm.to_owned(), started: Duration::ZERO }
    }

    #[test]
    fn own_processes_are_relatives_of_the_same_name() {
        let all = [
            entry(1, 0, "systemd"),
            entry(10, 1, "vouchd"),
            entry(11, 10, "vouchd"),
            entry(12, 11, "vouchd-compile"),
            entry(13, 11, "nginx"),
            entry(20, 1, "vouchd"),
            entry(21, 1, "vouchdog"),
            entry(22, 11, "vouchdog"),
            entry(30, 1, "vouchd"),
            entry(31, 30, "vouchd-checker"),
            entry(32, 31, "vouchd-compile"),
            entry(33, 31, "nginx"),
        ];
        assert_eq!(own(&all, 11), [10, 11, 12].into());
        assert_eq!(own(&all, 20), [20].into());
        assert_eq!(own(&all, 31), [30, 31, 32].into());
        assert_eq!(own(&all, 99), [99].into());
    }

    #[test]
    fn hidden_processes_are_noticed() {
        let table: [(&str, &[u32], bool, bool); 10] = [
            ("rw", &[1000], false, false),
            ("rw,hidepid=0", &[1000], false, false),
            ("rw,hidepid=2", &[1000], false, true),
            ("rw,hidepid=invisible", &[1000], false, true),
            ("rw,gid=27,hidepid=invisible", &[1000, 27], false, false),
            ("rw,gid=27,hidepid=noaccess", &[1000], false, true),
            ("rw,hidepid=invisible", &[0], false, false),
            ("rw,hidepid=invisible", &[1000], true, false),
            ("rw,gid=27,hidepid=ptraceable", &[27], false, true),
            ("rw,hidepid=4", &[1000], true, false),
        ];
        for (options, groups, may_trace, hidden) in table {
            assert_eq!(hides(options, groups, may_trace), hidden, "{options} {groups:?} {may_trace}");
        }
        let mountinfo = "22 28 0:21 / /proc rw,nosuid - proc proc rw\n\
                         90 22 0:21 / /proc/x rw - proc proc rw,hidepid=2\n\
                         99 28 0:50 / /proc rw,nosuid shared:9 - proc proc rw,gid=27,hidepid=invisible\n";
        assert_eq!(mount_options(mountinfo), "rw,gid=27,hidepid=invisible");
    }

    #[test]
    fn checker_that_proc_does_not_show_is_blind() {
        let me = std::process::id();
        let seen = |entries: Vec<Entry>| Seen { entries, has_hidden: false };
        let words = |seen: &Seen| blindness(seen, &own(&seen.entries, me)).unwrap_or_default();
        assert!(words(&seen(Vec::new())).contains("not mounted"));
        assert!(words(&seen(vec![entry(me, 7, "x")])).contains("hidden from the checker"));
        assert!(
            words(&Seen { entries: vec![entry(1, 0, "init"), entry(me, 1, "x")], has_hidden: true }).contains("hidden")
        );
    }
}
