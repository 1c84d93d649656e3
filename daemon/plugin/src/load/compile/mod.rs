//! A plugin's bytes to native code, apart from the process that runs it.
//!
//! Compiling is where a file can do most harm before anything of it has run: it can take minutes, gigabytes, or hit a bug
//! of the compiler. So the daemon has it done by a child process ([`child`]) that has limits of its own and may be killed
//! ([`parent`]); what comes back is an [`Artefact`], which is also what the [cache](crate::load::cache) keeps.

pub(crate) mod child;
pub(crate) mod parent;

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wasmtime::Engine;

use crate::engine;
use crate::load::proposals;
use crate::load::{self, Code, Kind, LoadError, Metadata};
use crate::text::line;

/// Who compiles.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Compiler {
    /// This process. For tests: a file can make it grow, hang and crash.
    #[default]
    Here,
    /// A program, started for each plugin as `compile` (which is to call [`compile_as_child`](crate::compile_as_child)).
    Child { program: PathBuf, limits: CompileLimits },
}

impl Compiler {
    /// This same program, with the usual limits.
    pub fn own_child() -> Self {
        Compiler::Child { program: "/proc/self/exe".into(), limits: CompileLimits::default() }
    }
}

/// What compiling one plugin may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompileLimits {
    /// CPU time, in whole seconds.
    pub cpu: Duration,
    /// Wall-clock time: the child soon has the lowest priority, and may have to wait for the machine.
    pub wall: Duration,
    /// Memory in bytes.
    pub memory: u64,
}

impl Default for CompileLimits {
    /// More than twice what the largest interpreter that is known to come as a plugin needs (Python, 19 MB): 400 MB and 20 s.
    fn default() -> Self {
        CompileLimits { cpu: Duration::from_secs(60), wall: Duration::from_secs(180), memory: 1 << 30 }
    }
}

/// What the native code is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Form {
    Component,
    Core,
}

/// What is known of an artefact beside its code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    pub(crate) kind: Kind,
    pub(crate) form: Form,
    pub(crate) metadata: Metadata,
}

/// A compiled plugin.
#[derive(Debug)]
pub(crate) struct Artefact {
    pub(crate) head: Head,
    /// As it is written: the length of the head, the head as JSON, native code.
    bytes: Vec<u8>,
    code_at: usize,
}

impl Artefact {
    /// What wasmtime made, to be given to an engine with the same settings.
    pub(crate) fn code(&self) -> &[u8] {
        &self.bytes[self.code_at..]
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Reads what [`encode`] wrote: the artefact, or why there is none. `Err` if it is neither.
    pub(crate) fn decode(bytes: Vec<u8>) -> Result<Result<Self, LoadError>, String> {
        let length = bytes.first_chunk().map(|length| u32::from_le_bytes(*length)).ok_or("it is empty")?;
        let code_at = 4 + length as usize;
        let head = bytes.get(4..code_at).ok_or("it is cut off")?;
        let head: Result<Head, LoadError> = serde_json::from_slice(head).map_err(|e| e.to_string())?;
        Ok(head.map(|head| Artefact { head, bytes, code_at }))
    }
}

/// An answer as it goes from the child to its parent, and as an artefact is kept.
fn encode(answer: Result<(Head, Vec<u8>), LoadError>) -> Result<Vec<u8>, serde_json::Error> {
    let (head, code) = match answer {
        Ok((head, code)) => (Ok(head), code),
        Err(error) => (Err(error), Vec::new()),
    };
    let head = serde_json::to_vec::<Result<Head, LoadError>>(&head)?;
    let length = u32::try_from(head.len()).unwrap_or(u32::MAX);
    Ok([&length.to_le_bytes(), head.as_slice(), code.as_slice()].concat())
}

/// Compiles for engines that run plugins with up to `max_memory` bytes, as `compiler` says. Ends early with
/// [`LoadError::Abandoned`] when `abandon` becomes true.
pub(crate) fn compile(
    compiler: &Compiler,
    max_memory: u64,
    bytes: &[u8],
    abandon: &AtomicBool,
) -> Result<Artefact, LoadError> {
    match compiler {
        Compiler::Child { program, limits } => parent::compile(program, *limits, max_memory, bytes, abandon),
        Compiler::Here => {
            let engine = engine::for_compiling(max_memory).map_err(|e| LoadError::Compiler(format!("{e:#}")))?;
            let answer = encode(compile_with(&engine, bytes)).map_err(|e| LoadError::Compiler(e.to_string()))?;
            Artefact::decode(answer).map_err(LoadError::Compiler)?
        }
    }
}

fn compile_with(engine: &Engine, bytes: &[u8]) -> Result<(Head, Vec<u8>), LoadError> {
    // What a file uses that is not offered is the reason behind whatever became of it.
    attempt(engine, bytes).map_err(|error| proposals::not_offered(bytes).map_or(error, LoadError::Proposals))
}

fn attempt(engine: &Engine, bytes: &[u8]) -> Result<(Head, Vec<u8>), LoadError> {
    let (kind, code) = load::prepare(bytes)?;
    let (form, code) = match code {
        Code::Component(bytes) => (Form::Component, engine.precompile_component(&bytes)),
        Code::Core(bytes) => (Form::Core, engine.precompile_module(&bytes)),
    };
    let code = code.map_err(|e| LoadError::Invalid(line(e)))?;
    Ok((Head { kind, form, metadata: load::metadata(bytes) }, code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_as_it_was_written() {
        let head = Head { kind: Kind::Command, form: Form::Core, metadata: Metadata::default() };
        let bytes = encode(Ok((head.clone(), b"code".to_vec()))).unwrap();
        let artefact = Artefact::decode(bytes.clone()).unwrap().unwrap();
        assert_eq!((&artefact.head, artefact.code(), artefact.bytes()), (&head, b"code".as_slice(), bytes.as_slice()));
        let error = LoadError::NotWasm { found: "text".to_owned() };
        assert_eq!(Artefact::decode(encode(Err(error.clone())).unwrap()).unwrap().unwrap_err(), error);
    }

    #[test]
    fn what_is_no_answer_is_not_taken_for_one() {
        for bytes in [b"".as_slice(), b"\x01", b"\xff\xff\xff\xff{}", b"\x02\0\0\0{}code"] {
            assert!(Artefact::decode(bytes.to_vec()).is_err(), "{bytes:?}");
        }
    }
}
