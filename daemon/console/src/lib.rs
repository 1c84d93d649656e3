//! The user interface that both executables share: the output of commands ([`output`], [`table`]), logs ([`logging`]), and the
//! choice of the daemon that a command asks ([`target`]).

#![warn(missing_docs, unreachable_pub)]
#![warn(clippy::print_stdout, clippy::print_stderr, reason = "these panic if the reader is gone; `output` does not")]
#![cfg_attr(test, allow(clippy::print_stdout, clippy::print_stderr))]

pub mod arguments;
pub mod capture;
pub mod logging;
pub mod output;
mod plugin_table;
pub mod table;
pub mod target;

pub use plugin_table::plugin_table;
