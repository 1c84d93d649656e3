//! Reads the running processes from `/proc`.

use std::fs;
use std::io::{self, Read};
use std::time::Duration;

use nix::errno::Errno;
use nix::unistd::{SysconfVar, sysconf};

/// A running process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) pid: u32,
    pub(super) parent: u32,
    pub(super) comm: String,
    /// Time between boot and its start.
    pub(super) started: Duration,
}

/// The processes that were readable.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) entries: Vec<Entry>,
    /// Whether others may not be read.
    pub(super) has_hidden: bool,
}

pub(super) fn scan() -> Result<Seen, Errno> {
    let ticks = sysconf(SysconfVar::CLK_TCK).ok().flatten().and_then(|t| u64::try_from(t).ok()).unwrap_or(100).max(1);
    let mut seen = Seen::default();
    for dir in fs::read_dir("/proc").map_err(|error| errno(&error))? {
        let name = dir.map_err(|error| errno(&error))?.file_name();
        let Some(pid) = name.to_str().and_then(|n| n.parse::<u32>().ok()) else { continue };
        match look(&format!("/proc/{pid}/stat"), 4096) {
            Ok(Some(stat)) => seen.entries.extend(parse_stat(pid, &stat, ticks)),
            // It has ended meanwhile.
            Ok(None) => {}
            Err(Errno::EACCES | Errno::EPERM) => seen.has_hidden = true,
            Err(errno) => return Err(errno),
        }
    }
    Ok(seen)
}

/// Reads the beginning of a file in `/proc`; `None` if its process is gone.
pub(super) fn look(path: &str, most: usize) -> Result<Option<Vec<u8>>, Errno> {
    let mut data = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(most as u64).read_to_end(&mut data));
    match read.map_err(|error| errno(&error)) {
        Ok(_) => Ok(Some(data)),
        Err(Errno::ENOENT | Errno::ESRCH | Errno::ENOTDIR) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn errno(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

/// Parses `/proc/PID/stat`; `None` for a zombie. The name may contain any byte, so it ends at the last `)`.
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
    // Fields 4 and 22 of proc_pid_stat(5); the state is field 3.
    let parent = fields.next()?.parse().ok()?;
    let started: u64 = fields.nth(17)?.parse().ok()?;
    Some(Entry { pid, parent, comm, started: Duration::from_millis(started.saturating_mul(1000) / ticks) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER_STATE: &str = "1 2 2 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4200 1000 10";

    #[test]
    fn zombie_does_not_run() {
        for (state, runs) in [("S", true), ("R", true), ("D", true), ("T", true), ("Z", false), ("X", false)] {
            let stat = format!("7 (nginx) {state} {AFTER_STATE}");
            assert_eq!(parse_stat(7, stat.as_bytes(), 100).is_some(), runs, "{state}");
        }
    }

    #[test]
    fn name_may_contain_parentheses_and_spaces() {
        let stat = format!("7 (a) Z (b) S {AFTER_STATE}");
        let entry = parse_stat(7, stat.as_bytes(), 100).unwrap();
        assert_eq!(entry, Entry { pid: 7, parent: 1, comm: "a) Z (b".to_owned(), started: Duration::from_secs(42) });
    }

    #[test]
    fn garbage_in_proc_is_no_process() {
        for stat in ["", "7", "7 (x", "7 x) S", "7 (x) S 1 2", ")("] {
            assert_eq!(parse_stat(7, stat.as_bytes(), 100), None, "{stat:?}");
        }
    }
}
