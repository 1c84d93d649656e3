//! Runs: an instance for each, the limits and turns that bound it, the functions that a plugin may call, and the outcome.

mod budget;
mod calls;
mod command;
mod failure;
mod instances;
mod limiter;
mod lines;
mod link;
mod meter;
mod outcome;
mod output;
mod ready;
mod result;
mod state;
mod turns;
mod waker;

pub(crate) use instances::Instances;
pub(crate) use link::{Linked, Linkers};
pub(crate) use ready::Ready;

pub use outcome::{LogLevel, LogLine, Outcome, Probe, Run, Watch};
