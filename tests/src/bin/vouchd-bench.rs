//! Compares vouchd with keepalived and prints a table: `vouchd-bench [--runs N] [outage] [instant] [death] [cpu] [many] [memory] [run]`.

use std::process::ExitCode;

use vouchd_tests::bench::{Options, Part, run};

fn main() -> ExitCode {
    let options = match options(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(report) => {
            print!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:?}");
            ExitCode::FAILURE
        }
    }
}

fn options(mut words: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options::default();
    let mut parts = Vec::new();
    while let Some(word) = words.next() {
        if word == "--runs" {
            let runs = words.next().and_then(|number| number.parse().ok()).filter(|&runs| runs > 0);
            options.runs = runs.ok_or("--runs: expected a number from 1 on")?;
        } else if let Some(part) = Part::named(&word) {
            parts.push(part);
        } else {
            return Err(format!("`{word}`: expected --runs N, outage, instant, death, cpu, many, memory or run"));
        }
    }
    if !parts.is_empty() {
        options.parts = parts;
    }
    Ok(options)
}
