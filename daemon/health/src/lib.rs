//! From the results of checks to the effective priority of an instance. Pure: results come in, facts go out.
//!
//! Its steps, one module each:
//!
//! 1. [`report`]: the result of one run of a check ([`RunResult`]).
//! 2. [`counter`]: counts runs (`rise`, `fall`) and keeps the check's [`CheckStatus`].
//! 3. [`track`]: turns the states of the interfaces that an instance tracks into terms of its priority; [`debounce`] leaves
//!    out flaps.
//! 4. [`influence`]: turns the statuses of an instance's checks, what the operator decided that each costs, and the terms of
//!    its interfaces into the instance's [`Fitness`]: an effective priority, a hard fault, or "still waiting".
//!
//! The priority is computed from the current statuses each time, never adjusted, so that it can't drift.
#![forbid(unsafe_code)]
#![warn(missing_docs, unreachable_pub)]

pub mod counter;
pub mod debounce;
pub mod influence;
pub mod log;
pub mod report;
pub mod track;

pub use counter::{CheckStatus, Counter, Thresholds};
pub use debounce::Debounced;
pub use influence::{Effect, Fitness, Influence, InvalidWeight, OnError, Term, TermKind, Weight, fitness};
pub use log::{LogLevel, LogLine};
pub use report::{Metric, Report, RunResult, Verdict};
pub use track::{Carrier, Carriers, Tracked, Tracking};
