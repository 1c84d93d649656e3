//! From a plugin's bytes to native code, apart from the process that runs it.
//!
//! Compiling is where a file can do most harm before anything of it has run: it can take minutes or gigabytes, or hit a bug
//! of the compiler. So the daemon lets a [`child`] process compile, which has limits of its own and can be killed by its
//! [`parent`]. The result is an [`Artefact`], which the cache keeps too.

pub(crate) mod child;
pub(crate) mod job;
mod parent;
mod translate;

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use nix::errno::Errno;

use super::artefact::encode;
use super::{Artefact, CompilerFault, LoadError};
use crate::shortage::lacking;
use job::CompileLimits;
use translate::{Failure, translate};

/// Where plugins are compiled.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Compiler {
    /// In this process. For tests: a file can make it grow, hang or crash.
    #[default]
    Here,
    /// In a child process for each plugin.
    Child {
        /// Started with the argument `compile`, on which it has to call [`compile_as_child`](crate::compile_as_child).
        program: PathBuf,
        /// What each child may take.
        limits: CompileLimits,
    },
}

impl Compiler {
    /// A child of this same program, with the default limits.
    pub fn own_child() -> Self {
        Compiler::Child { program: "/proc/self/exe".into(), limits: CompileLimits::default() }
    }
}

/// Compiles for engines that run plugins with up to `max_memory` bytes. Ends early with [`LoadError::Abandoned`] when
/// `abandon` becomes true, unless this process compiles.
pub(crate) fn compile(
    compiler: &Compiler,
    max_memory: u64,
    bytes: &[u8],
    abandon: &AtomicBool,
) -> Result<Artefact, LoadError> {
    match compiler {
        Compiler::Child { program, limits } => parent::compile(program, *limits, max_memory, bytes, abandon),
        Compiler::Here => {
            let answer = translate(max_memory, bytes).map_err(|failure| match failure {
                Failure::Load(error) => error,
                Failure::OutOfMemory => LoadError::Hindered(lacking(Errno::ENOMEM, "compiling").unwrap_or_default()),
            });
            let answer = encode(answer).map_err(|e| CompilerFault::Answer(e.to_string()))?;
            Artefact::decode(answer).map_err(CompilerFault::Answer)?
        }
    }
}
