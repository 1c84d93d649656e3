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

mod aside;
mod budget;
mod cache;
mod calls;
mod changes;
mod command;
mod compile;
mod contract;
mod declared;
mod engine;
mod failure;
mod host;
mod limiter;
mod lines;
mod load;
mod metered;
mod names;
mod outcome;
mod output;
mod probes;
mod program;
mod proposals;
mod ready;
mod room;
mod state;
mod text;
mod turns;

pub use aside::{Aside, Stuck};
pub use cache::{CacheKey, CacheSettings};
pub use changes::Changes;
pub use compile::child::{CompileJob, compile_as_child};
pub use compile::{CompileLimits, Compiler};
pub use declared::{DeclarationError, damage, declared_params};
pub use host::{Host, HostError, HostSettings, Origin, Plugin};
pub use load::{Kind, LoadError, Metadata};
pub use outcome::{LogLevel, LogLine, Outcome, Probe, ProcessHandle, Run, Watch};
pub use probes::error::lacks;
