//! Running plugins: an instance for each run, the limits and turns of runs, the functions that a plugin may call, and what
//! comes out of a run.

pub(crate) mod budget;
mod calls;
pub(crate) mod command;
pub(crate) mod failure;
mod limiter;
mod lines;
pub(crate) mod meter;
pub(crate) mod outcome;
mod output;
pub(crate) mod ready;
pub(crate) mod state;
pub(crate) mod turns;
