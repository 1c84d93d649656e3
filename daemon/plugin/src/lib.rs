//! The WebAssembly host for check plugins: loads `.wasm` files and runs them, each run in a fresh instance that can reach
//! only what the check was granted and use only what its limits allow.
//!
//! ```no_run
//! # async fn example(bytes: Vec<u8>, check: vouchd_config::Check) -> Result<(), Box<dyn std::error::Error>> {
//! use vouchd_plugin::{Host, HostSettings, Run};
//!
//! let host = Host::new(HostSettings::default())?;
//! let plugin = host.load(&bytes)?; // blocks: from a blocking thread
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
//! The contract between host and plugins is `sdk/wit/check.wit`. This crate does not decide when a check runs, and does not
//! count runs.

mod contract;
mod engine;
mod host;
mod load;
mod probes;
mod run;
mod shortage;
mod text;

pub use host::{Host, HostError, HostSettings, Origin, Plugin};
pub use load::cache::{CacheKey, CacheSettings};
pub use load::compile::child::{CompileJob, compile_as_child};
pub use load::compile::{CompileLimits, Compiler};
pub use load::declared::{DeclarationError, damage, declared_params};
pub use load::{Kind, LoadError, Metadata};
pub use probes::changes::Changes;
pub use probes::process::ProcessHandle;
pub use run::outcome::{LogLevel, LogLine, Outcome, Probe, Run, Watch};
pub use shortage::lacks;
