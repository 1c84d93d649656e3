//! The probes: what a plugin can learn about the world outside its sandbox. Each probe checks the grants itself, against what
//! it is about to use (a parsed URL, each redirect, a host and port), before it sends anything, and has a deadline within
//! the run's.
//!
//! | room | probe, and what it needs a grant for |
//! |---|---|
//! | [`process`] | finds processes, by name: `process` |
//! | [`tcp`] | connects and exchanges a few bytes: `tcp` |
//! | [`http`] | fetches a URL: `http` |
//! | [`stream`] | holds a conversation over TCP or a unix socket, with TLS if wanted: `tcp`, `unix` |
//! | [`files`] | looks at files and file systems: `files` |
//! | [`dns`] | looks up names: `dns` |
//! | [`network`] | lists links and addresses: nothing |
//!
//! They share [`changes`] (what a run looked at, to be watched), [`connection`] (making and reading connections), [`resolver`] (names to addresses), [`tls`], [`interfaces`],
//! [`check_io`] (work that may block), [`bounds`] (time and bytes) and [`error`] (whose fault a failure is). Nothing in here
//! knows of runs or of the engine: `contract` is below, what calls the probes is above.

mod bounds;
pub(crate) mod changes;
mod check_io;
mod connection;
pub(crate) mod dns;
#[cfg(test)]
mod endless_peers;
mod error;
pub(crate) mod files;
pub(crate) mod http;
mod interfaces;
pub(crate) mod network;
pub(crate) mod process;
mod resolver;
pub(crate) mod stream;
pub(crate) mod tcp;
mod tls;

pub(crate) use check_io::CheckIo;

use vouchd_blocking::Blocking;

/// What all runs share: threads for blocking work, the process snapshot, TLS settings, and kept HTTP connections.
#[derive(Default)]
pub(crate) struct Probes {
    pub(crate) blocking: Blocking,
    pub(crate) processes: process::Processes,
    pub(crate) http: http::Http,
}
