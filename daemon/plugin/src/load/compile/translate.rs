//! WebAssembly to native code, in this process.

use nix::errno::Errno;
use wasmtime::{Engine, OutOfMemory};

use crate::engine;
use crate::load::artefact::{Form, Head};
use crate::load::kind::{Code, prepare};
use crate::load::metadata::metadata;
use crate::load::{CompilerFault, LoadError, proposals};
use crate::shortage::errno_behind;
use crate::text::line;

/// Why there is no native code.
#[derive(Debug)]
pub(super) enum Failure {
    /// This process is out of memory.
    OutOfMemory,
    Load(LoadError),
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        Failure::Load(error)
    }
}

/// Compiles for engines that run plugins with up to `max_memory` bytes of linear memory.
pub(super) fn translate(max_memory: u64, bytes: &[u8]) -> Result<(Head, Vec<u8>), Failure> {
    let engine = engine::for_compiling(max_memory)
        .map_err(|e| or_out_of_memory(&e, || CompilerFault::Engine(format!("{e:#}")).into()))?;
    attempt(&engine, bytes).map_err(|failure| match failure {
        // A proposal that is not offered is the reason behind whatever error it led to.
        Failure::Load(error) => proposals::not_offered(bytes).map_or(error, LoadError::Proposals).into(),
        Failure::OutOfMemory => failure,
    })
}

fn attempt(engine: &Engine, bytes: &[u8]) -> Result<(Head, Vec<u8>), Failure> {
    let (kind, code) = prepare(bytes)?;
    let (form, code) = match code {
        Code::Component(bytes) => (Form::Component, engine.precompile_component(&bytes)),
        Code::Module(bytes) => (Form::Module, engine.precompile_module(&bytes)),
    };
    let code = code.map_err(|e| or_out_of_memory(&e, || LoadError::Invalid(line(&e))))?;
    Ok((Head { kind, form, metadata: metadata(bytes) }, code))
}

fn or_out_of_memory(error: &wasmtime::Error, otherwise: impl FnOnce() -> LoadError) -> Failure {
    if error.is::<OutOfMemory>() || errno_behind(error) == Some(Errno::ENOMEM) {
        Failure::OutOfMemory
    } else {
        Failure::Load(otherwise())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lack_of_memory_is_told_from_other_errors_by_its_type() {
        let invalid = || LoadError::Invalid(String::new());
        let is_memory = |error: &wasmtime::Error| matches!(or_out_of_memory(error, invalid), Failure::OutOfMemory);
        assert!(is_memory(&wasmtime::Error::from(rustix::io::Errno::NOMEM).context("mmap failed")));
        assert!(is_memory(&wasmtime::Error::from(std::io::Error::from(Errno::ENOMEM)).context("reading")));
        assert!(is_memory(&OutOfMemory::new(16).into()));
        assert!(!is_memory(&wasmtime::Error::from(rustix::io::Errno::MFILE)));
        assert!(!is_memory(&wasmtime::Error::msg("out of memory, says the file")));
    }
}
