//! The WebAssembly host for check plugins: loads `.wasm` files and runs them. Each run has a fresh instance that can reach
//! only what the check was granted and use only what its limits allow.
//!
//! ```no_run
//! # async fn example(bytes: Vec<u8>, check: vouchd_config::Check) -> Result<(), Box<dyn std::error::Error>> {
//! use vouchd_plugin::{Host, HostSettings, Run};
//!
//! let host = Host::new(HostSettings::default())?;
//! let plugin = host.load(&bytes)?; // blocks: call it on a blocking thread
//! let outcome = host
//!     .run(
//!         &plugin,
//!         Run {
//!             check: &check.name,
//!             params: &check.params,
//!             grants: &check.grants,
//!             limits: &check.limits,
//!             timeout: check.timeout,
//!             memo: Vec::new(),
//!             exit_codes: check.exit_codes,
//!         },
//!     )
//!     .await;
//! println!("{:?}", outcome.result);
//! # Ok(())
//! # }
//! ```
//!
//! The contract between host and plugins is `sdk/wit/check.wit`. Data goes one way:
//!
//! * `load` turns a file into native code, in a child process or from a cache. Nothing of the file runs there.
//! * `run` links native code, makes an instance for each run, and turns its answer into an [`Outcome`].
//! * `probes` carries out what a plugin asks for, within the check's grants.
//! * `contract`, `engine`, `shortage` and `text` lie below all three, [`Host`] above them.
//!
//! This crate does not decide when a check runs, and does not count runs.

#![warn(missing_docs, unreachable_pub)]

mod contract;
mod engine;
mod host;
mod load;
mod plugin;
mod probes;
mod run;
mod shortage;
mod text;

pub use host::{Host, HostError, HostSettings};
pub use load::cache::{CacheKey, CacheSettings};
pub use load::compile::Compiler;
pub use load::compile::child::compile_as_child;
pub use load::compile::job::{CompileJob, CompileLimits};
pub use load::{CompilerFault, DeclarationError, Kind, LoadError, Metadata, damage, declared_params};
pub use plugin::{Origin, Plugin};
pub use probes::changes::Changes;
pub use probes::process::ProcessHandle;
pub use run::{LogLevel, LogLine, Outcome, Probe, Run, Watch};
pub use shortage::lacks;
