//! Why a file can't be used as a plugin.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::contract::{OFFERED, PACKAGE, offered_version};

/// Why a file can't be used as a plugin. Serialisable, since the process that compiles reports it to the one that asked.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum LoadError {
    /// The file does not begin with WebAssembly's magic bytes.
    #[error("not a WebAssembly file: expected the bytes `\\0asm` at its beginning, found {found}")]
    NotWasm {
        /// The first bytes, quoted.
        found: String,
    },
    /// The file is not valid WebAssembly, whatever proposals are allowed.
    #[error("damaged or cut off: {0}")]
    Invalid(String),
    /// The file uses these proposals of WebAssembly, which the engine has switched off.
    #[error("uses {0}, which this daemon does not offer: build it without")]
    Proposals(String),
    /// The file exports nothing that a run could call.
    #[error(
        "does not export `vouchd:check/checker@{offered}`, and is no WASI command (which exports `wasi:cli/run`, or `_start` \
         as a core module); it exports {found}", offered = offered_version()
    )]
    NoChecker {
        /// The names of its exports, cut to a few.
        found: String,
    },
    /// An interface of the contract in a version that this host does not implement.
    #[error(
        "built against `{PACKAGE}{interface}` {found}, this daemon offers {offered}: rebuild the plugin with the SDK \
         of this version, or update vouchd", offered = offered_version(),
        found = if found.is_empty() { "without a version" } else { found.as_str() }
    )]
    Version {
        /// The interface, such as `http`.
        interface: String,
        /// The version that the plugin names; empty if it names none.
        found: String,
    },
    /// The file imports a name that is neither the contract's nor WASI's.
    #[error("needs `{name}`, which this daemon does not offer (it offers {PACKAGE}{{{offered}}} and WASI 0.2)", offered = OFFERED.join(","))]
    UnknownImport {
        /// The import, as `module#name` for a core module.
        name: String,
    },
    /// A core module that is a WASI command imports what only a plugin with the contract's export may.
    #[error(
        "needs `{name}`, which a WASI command is not offered (it is offered WASI preview 1, {PACKAGE}simple and {PACKAGE}log); \
         export `vouchd:check/checker@{offered}` to have more", offered = offered_version()
    )]
    NotForCommands {
        /// The import, as `module#name`.
        name: String,
    },
    /// Names are right, types or structure are not.
    #[error("does not fit the contract: {0}")]
    Contract(String),
    /// The plugin exceeds a bound that `limits.memory` raises.
    #[error("too big: {0}; raise limits.memory of the check that needs most, or fix the plugin")]
    TooBig(String),
    /// The plugin has more of something than any configuration allows.
    #[error("too big: {0}; build it with fewer")]
    TooMany(String),
    /// Instantiating the plugin failed.
    #[error("could not be started: {0}")]
    Start(String),
    /// Compiling used up its time.
    #[error("compiling took more than {seconds} s{clock}: make the plugin smaller, or its functions simpler", clock = if *cpu_time { " of CPU time" } else { "" })]
    TooSlow {
        /// The limit.
        seconds: u64,
        /// Whether CPU time ran out rather than wall-clock time.
        cpu_time: bool,
    },
    /// Compiling used up its memory.
    #[error("needs more than {mib} MiB to compile: make the plugin smaller, or its functions simpler")]
    TooHungry {
        /// The limit.
        mib: u64,
    },
    /// The compiler failed, for no reason that the file names.
    #[error("the compiler failed: {0}")]
    Compiler(CompilerFault),
    /// A panic while the file was read or compiled: a fault of vouchd or of a library.
    #[error("internal error while reading the file; please report it")]
    Panic,
    /// This host failed to load the file. That says nothing about the file, which may be tried again.
    #[error("could not be loaded: {0}")]
    Hindered(String),
    /// The caller abandoned the load.
    #[error("no longer wanted")]
    Abandoned,
}

/// How the compiler failed.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum CompilerFault {
    /// The engine that compiles could not be made.
    #[error("its engine can't start: {0}")]
    Engine(String),
    /// The native code is larger than a child may write.
    #[error("its code takes more than {mib} MiB")]
    TooMuchCode {
        /// The limit.
        mib: u64,
    },
    /// The child ended with neither code nor an error.
    #[error("it ended with {status}: {words}")]
    Died {
        /// The exit status, for people.
        status: String,
        /// The first line that it wrote to standard error.
        words: String,
    },
    /// What the compiler answered is not an artefact.
    #[error("its answer can't be read: {0}")]
    Answer(String),
    /// The engine that runs plugins rejects the code.
    #[error("{0}")]
    Rejected(String),
}

impl From<CompilerFault> for LoadError {
    fn from(fault: CompilerFault) -> Self {
        LoadError::Compiler(fault)
    }
}
