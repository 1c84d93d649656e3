//! `vouchd-simulate`: runs campaigns, replays a seed or a script, and shrinks what fails.

use std::num::NonZero;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Parser;
use vouchd_simulation::campaign::campaign;
use vouchd_simulation::{Scenario, document, run, shrink, trace};

/// Simulates elections with every kind of trouble, and checks after every step what must hold.
#[derive(Parser)]
#[command(name = "cargo xtask simulate")]
struct Arguments {
    /// Simulate at least this many elections, from seed to seed
    #[arg(long, default_value_t = 20_000)]
    elections: u64,
    /// The first seed, or the one to replay or shrink
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Replay this seed alone and show what happens
    #[arg(long)]
    replay: bool,
    /// Shrink the scenario of this seed, which fails, and print it as a script
    #[arg(long)]
    shrink: bool,
    /// Take the scenario from a file instead of a seed
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
    /// Print which inputs were tried in which stage of the state machine
    #[arg(long)]
    coverage: bool,
    /// Print the state diagram that the simulated routers draw, for docs/vrrp.md
    #[arg(long)]
    diagram: bool,
    /// Print the table of timers, for docs/vrrp.md
    #[arg(long)]
    timers: bool,
    /// Number of threads; by default one for each processor
    #[arg(long)]
    threads: Option<usize>,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    if arguments.diagram {
        print!("{}", document::diagram().map_err(anyhow::Error::msg)?);
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.timers {
        print!("{}", document::timers());
        return Ok(ExitCode::SUCCESS);
    }
    let scenario = match &arguments.script {
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
            text.parse().with_context(|| path.display().to_string())?
        }
        None => Scenario::generate(arguments.seed),
    };
    if arguments.shrink {
        return Ok(shrunk(&scenario));
    }
    if arguments.replay || arguments.script.is_some() {
        return Ok(replayed(&scenario));
    }
    Ok(simulated(&arguments))
}

/// Prints a scenario and what happens in it.
fn replayed(scenario: &Scenario) -> ExitCode {
    let report = trace(scenario);
    println!("{scenario}\n{}", report.trace.join("\n"));
    match report.failure {
        Some(why) => {
            println!("\nFAILED {why}");
            ExitCode::FAILURE
        }
        None => {
            println!("\nno invariant broken");
            ExitCode::SUCCESS
        }
    }
}

fn shrunk(scenario: &Scenario) -> ExitCode {
    if run(scenario).failure.is_none() {
        println!("{scenario}\nno invariant broken: there is nothing to shrink");
        return ExitCode::SUCCESS;
    }
    let shortest = shrink(scenario, |candidate| run(candidate).failure.is_some());
    let why = run(&shortest).failure.unwrap_or_default();
    println!("{shortest}\n# FAILED {}", why.replace('\n', "\n# "));
    ExitCode::FAILURE
}

fn simulated(arguments: &Arguments) -> ExitCode {
    let threads = arguments.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, NonZero::get));
    let start = Instant::now();
    let done = campaign(arguments.seed, arguments.elections, threads);
    let figures = &done.report.figures;
    println!(
        "{} elections ({} takeovers, {} called by routers whose priority fell) in {} scenarios, seeds {} to {}",
        figures.elections,
        figures.takeovers,
        figures.called,
        done.seeds,
        arguments.seed,
        arguments.seed + done.seeds.saturating_sub(1),
    );
    println!(
        "{:.1} simulated days, {} frames, {} inputs of the state machine, in {:.1} s",
        figures.time.as_secs_f64() / 86_400.0,
        figures.frames,
        figures.inputs,
        start.elapsed().as_secs_f64()
    );
    let (untried, surprising) = (done.report.coverage.untried(), done.report.coverage.surprising());
    println!("{} pairs of stage and input that can occur were not tried", untried.len());
    if arguments.coverage {
        println!("\n{}", done.report.coverage.table());
    }
    for (stage, kind) in &untried {
        println!("not tried: {} in {}", kind.name(), stage.name());
    }
    for (stage, kind) in &surprising {
        println!("tried although it is listed as impossible: {} in {}", kind.name(), stage.name());
    }
    for (seed, why) in &done.failures {
        println!("\nFAILED seed {seed} {why}\nrepeat it: cargo xtask simulate --seed {seed} --replay (or --shrink)");
    }
    if done.failures.is_empty() && surprising.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
