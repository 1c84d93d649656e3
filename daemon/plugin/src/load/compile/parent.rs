//! The parent's side: starts a child for one plugin, waits for it within its time, and describes how it failed.

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

use super::job::{CompileLimits, MAX_OUTPUT, OUT_OF_MEMORY, seconds};
use crate::load::{Artefact, CompilerFault, LoadError};
use crate::shortage::lacks;
use crate::text::cut;

/// Bytes that are read of a child's standard error.
const MAX_WORDS: u64 = 4096;

/// The interval at which `abandon` is checked.
const CHECK: Duration = Duration::from_millis(100);

/// The end of waiting for a child.
enum Wait {
    Exited(ExitStatus),
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
    if !matches!(ended, Ok(Wait::Exited(_))) {
        // Fails only if it has just exited.
        let _ = child.kill();
        let _ = child.wait();
    }
    match ended.map_err(failed)? {
        Wait::Exited(status) if status.success() => {
            let answer = read(&output, MAX_OUTPUT + 1).map_err(failed)?;
            Artefact::decode(answer).map_err(CompilerFault::Answer)?
        }
        Wait::Exited(status) => {
            let words = read(&words, MAX_WORDS).unwrap_or_default();
            Err(describe(status, &String::from_utf8_lossy(&words), limits))
        }
        Wait::TimedOut => Err(LoadError::TooSlow { seconds: limits.wall.as_secs(), cpu_time: false }),
        Wait::Abandoned => Err(LoadError::Abandoned),
    }
}

/// A file in memory. Unlike with pipes, neither side has to read while the other writes.
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

fn wait(child: &mut Child, limit: Duration, abandon: &AtomicBool) -> io::Result<Wait> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or_else(|| io::Error::other("no such pid"))?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    let until = Instant::now() + limit;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left.min(CHECK)).map_err(|_| io::Error::other("a time out of range"))?;
        match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&timeout)) {
            Ok(0) if abandon.load(Ordering::Relaxed) => return Ok(Wait::Abandoned),
            Ok(0) if left.is_zero() => return Ok(Wait::TimedOut),
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return Ok(Wait::Exited(child.wait()?)),
            Err(error) => return Err(error.into()),
        }
    }
}

fn describe(status: ExitStatus, words: &str, limits: CompileLimits) -> LoadError {
    let signal = status.signal().and_then(|number| Signal::try_from(number).ok());
    // The standard library aborts on these with a message and SIGABRT; there is no exit status to tell them by.
    let out_of_memory = words.contains("memory allocation of");
    match (status.code(), signal) {
        (Some(code), _) if code == i32::from(OUT_OF_MEMORY) => LoadError::TooHungry { mib: limits.memory >> 20 },
        (None, Some(Signal::SIGABRT)) if out_of_memory => LoadError::TooHungry { mib: limits.memory >> 20 },
        // The parser of interface descriptions follows a cyclic dependency without end.
        (None, Some(Signal::SIGABRT)) if words.contains("has overflowed its stack") => LoadError::Invalid(
            "reading it overflows the stack: what it describes needs itself, or nests too deeply".to_owned(),
        ),
        (None, Some(Signal::SIGXCPU)) => LoadError::TooSlow { seconds: seconds(limits.cpu), cpu_time: true },
        (None, Some(Signal::SIGXFSZ)) => CompilerFault::TooMuchCode { mib: MAX_OUTPUT >> 20 }.into(),
        // No file makes the compiler end like this.
        (None, Some(Signal::SIGKILL)) => LoadError::Hindered(
            "the compiler was killed by SIGKILL, as the kernel does when memory runs out".to_owned(),
        ),
        (None, Some(signal @ (Signal::SIGTERM | Signal::SIGINT | Signal::SIGHUP | Signal::SIGQUIT))) => {
            LoadError::Hindered(format!("the compiler was killed by {signal}"))
        }
        _ => {
            let words = words.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
            CompilerFault::Died { status: status.to_string(), words: cut(words, 200) }.into()
        }
    }
}
