//! The child's side: confines itself, reads a plugin from standard input, and writes an artefact or an error to standard
//! output.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::{getppid, gettid};
use rustix::process::{Pid, setpriority_process};

use super::job::{CompileJob, MAX_OUTPUT, OUT_OF_MEMORY};
use super::translate::{Failure, translate};
use crate::load::LoadError;
use crate::load::artefact::{Head, encode};
use crate::shortage::lacks;

/// Address space that is not memory in use: the program itself, stacks, what allocators reserve ahead.
const RESERVED: u64 = 1 << 30;

/// A child that takes longer than [`BRISK`] gets the lowest priority, so that a new plugin runs within a second even on a
/// busy machine, and a large one delays nothing else.
const LOWEST: i32 = 19;
const BRISK: Duration = Duration::from_secs(1);

/// File descriptors: enough for what the program opens by itself.
const DESCRIPTORS: u64 = 16;

/// Stack of the thread that compiles, which recurses deeply.
const STACK: usize = 16 << 20;

/// The result of [`translate`], whose thread may also have panicked.
type Answer = Result<(Head, Vec<u8>), Failure>;

/// Compiles one plugin as a child process: reads it from standard input until its end, and writes an artefact or an error to
/// standard output. Returns the exit status. Must be called before the process has a second thread.
///
/// # Errors
/// If the limits can't be set, the parent is gone, or the answer can't be written.
pub fn compile_as_child(job: CompileJob) -> io::Result<u8> {
    confine(job)?;
    match compile(job) {
        Ok(Ok(compiled)) => write(Ok(compiled)),
        Ok(Err(Failure::Load(error))) => write(Err(error)),
        Ok(Err(Failure::OutOfMemory)) => Ok(OUT_OF_MEMORY),
        // `WouldBlock`: no memory for the thread's stack.
        Err(error) if matches!(error.kind(), io::ErrorKind::OutOfMemory | io::ErrorKind::WouldBlock) => {
            Ok(OUT_OF_MEMORY)
        }
        Err(error) => match lacks(&error, "compiling") {
            Some(words) => write(Err(LoadError::Hindered(words))),
            None => Err(error),
        },
    }
}

fn write(answer: Result<(Head, Vec<u8>), LoadError>) -> io::Result<u8> {
    let answer = encode(answer).map_err(io::Error::other)?;
    // Not through another descriptor: there may be none left.
    io::stdout().lock().write_all(&answer)?;
    io::stdout().lock().flush()?;
    Ok(0)
}

fn compile(job: CompileJob) -> io::Result<Answer> {
    let mut bytes = Vec::new();
    // Not through `Stdin`, which has a buffer of its own.
    File::from(io::stdin().as_fd().try_clone_to_owned()?).read_to_end(&mut bytes)?;
    let (sender, steps) = mpsc::channel();
    let work = move || {
        // The receiver outlives this thread. Dropping the sender at the end reports that the work is done.
        let _ = sender.send(gettid());
        translate(job.max_memory, &bytes)
    };
    let worker = std::thread::Builder::new().name("compile".to_owned()).stack_size(STACK).spawn(work)?;
    if let Ok(thread) = steps.recv()
        && steps.recv_timeout(BRISK) == Err(RecvTimeoutError::Timeout)
    {
        // Fails only if the thread has just ended.
        let _ = setpriority_process(Pid::from_raw(thread.as_raw()), LOWEST);
    }
    Ok(worker.join().unwrap_or_else(|_| Err(LoadError::Panic.into())))
}

/// Gives up every privilege and resource that compiling does not need.
fn confine(job: CompileJob) -> io::Result<()> {
    prctl::set_no_new_privs()?;
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    if i64::from(getppid().as_raw()) != i64::from(job.parent) {
        return Err(io::Error::other("the parent process is gone"));
    }
    for (resource, limit) in [
        (Resource::RLIMIT_CORE, 0),
        (Resource::RLIMIT_NOFILE, DESCRIPTORS),
        (Resource::RLIMIT_FSIZE, MAX_OUTPUT),
        (Resource::RLIMIT_DATA, job.memory),
        (Resource::RLIMIT_AS, job.memory.saturating_add(RESERVED)),
    ] {
        at_most(resource, limit, limit)?;
    }
    // SIGXCPU at the soft limit, by which the parent recognises it; SIGKILL at the hard one.
    at_most(Resource::RLIMIT_CPU, job.cpu, job.cpu + 1)?;
    // The first process to kill when the machine runs out of memory. Not every environment permits this.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    prctl::set_dumpable(false)?;
    Ok(())
}

/// Lowers a limit to at most `soft` and `hard`. Never raises the hard limit, which needs a privilege.
fn at_most(resource: Resource, soft: u64, hard: u64) -> nix::Result<()> {
    let (_, most) = getrlimit(resource)?;
    setrlimit(resource, soft.min(most), hard.min(most))
}
