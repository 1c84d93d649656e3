//! What the two executables have in common towards a person: the output of commands ([`output`], [`table`]), logs
//! ([`logging`]), and which daemon a command asks ([`target`]).

#![warn(missing_docs, unreachable_pub)]
#![warn(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a reader that has gone makes these panic: `output` does not"
)]
#![cfg_attr(test, allow(clippy::print_stdout, clippy::print_stderr))]

pub mod arguments;
pub mod capture;
pub mod logging;
pub mod output;
mod plugin_table;
pub mod table;
pub mod target;

pub use plugin_table::plugin_table;
