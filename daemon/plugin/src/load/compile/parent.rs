//! The parent's side: starts a child for one plugin, waits for it no longer than it may take, and says in words how it
//! failed.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::Signal;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::child::{MAX_OUTPUT, OUT_OF_MEMORY, seconds};
use super::{Artefact, CompileLimits};
use crate::load::LoadError;
use crate::shortage::lacks;
use crate::text::cut;

/// What is read of a child's last words.
const MAX_WORDS: u64 = 4096;

/// How often to look whether the result is still wanted.
const LOOK: Duration = Duration::from_millis(100);

/// How a child came to its end.
enum Ended {
    ByItself(ExitStatus),
    TimedOut,
    Abandoned,
}

pub(super) fn compile(
    program: &Path,
    limits: CompileLimits,
    max_memory: u64,
    bytes: &[u8],
    abandon: &AtomicBool,
) -> Result<Artefact, LoadError> {
    let failed = |e: io::Error| {
        let words = lacks(&e, "starting the compiler");
        LoadError::Hindered(words.unwrap_or_else(|| format!("the compiler can't be started: {e}")))
    };
    let input = memory_file(bytes).map_err(failed)?;
    let output = memory_file(b"").map_err(failed)?;
    let words = memory_file(b"").map_err(failed)?;
    let mut child = start(program, limits, max_memory, [&input, &output, &words]).map_err(failed)?;
    let ended = wait(&mut child, limits.wall, abandon);
    if !matches!(ended, Ok(Ended::ByItself(_))) {
        // Fails only when it has just ended.
        let _ = child.kill();
        let _ = child.wait();
    }
    match ended.map_err(failed)? {
        Ended::ByItself(status) if status.success() => {
            let answer = read(&output, MAX_OUTPUT + 1).map_err(failed)?;
            Artefact::decode(answer).map_err(|e| LoadError::Compiler(format!("its answer can't be read: {e}")))?
        }
        Ended::ByItself(status) => {
            let words = read(&words, MAX_WORDS).unwrap_or_default();
            Err(describe(status, &String::from_utf8_lossy(&words), limits))
        }
        Ended::TimedOut => Err(LoadError::TooSlow { seconds: limits.wall.as_secs(), what: String::new() }),
        Ended::Abandoned => Err(LoadError::Abandoned),
    }
}

/// Through files in memory nobody has to read while somebody else writes.
fn memory_file(bytes: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create(c"vouchd-compile", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(bytes)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(file)
}

fn read(mut file: &File, limit: u64) -> io::Result<Vec<u8>> {
    let length = file.metadata()?.len().min(limit);
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    file.seek(SeekFrom::Start(0))?;
    file.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn start(program: &Path, limits: CompileLimits, max_memory: u64, files: [&File; 3]) -> io::Result<Child> {
    let [input, output, words] = files;
    Command::new(program)
        .arg0("vouchd")
        .arg("compile")
        .args(["--parent", &std::process::id().to_string()])
        .args(["--max-memory", &max_memory.to_string()])
        .args(["--memory", &limits.memory.to_string()])
        .args(["--cpu", &seconds(limits.cpu).to_string()])
        .env_clear()
        .stdin(Stdio::from(input.try_clone()?))
        .stdout(Stdio::from(output.try_clone()?))
        .stderr(Stdio::from(words.try_clone()?))
        .spawn()
}

fn wait(child: &mut Child, limit: Duration, abandon: &AtomicBool) -> io::Result<Ended> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or_else(|| io::Error::other("no such pid"))?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    let until = Instant::now() + limit;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left.min(LOOK)).map_err(|_| io::Error::other("a time out of range"))?;
        match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&timeout)) {
            Ok(0) if abandon.load(Ordering::Relaxed) => return Ok(Ended::Abandoned),
            Ok(0) if left.is_zero() => return Ok(Ended::TimedOut),
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return Ok(Ended::ByItself(child.wait()?)),
            Err(error) => return Err(error.into()),
        }
    }
}

fn describe(status: ExitStatus, words: &str, limits: CompileLimits) -> LoadError {
    let signal = status.signal().and_then(|number| Signal::try_from(number).ok());
    // What the standard library says before it aborts.
    let out_of_memory = words.contains("memory allocation of");
    match (status.code(), signal) {
        (Some(code), _) if code == i32::from(OUT_OF_MEMORY) => LoadError::TooHungry { mib: limits.memory >> 20 },
        (None, Some(Signal::SIGABRT)) if out_of_memory => LoadError::TooHungry { mib: limits.memory >> 20 },
        // Also what the standard library says. What reads a description of interfaces follows what needs itself without end.
        (None, Some(Signal::SIGABRT)) if words.contains("has overflowed its stack") => LoadError::Invalid(
            "reading it takes more stack than there is: what it describes needs itself, or nests too deeply".to_owned(),
        ),
        (None, Some(Signal::SIGXCPU)) => {
            LoadError::TooSlow { seconds: seconds(limits.cpu), what: " of CPU time".to_owned() }
        }
        (None, Some(Signal::SIGXFSZ)) => {
            LoadError::Compiler(format!("its code takes more than {} MiB", MAX_OUTPUT >> 20))
        }
        // Nothing that a file makes the compiler do ends like this.
        (None, Some(Signal::SIGKILL)) => LoadError::Hindered(
            "the compiler was killed by SIGKILL, as the kernel does when memory runs out".to_owned(),
        ),
        (None, Some(signal @ (Signal::SIGTERM | Signal::SIGINT | Signal::SIGHUP | Signal::SIGQUIT))) => {
            LoadError::Hindered(format!("the compiler was killed by {signal}"))
        }
        _ => {
            let words = words.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
            LoadError::Compiler(cut(&format!("it ended with {status}: {words}"), 300))
        }
    }
}
