//! The child's side: gives itself its limits, then reads a plugin from its standard input and writes what became of it to
//! its standard output.

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

use super::{Head, compile_with, encode};
use crate::engine;
use crate::load::LoadError;
use crate::shortage::lacks;

/// Most bytes that the child may write to one file: an artefact has three to four times the size of its plugin.
pub(super) const MAX_OUTPUT: u64 = 512 << 20;

/// Address space that is not memory in use: the program itself, stacks, what allocators reserve ahead.
const RESERVED: u64 = 1 << 30;

/// A new plugin is to run within a second also on a busy machine, so only what takes longer than that has to wait for
/// everything else.
const LOWEST: i32 = 19;
const BRISK: Duration = Duration::from_secs(1);

/// Enough for what the program opens by itself.
const DESCRIPTORS: u64 = 16;

/// Compiling is deep.
const STACK: usize = 16 << 20;

/// What a child that is out of memory ends with: it may not be able to say more.
pub(super) const OUT_OF_MEMORY: u8 = 77;

/// Arguments of the child, as its parent gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompileJob {
    /// The process that has started the child: it does not outlive it.
    pub parent: u32,
    /// The largest `limits.memory` of the plugins in bytes: it shows in the code.
    pub max_memory: u64,
    /// Memory for compiling in bytes.
    pub memory: u64,
    /// CPU time in seconds.
    pub cpu: u64,
}

/// The whole life of a child that compiles: reads a plugin from standard input until its end, writes the answer to standard
/// output. Gives the exit status. To be called before there is a second thread.
///
/// # Errors
/// When the limits can't be set, or the parent is gone.
pub fn compile_as_child(job: CompileJob) -> io::Result<u8> {
    confine(job)?;
    match answer(job) {
        Ok(Err(error)) if is_out_of_memory(&error.to_string()) => Ok(OUT_OF_MEMORY),
        Err(error) if matches!(error.kind(), io::ErrorKind::OutOfMemory | io::ErrorKind::WouldBlock) => {
            Ok(OUT_OF_MEMORY)
        }
        Ok(answer) => write(answer),
        Err(error) => match lacks(&error, "compiling") {
            Some(words) => write(Err(LoadError::Hindered(words))),
            None => Err(error),
        },
    }
}

fn write(answer: Result<(Head, Vec<u8>), LoadError>) -> io::Result<u8> {
    let answer = encode(answer).map_err(io::Error::other)?;
    // Not another descriptor: there may be none left.
    io::stdout().lock().write_all(&answer)?;
    io::stdout().lock().flush()?;
    Ok(0)
}

/// Out of memory: also `WouldBlock`, where there is none for another thread's stack.
fn answer(job: CompileJob) -> io::Result<Result<(Head, Vec<u8>), LoadError>> {
    let mut bytes = Vec::new();
    // Not through `Stdin`, which has a buffer of its own.
    File::from(io::stdin().as_fd().try_clone_to_owned()?).read_to_end(&mut bytes)?;
    let (sender, steps) = mpsc::channel();
    let work = move || {
        // Nobody who listens is gone before this has ended. Dropped at the end, the channel says that.
        let _ = sender.send(gettid());
        let engine = engine::for_compiling(job.max_memory).map_err(|e| LoadError::Compiler(format!("{e:#}")))?;
        compile_with(&engine, &bytes)
    };
    let worker = std::thread::Builder::new().name("compile".to_owned()).stack_size(STACK).spawn(work)?;
    if let Ok(thread) = steps.recv()
        && steps.recv_timeout(BRISK) == Err(RecvTimeoutError::Timeout)
    {
        // It has ended just now if this fails.
        let _ = setpriority_process(Pid::from_raw(thread.as_raw()), LOWEST);
    }
    Ok(worker.join().unwrap_or_else(|_| Err(LoadError::Compiler("it gave up on the file".to_owned()))))
}

fn is_out_of_memory(text: &str) -> bool {
    ["Cannot allocate memory", "out of memory"].iter().any(|words| text.contains(words))
}

/// Takes away from this process what compiling does not need.
fn confine(job: CompileJob) -> io::Result<()> {
    prctl::set_no_new_privs()?;
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    if i64::from(getppid().as_raw()) != i64::from(job.parent) {
        return Err(io::Error::other("the process that wanted something compiled is gone"));
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
    // At the lower one comes SIGXCPU, by which the parent knows; at the upper one SIGKILL.
    at_most(Resource::RLIMIT_CPU, job.cpu, job.cpu + 1)?;
    // If the machine runs out of memory, this is what it can do without; not everywhere may that be said.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    prctl::set_dumpable(false)?;
    Ok(())
}

/// Sets a limit, but none above the one that there is: nobody but root may do that.
fn at_most(resource: Resource, soft: u64, hard: u64) -> nix::Result<()> {
    let (_, most) = getrlimit(resource)?;
    setrlimit(resource, soft.min(most), hard.min(most))
}

/// For [`CompileJob::cpu`]: whole seconds, at least one.
pub(super) fn seconds(time: Duration) -> u64 {
    time.as_secs().max(1)
}
