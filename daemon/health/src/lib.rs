//! From the results of checks to the effective priority of an instance. Pure: results come in, facts go out.
//!
//! Three steps, one module each:
//!
//! 1. [`report`]: the result of one run of a check ([`RunResult`]).
//! 2. [`counter`]: counts runs (`rise`, `fall`) and keeps the check's [`CheckStatus`].
//! 3. [`influence`]: turns the statuses of an instance's checks, and what the operator decided that each costs, into the
//!    instance's [`Fitness`]: an effective priority, a hard fault, or "still waiting".
//!
//! The priority is computed from the current statuses each time, never adjusted, so that it can't drift.
#![forbid(unsafe_code)]
#![warn(missing_docs, unreachable_pub)]

pub mod counter;
pub mod influence;
pub mod log;
pub mod report;

pub use counter::{CheckStatus, Counter, Thresholds};
pub use influence::{Effect, Fitness, Influence, InvalidWeight, OnError, Term, Weight, fitness};
pub use log::{LogLevel, LogLine};
pub use report::{Metric, Report, RunResult, Verdict};
