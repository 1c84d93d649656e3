//! Check results to verdicts, verdicts to an effective priority. Pure: time and results come in, facts go out.
//!
//! Three steps, each its own module:
//!
//! 1. [`report`]: what one run of a check found out ([`RunResult`]).
//! 2. [`counter`]: runs are counted (`rise`, `fall`) into the check's [`CheckStatus`].
//! 3. [`influence`]: the standings of all checks of an instance, and what the operator decided they cost, make the
//!    instance's [`Fitness`]: an effective priority, a hard fault, or "still waiting".
//!
//! The priority is recomputed from nothing each time, never adjusted, so that no history can make it drift.

pub mod counter;
pub mod influence;
pub mod log;
pub mod report;

pub use counter::{CheckStatus, Counter, Thresholds};
pub use influence::{Effect, Fitness, Influence, InvalidWeight, OnError, Term, Weight, fitness};
pub use log::{LogLevel, LogLine};
pub use report::{Metric, Report, RunResult, Verdict};
