//! The process probe: reads `/proc`, and returns a pidfd of each process that it found, so that its end is noticed at once.
//!
//! Runs at the same moment share one snapshot. The pidfd shows a process that has ended since, so a shared snapshot never
//! reports a dead process as alive.

mod scan;
mod visibility;

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use nix::unistd::User;
use regex::{Regex, RegexBuilder};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use vouchd_config::Grants;
use vouchd_config::grants::ProcessGrant;

use super::bounds::too_many_bytes;
use super::error::of_host;
use super::files;
use crate::contract::ProbeError;
use crate::contract::process::{Info, Query};
use scan::{Entry, look};

/// How long a snapshot is shared. A process that starts later is missed for that long.
const SNAPSHOT_AGE: Duration = Duration::from_millis(20);

/// Bytes of a process's name that the kernel keeps.
const COMM_LEN: usize = 15;

/// Bytes that each process in the answer counts for, of those that a probe may carry.
const BYTES_EACH: usize = 64;

/// Most pidfds of one answer: each takes a descriptor until the check's next run.
const MAX_HANDLES: usize = 32;

/// A process that a run found.
#[derive(Debug)]
pub struct ProcessHandle {
    /// The process's id in the checker's PID namespace.
    pub pid: u32,
    /// A pidfd: becomes readable when the process ends.
    pub fd: OwnedFd,
}

/// The shared snapshot.
#[derive(Default)]
pub(crate) struct Processes {
    latest: Mutex<Option<(Instant, Arc<Snapshot>)>>,
}

/// The contents of `/proc`.
struct Snapshot {
    /// Without this daemon's own: a check is never about itself.
    entries: Vec<Entry>,
    /// Why there may be processes that are not in `entries`.
    blind: Option<String>,
}

impl Processes {
    /// Finds processes. Blocks while it reads `/proc` and the pid file. Reads and returns at most `bound` bytes.
    pub(crate) fn find(
        &self,
        grants: &Grants,
        query: &Query,
        bound: usize,
    ) -> Result<(Vec<Info>, Vec<ProcessHandle>), ProbeError> {
        if query.name.is_none() && query.cmdline.is_none() && query.pid_file.is_none() {
            return Err(ProbeError::Invalid("look for which process? expected a name, cmdline or pid-file".to_owned()));
        }
        let visible = visible(grants, query.name.as_deref())?;
        let pattern = query.cmdline.as_deref().map(compile).transpose()?;
        let owner = query.user.as_deref().map(owner).transpose()?;
        let pid = match query.pid_file.as_deref().map(|path| pid_in(grants, path, bound)).transpose()? {
            None => None,
            Some(Some(pid)) => Some(pid),
            Some(None) => return Ok((Vec::new(), Vec::new())),
        };
        let snapshot = self.snapshot()?;
        let fits = |entry: &Entry| -> Result<bool, ProbeError> {
            Ok(pid.is_none_or(|pid| entry.pid == pid)
                && is_one_of(entry, visible.as_deref())?
                && match owner {
                    Some(uid) => effective_uid(entry.pid)? == Some(uid),
                    None => true,
                }
                && match &pattern {
                    Some(pattern) => command_line(entry.pid, bound)?.is_some_and(|line| pattern.is_match(&line)),
                    None => true,
                })
        };
        let most = bound / BYTES_EACH;
        let now = clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from);
        let mut found = Vec::new();
        let mut handles = Vec::new();
        for entry in by_name(&snapshot.entries, query.name.as_deref())? {
            if !fits(entry)? {
                continue;
            }
            match watch(entry.pid) {
                Alive::Yes(handle) => handles.extend(handle.filter(|_| handles.len() < MAX_HANDLES)),
                Alive::No => continue,
            }
            // A cut count would be a wrong one.
            if found.len() >= most {
                return Err(too_many_bytes(bound));
            }
            let age = now.saturating_sub(entry.started);
            found.push(Info {
                pid: entry.pid,
                name: entry.comm.clone(),
                age_ms: u64::try_from(age.as_millis()).unwrap_or(u64::MAX),
            });
        }
        match &snapshot.blind {
            // The process that was asked for is there: others don't matter.
            Some(_) if pid.is_some() && !found.is_empty() => Ok((found, handles)),
            Some(why) => Err(ProbeError::Unable(why.clone())),
            None => Ok((found, handles)),
        }
    }

    fn snapshot(&self) -> Result<Arc<Snapshot>, ProbeError> {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((taken, snapshot)) = latest.as_ref()
            && taken.elapsed() < SNAPSHOT_AGE
        {
            return Ok(Arc::clone(snapshot));
        }
        let seen = scan::scan().map_err(|errno| of_host(errno, "reading /proc"))?;
        let own = visibility::own(&seen.entries, std::process::id());
        let blind = visibility::blindness(&seen, &own);
        let entries = seen.entries.into_iter().filter(|entry| !own.contains(&entry.pid)).collect();
        let snapshot = Arc::new(Snapshot { entries, blind });
        *latest = Some((Instant::now(), Arc::clone(&snapshot)));
        Ok(snapshot)
    }
}

/// The granted names to search among; `None` for all processes.
fn visible(grants: &Grants, name: Option<&str>) -> Result<Option<Vec<String>>, ProbeError> {
    let denied = |refusal: vouchd_config::grants::Refusal| ProbeError::Denied(refusal.to_string());
    match (name, &grants.process) {
        (Some(name), _) => grants.permits_process(name).map(|()| None).map_err(denied),
        (None, ProcessGrant::Names(names)) if !names.is_empty() => Ok(Some(names.clone())),
        (None, _) => grants.permits_all_processes().map(|()| None).map_err(denied),
    }
}

/// The processes with this `comm`; if none has it, those whose command line begins with a program of that name.
fn by_name<'a>(entries: &'a [Entry], name: Option<&str>) -> Result<Vec<&'a Entry>, ProbeError> {
    let Some(name) = name else { return Ok(entries.iter().collect()) };
    let exact: Vec<_> = entries.iter().filter(|e| e.comm == name).collect();
    if !exact.is_empty() {
        return Ok(exact);
    }
    let mut found = Vec::new();
    for entry in entries {
        if program_is(entry.pid, name)? {
            found.push(entry);
        }
    }
    Ok(found)
}

/// Whether the process has one of the names; always if `names` is `None`.
fn is_one_of(entry: &Entry, names: Option<&[String]>) -> Result<bool, ProbeError> {
    let Some(names) = names else { return Ok(true) };
    for name in names {
        if entry.comm == *name || (name.len() > COMM_LEN && program_is(entry.pid, name)?) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn program_is(pid: u32, name: &str) -> Result<bool, ProbeError> {
    Ok(of_process(pid, "cmdline", 4096)?.is_some_and(|line| program(&line) == name))
}

/// Reads a file of the process in `/proc`; `None` if the process is gone.
fn of_process(pid: u32, file: &str, most: usize) -> Result<Option<Vec<u8>>, ProbeError> {
    let path = format!("/proc/{pid}/{file}");
    look(&path, most).map_err(|errno| of_host(errno, &format!("reading {path}")))
}

/// The file name of the program in a raw command line.
fn program(cmdline: &[u8]) -> String {
    let first = cmdline.split(|b| *b == 0).next().unwrap_or_default();
    let first = String::from_utf8_lossy(first);
    // Programs that set their title put a sentence there: "nginx: master process /usr/sbin/nginx".
    let word = first.split_whitespace().next().unwrap_or_default().trim_end_matches(':');
    word.rsplit('/').next().unwrap_or_default().to_owned()
}

/// The words of a command line, separated by single spaces; `None` if the process is gone.
fn command_line(pid: u32, bound: usize) -> Result<Option<String>, ProbeError> {
    let Some(raw) = of_process(pid, "cmdline", bound.saturating_add(1))? else { return Ok(None) };
    if raw.len() > bound {
        return Err(too_many_bytes(bound));
    }
    let words: Vec<_> = raw.split(|b| *b == 0).filter(|w| !w.is_empty()).map(String::from_utf8_lossy).collect();
    Ok(Some(words.join(" ")))
}

fn effective_uid(pid: u32) -> Result<Option<u32>, ProbeError> {
    let Some(status) = of_process(pid, "status", 4096)? else { return Ok(None) };
    let status = String::from_utf8_lossy(&status);
    let uid = status.lines().find_map(|l| l.strip_prefix("Uid:")).and_then(|l| l.split_whitespace().nth(1));
    Ok(uid.and_then(|uid| uid.parse().ok()))
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
        Ok(None) => Err(ProbeError::Invalid(format!("user {user:?}: this machine has no such user"))),
        Err(errno) => Err(of_host(errno, &format!("looking up the user {user:?}"))),
    }
}

/// The pid in a file; `None` if there is no such file or no number in it: the process does not run.
fn pid_in(grants: &Grants, path: &str, bound: usize) -> Result<Option<u32>, ProbeError> {
    let text = files::read(grants, path, usize::MAX, bound, None)?.unwrap_or_default();
    Ok(String::from_utf8_lossy(&text).split_whitespace().next().and_then(|word| word.parse().ok()))
}

enum Alive {
    /// With a pidfd, if a descriptor was left.
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

/// Whether the process has ended, be it still a zombie: then its pidfd is readable.
fn has_ended(fd: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(fd, PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&now)).is_ok_and(|n| n > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_is_the_file_name_in_the_first_word() {
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
    fn query_without_a_name_sees_only_granted_names() {
        let mut grants = Grants { process: ProcessGrant::Names(vec!["java".to_owned()]), ..Grants::default() };
        assert_eq!(visible(&grants, None).unwrap(), Some(vec!["java".to_owned()]));
        assert!(matches!(visible(&grants, Some("sshd")), Err(ProbeError::Denied(_))));
        grants.process = ProcessGrant::All;
        assert_eq!(visible(&grants, None).unwrap(), None);
        grants.process = ProcessGrant::None;
        assert!(matches!(visible(&grants, None), Err(ProbeError::Denied(_))));
    }
}
