//! The process probe: reads `/proc`, and hands out a pidfd for what it found so that an end is seen at once.
//!
//! All runs of the same moment share one snapshot. A process that ended since it was taken is told by its pidfd, so a
//! shared snapshot never reports a dead process as alive.

use std::fs;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use nix::unistd::{SysconfVar, User, sysconf};
use regex::{Regex, RegexBuilder};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use vouchd_config::Grants;
use vouchd_config::grants::ProcessGrant;

use crate::contract::ProbeError;
use crate::contract::process::{Info, Query};
use crate::outcome::ProcessHandle;

/// How long a snapshot may be shared: a process that started since is missed for that long.
const SNAPSHOT_AGE: Duration = Duration::from_millis(20);

/// The kernel keeps this much of a process's name.
const COMM_LEN: usize = 15;

/// Of a command line, this much is looked at.
const MAX_CMDLINE: u64 = 64 << 10;

/// More processes are not reported.
const MAX_FOUND: usize = 1024;

/// More are not watched: each takes a descriptor until the next run.
const MAX_WATCHED: usize = 32;

/// The shared snapshot.
#[derive(Default)]
pub(crate) struct Processes {
    latest: Mutex<Option<(Instant, Arc<Vec<Entry>>)>>,
}

/// A process that was running when the snapshot was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    pid: u32,
    comm: String,
    /// Since boot.
    started: Duration,
}

impl Processes {
    /// Blocks while it reads `/proc`.
    pub(crate) fn find(&self, grants: &Grants, query: &Query) -> Result<(Vec<Info>, Vec<ProcessHandle>), ProbeError> {
        if query.name.is_none() && query.cmdline.is_none() && query.pid_file.is_none() {
            return Err(ProbeError::Invalid("look for which process? expected a name, cmdline or pid-file".to_owned()));
        }
        let visible = visible(grants, query.name.as_deref())?;
        let pattern = query.cmdline.as_deref().map(compile).transpose()?;
        let owner = query.user.as_deref().map(owner).transpose()?;
        let pid = match query.pid_file.as_deref().map(read_pid_file).transpose()? {
            None => None,
            Some(Some(pid)) => Some(pid),
            Some(None) => return Ok((Vec::new(), Vec::new())),
        };
        let snapshot = self.snapshot()?;
        let fits = |entry: &&Entry| {
            pid.is_none_or(|pid| entry.pid == pid)
                && visible.as_ref().is_none_or(|names| names.iter().any(|n| is_named(entry, n)))
                && owner.is_none_or(|uid| effective_uid(entry.pid) == Some(uid))
                && pattern.as_ref().is_none_or(|p| command_line(entry.pid).is_some_and(|line| p.is_match(&line)))
        };
        let candidates = by_name(&snapshot, query.name.as_deref());
        let now = clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from);
        let mut found = Vec::new();
        let mut handles = Vec::new();
        for entry in candidates.into_iter().filter(fits).take(MAX_FOUND) {
            match watch(entry.pid) {
                Alive::Yes(handle) => handles.extend(handle.filter(|_| handles.len() < MAX_WATCHED)),
                Alive::No => continue,
            }
            let age = now.saturating_sub(entry.started);
            found.push(Info {
                pid: entry.pid,
                name: entry.comm.clone(),
                age_ms: u64::try_from(age.as_millis()).unwrap_or(u64::MAX),
            });
        }
        Ok((found, handles))
    }

    fn snapshot(&self) -> Result<Arc<Vec<Entry>>, ProbeError> {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((taken, entries)) = latest.as_ref()
            && taken.elapsed() < SNAPSHOT_AGE
        {
            return Ok(Arc::clone(entries));
        }
        let entries = Arc::new(scan().map_err(|e| ProbeError::Invalid(format!("reading /proc: {e}")))?);
        *latest = Some((Instant::now(), Arc::clone(&entries)));
        Ok(entries)
    }
}

/// The names among which to look: None is all.
fn visible(grants: &Grants, name: Option<&str>) -> Result<Option<Vec<String>>, ProbeError> {
    let denied = |refusal: vouchd_config::grants::Refusal| ProbeError::Denied(refusal.to_string());
    match (name, &grants.process) {
        (Some(name), _) => grants.permits_process(name).map(|()| None).map_err(denied),
        (None, ProcessGrant::Names(names)) if !names.is_empty() => Ok(Some(names.clone())),
        (None, _) => grants.permits_all_processes().map(|()| None).map_err(denied),
    }
}

/// Those with the name in `comm`; if there are none, those whose command line begins with a program of that name.
fn by_name<'a>(snapshot: &'a [Entry], name: Option<&str>) -> Vec<&'a Entry> {
    let Some(name) = name else { return snapshot.iter().collect() };
    let exact: Vec<_> = snapshot.iter().filter(|e| e.comm == name).collect();
    if exact.is_empty() { snapshot.iter().filter(|e| program_is(e.pid, name)).collect() } else { exact }
}

fn is_named(entry: &Entry, name: &str) -> bool {
    entry.comm == name || (name.len() > COMM_LEN && program_is(entry.pid, name))
}

fn program_is(pid: u32, name: &str) -> bool {
    let Some(line) = read(&format!("/proc/{pid}/cmdline"), 4096) else { return false };
    program(&line) == name
}

/// The file name of the program in a raw command line.
fn program(cmdline: &[u8]) -> String {
    let first = cmdline.split(|b| *b == 0).next().unwrap_or_default();
    let first = String::from_utf8_lossy(first);
    // Programs that retitle themselves put a sentence there: "nginx: master process /usr/sbin/nginx".
    let word = first.split_whitespace().next().unwrap_or_default().trim_end_matches(':');
    word.rsplit('/').next().unwrap_or_default().to_owned()
}

fn command_line(pid: u32) -> Option<String> {
    let raw = read(&format!("/proc/{pid}/cmdline"), MAX_CMDLINE)?;
    let words: Vec<_> = raw.split(|b| *b == 0).filter(|w| !w.is_empty()).map(String::from_utf8_lossy).collect();
    Some(words.join(" "))
}

fn effective_uid(pid: u32) -> Option<u32> {
    let status = read(&format!("/proc/{pid}/status"), 4096)?;
    let status = String::from_utf8_lossy(&status);
    status.lines().find_map(|l| l.strip_prefix("Uid:"))?.split_whitespace().nth(1)?.parse().ok()
}

fn compile(pattern: &str) -> Result<Regex, ProbeError> {
    RegexBuilder::new(pattern)
        .size_limit(1 << 20)
        .build()
        .map_err(|e| ProbeError::Invalid(format!("cmdline {pattern:?} is not a regular expression: {e}")))
}

fn owner(user: &str) -> Result<u32, ProbeError> {
    if let Ok(uid) = user.parse() {
        return Ok(uid);
    }
    match User::from_name(user) {
        Ok(Some(found)) => Ok(found.uid.as_raw()),
        Ok(None) | Err(_) => Err(ProbeError::Invalid(format!("user {user:?}: this machine has no such user"))),
    }
}

/// None if there is no such file or no number in it: what it should name does not run.
fn read_pid_file(path: &str) -> Result<Option<u32>, ProbeError> {
    match fs::metadata(path) {
        Ok(meta) if meta.is_file() => {}
        Ok(_) => return Err(ProbeError::Invalid(format!("pid file {path:?} is not a regular file"))),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(ProbeError::Invalid(format!("pid file {path:?}: {e}"))),
    }
    let text = read(path, 64).ok_or_else(|| ProbeError::Invalid(format!("pid file {path:?} can't be read")))?;
    Ok(String::from_utf8_lossy(&text).split_whitespace().next().and_then(|word| word.parse().ok()))
}

fn read(path: &str, most: u64) -> Option<Vec<u8>> {
    let mut data = Vec::new();
    fs::File::open(path).ok()?.take(most).read_to_end(&mut data).ok()?;
    Some(data)
}

fn scan() -> std::io::Result<Vec<Entry>> {
    let ticks = sysconf(SysconfVar::CLK_TCK).ok().flatten().and_then(|t| u64::try_from(t).ok()).unwrap_or(100).max(1);
    let mut entries = Vec::new();
    for dir in fs::read_dir("/proc")? {
        let name = dir?.file_name();
        let Some(pid) = name.to_str().and_then(|n| n.parse::<u32>().ok()) else { continue };
        // It may be gone by now.
        let Some(stat) = read(&format!("/proc/{pid}/stat"), 4096) else { continue };
        entries.extend(parse_stat(pid, &stat, ticks));
    }
    Ok(entries)
}

/// A running process from its `/proc/PID/stat`; none for a zombie. The name may hold any byte, so it ends at the last `)`.
fn parse_stat(pid: u32, stat: &[u8], ticks: u64) -> Option<Entry> {
    let open = stat.iter().position(|b| *b == b'(')?;
    let close = stat.iter().rposition(|b| *b == b')')?;
    let comm = String::from_utf8_lossy(stat.get(open + 1..close)?).into_owned();
    let rest = String::from_utf8_lossy(stat.get(close + 1..)?).into_owned();
    let mut fields = rest.split_whitespace();
    match fields.next()? {
        "Z" | "X" | "x" => return None,
        _ => {}
    }
    // Field 22 of proc_pid_stat(5); the state is field 3.
    let started: u64 = fields.nth(18)?.parse().ok()?;
    Some(Entry { pid, comm, started: Duration::from_millis(started.saturating_mul(1000) / ticks) })
}

enum Alive {
    /// With something to watch it by, if descriptors last.
    Yes(Option<ProcessHandle>),
    No,
}

fn watch(pid: u32) -> Alive {
    let Some(raw) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Alive::No };
    match pidfd_open(raw, PidfdFlags::empty()) {
        Ok(fd) if has_ended(&fd) => Alive::No,
        Ok(fd) => Alive::Yes(Some(ProcessHandle { pid, fd })),
        Err(rustix::io::Errno::SRCH) => Alive::No,
        Err(_) => Alive::Yes(None),
    }
}

/// A pidfd is readable from the moment its process ends, also while it is a zombie.
fn has_ended(fd: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(fd, PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&now)).is_ok_and(|n| n > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER_STATE: &str = "1 2 2 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4200 1000 10";

    #[test]
    fn a_zombie_does_not_run() {
        for (state, runs) in [("S", true), ("R", true), ("D", true), ("T", true), ("Z", false), ("X", false)] {
            let stat = format!("7 (nginx) {state} {AFTER_STATE}");
            assert_eq!(parse_stat(7, stat.as_bytes(), 100).is_some(), runs, "{state}");
        }
    }

    #[test]
    fn a_name_may_hold_parentheses_and_spaces() {
        let stat = format!("7 (a) Z (b) S {AFTER_STATE}");
        let entry = parse_stat(7, stat.as_bytes(), 100).unwrap();
        assert_eq!(entry, Entry { pid: 7, comm: "a) Z (b".to_owned(), started: Duration::from_secs(42) });
    }

    #[test]
    fn garbage_in_proc_is_no_process() {
        for stat in ["", "7", "7 (x", "7 x) S", "7 (x) S 1 2", ")("] {
            assert_eq!(parse_stat(7, stat.as_bytes(), 100), None, "{stat:?}");
        }
    }

    #[test]
    fn the_program_is_the_file_name_in_the_first_word() {
        let table: [(&[u8], &str); 5] = [
            (b"/usr/sbin/nginx\0-g\0daemon off;\0", "nginx"),
            (b"nginx: master process /usr/sbin/nginx\0", "nginx"),
            (b"a-name-that-is-too-long-for-comm\0", "a-name-that-is-too-long-for-comm"),
            (b"", ""),
            (b"\0\0", ""),
        ];
        for (line, expected) in table {
            assert_eq!(program(line), expected);
        }
    }

    #[test]
    fn without_a_name_only_granted_names_are_seen() {
        let mut grants = Grants { process: ProcessGrant::Names(vec!["java".to_owned()]), ..Grants::default() };
        assert_eq!(visible(&grants, None).unwrap(), Some(vec!["java".to_owned()]));
        assert!(matches!(visible(&grants, Some("sshd")), Err(ProbeError::Denied(_))));
        grants.process = ProcessGrant::All;
        assert_eq!(visible(&grants, None).unwrap(), None);
        grants.process = ProcessGrant::None;
        assert!(matches!(visible(&grants, None), Err(ProbeError::Denied(_))));
    }
}
