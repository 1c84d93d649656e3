//! Elections of simulated routers: the state machine of vouchd among models of other implementations, with every kind of
//! trouble, and a check after every step.
//!
//! A [`Scenario`] says which routers there are and what happens to them. It comes from a seed or from a text, and the same
//! scenario always gives the same run. [`run`] carries it out and ends at the first broken invariant. [`shrink()`] makes a
//! failing scenario shorter; its text can be pasted into a regression test.
//!
//! * [`mod@scenario`]: what can happen, its text, and how a seed becomes a scenario.
//! * `world`, `node`, `foreign`: the machines and the network between them. `steps` carries out a scenario's steps.
//! * `invariants`: what must hold. `bounds`: within which time, with the proof.
//! * [`coverage`]: which inputs the state machine got in which stage.
#![forbid(unsafe_code)]
#![warn(missing_docs, unreachable_pub)]

mod bounds;
pub mod bytes;
pub mod campaign;
pub mod coverage;
pub mod document;
mod foreign;
mod invariants;
mod node;
mod poke;
pub mod random;
pub mod scenario;
mod schedule;
mod shrink;
mod steps;
mod world;

pub use scenario::Scenario;
pub use shrink::shrink;
pub use world::Figures;

use coverage::Coverage;
use world::World;

/// What a run showed.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Its figures.
    pub figures: Figures,
    /// What its routers were tried with.
    pub coverage: Coverage,
    /// What happened, line by line, if the run was traced.
    pub trace: Vec<String>,
    /// The first broken invariant.
    pub failure: Option<String>,
}

impl Report {
    /// Adds the figures of another run.
    pub fn add(&mut self, other: &Self) {
        let (all, one) = (&mut self.figures, &other.figures);
        all.elections += one.elections;
        all.takeovers += one.takeovers;
        all.called += one.called;
        all.frames += one.frames;
        all.inputs += one.inputs;
        all.time += one.time;
        for (transition, count) in &one.transitions {
            *all.transitions.entry(*transition).or_default() += count;
        }
        self.coverage.add(&other.coverage);
    }
}

/// Carries out a scenario.
pub fn run(scenario: &Scenario) -> Report {
    carry_out(scenario, false)
}

/// Carries out a scenario and writes down what happens.
pub fn trace(scenario: &Scenario) -> Report {
    carry_out(scenario, true)
}

fn carry_out(scenario: &Scenario, traced: bool) -> Report {
    let mut world = World::new(scenario, traced);
    for step in &scenario.steps {
        if world.failure.is_some() {
            break;
        }
        world.carry_out_step(step);
    }
    let World { mut figures, coverage, trace, failure, now, .. } = world;
    figures.time = now;
    Report { figures, coverage, trace: trace.unwrap_or_default(), failure }
}
