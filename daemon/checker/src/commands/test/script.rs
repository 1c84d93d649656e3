//! `vouchd plugin test --script`: compares the results of the runs with the expected ones.

use std::fmt;

use vouchd_config::script::{Ending, ScriptedRun, Within};
use vouchd_health::{Metric, RunResult, Verdict};
use vouchd_plugin::Outcome;

use super::show::shown;
use vouchd_console::table::Table;

/// The results of the runs.
pub(crate) struct Tally {
    table: Table<7>,
    /// Details of the runs that are not as expected.
    misses: String,
    runs: usize,
    met: usize,
}

impl Tally {
    pub(crate) fn new() -> Self {
        let table = Table::wide(["", "RUN", "VERDICT", "TOOK", "CPU", "MEMORY", "MESSAGE"]);
        Tally { table, misses: String::new(), runs: 0, met: 0 }
    }

    pub(crate) fn add(&mut self, run: &ScriptedRun, outcome: &Outcome) {
        let misses = misses(run, &outcome.result);
        let (ending, text, _) = ended(&outcome.result);
        let met = misses.is_empty();
        self.runs += 1;
        self.met += usize::from(met);
        self.table.row([
            if met { "ok" } else { "MISSED" }.to_owned(),
            run.name.clone(),
            ending.to_string(),
            format!("{:.1} ms", outcome.duration.as_secs_f64() * 1000.0),
            format!("{:.1} ms", outcome.cpu.as_secs_f64() * 1000.0),
            format!("{} KiB", outcome.memory.div_ceil(1024)),
            text.to_owned(),
        ]);
        if !met {
            self.misses += &format!("\n{}: {}: {}\n", run.place, run.name, misses.join("; "));
            for line in shown(&run.check, outcome).lines() {
                self.misses += &format!("  {line}\n");
            }
        }
    }

    pub(crate) fn all_met(&self) -> bool {
        self.met == self.runs
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}{}", self.table, self.misses)?;
        writeln!(f, "{} of {} runs as expected", self.met, self.runs)
    }
}

/// The differences from what the run expects.
fn misses(run: &ScriptedRun, result: &RunResult) -> Vec<String> {
    let (ending, text, metrics) = ended(result);
    let mut misses = Vec::new();
    if let Some(wanted) = run.expect.ending.filter(|wanted| *wanted != ending) {
        misses.push(format!("expected {wanted}, found {ending}"));
    }
    if let Some(part) = run.expect.text.as_ref().filter(|part| !text.contains(part.as_str())) {
        misses.push(format!("expected the text {part:?}"));
    }
    for (name, wanted) in &run.expect.metrics {
        match metrics.iter().find(|metric| metric.name == *name) {
            None => misses.push(format!("expected the metric {name}")),
            Some(found) if (wanted.min..=wanted.max).contains(&found.value) => {}
            Some(found) => misses.push(format!("expected {name} {}, found {}", range(wanted), found.value)),
        }
    }
    misses
}

fn range(Within { min, max }: &Within) -> String {
    if min == max {
        format!("= {min}")
    } else if max.is_infinite() {
        format!("of at least {min}")
    } else if min.is_infinite() {
        format!("of at most {max}")
    } else {
        format!("from {min} to {max}")
    }
}

fn ended(result: &RunResult) -> (Ending, &str, &[Metric]) {
    match result {
        RunResult::Report(report) => {
            let ending = match report.verdict {
                Verdict::Pass => Ending::Pass,
                Verdict::Warn => Ending::Warn,
                Verdict::Fail => Ending::Fail,
                Verdict::Fault => Ending::Fault,
            };
            (ending, &report.message, &report.metrics)
        }
        RunResult::TimedOut { .. } => (Ending::Timeout, "", &[]),
        RunResult::Error { reason } => (Ending::Error, reason, &[]),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use vouchd_config::script::script;
    use vouchd_health::Report;

    use super::*;

    fn passed(message: &str, time: f64) -> RunResult {
        let metric = |name: &str, value| Metric { name: name.to_owned(), value, unit: String::new() };
        RunResult::Report(Report {
            verdict: Verdict::Pass,
            message: message.to_owned(),
            adjust: None,
            metrics: vec![metric("time", time), metric("n", 2.0)],
        })
    }

    fn runs(text: &str) -> Vec<ScriptedRun> {
        script(PathBuf::from("s.toml"), text.to_owned(), &[]).unwrap().runs
    }

    #[test]
    fn every_difference_is_reported() {
        let error = |reason: &str| RunResult::Error { reason: reason.to_owned() };
        for (expect, result, expected) in [
            ("{ verdict = \"pass\", message = \"200\" }", passed("HTTP 200", 1.0), &[][..]),
            ("{}", error("x"), &[]),
            ("{ message = \"200\" }", passed("HTTP 404", 1.0), &["expected the text \"200\""]),
            ("{ verdict = \"fail\" }", passed("", 1.0), &["expected fail, found pass"]),
            ("{ verdict = \"timeout\" }", RunResult::TimedOut { after: Duration::from_secs(1) }, &[]),
            ("{ error = \"not granted\" }", error("x is not granted to this check"), &[]),
            (
                "{ error = \"not granted\" }",
                passed("fine", 0.0),
                &["expected error, found pass", "expected the text \"not granted\""],
            ),
            ("{ metrics = { n = 2, time = { min = 1, max = 1.5 } } }", passed("", 1.5), &[]),
            ("{ metrics = { n = 3 } }", passed("", 1.5), &["expected n = 3, found 2"]),
            ("{ metrics = { time = { min = 2 } } }", passed("", 1.5), &["expected time of at least 2, found 1.5"]),
            ("{ metrics = { time = { max = 1 } } }", passed("", 1.5), &["expected time of at most 1, found 1.5"]),
            ("{ metrics = { time = { max = 1 } } }", passed("", f64::NAN), &["expected time of at most 1, found NaN"]),
            ("{ metrics = { x = 1 } }", passed("", 1.5), &["expected the metric x"]),
        ] {
            let runs = runs(&format!("[[run]]\nexpect = {expect}\n"));
            assert_eq!(misses(&runs[0], &result), expected, "{expect}");
        }
    }

    #[test]
    fn run_that_is_not_as_expected_is_shown_with_its_place_and_all_details() {
        let outcome = super::super::tests::outcome;
        let runs = runs("[[run]]\nname = \"serves\"\nexpect = { verdict = \"pass\" }\n\n[[run]]\nexpect = {}\n");
        let mut tally = Tally::new();
        tally.add(&runs[0], &outcome(RunResult::Error { reason: "trapped".to_owned() }));
        tally.add(&runs[1], &outcome(passed("fine", 1.0)));
        assert!(!tally.all_met());
        let expected = "
        RUN     VERDICT  TOOK     CPU     MEMORY    MESSAGE
MISSED  serves  error    12.3 ms  0.4 ms  1075 KiB  trapped
ok      run 2   pass     12.3 ms  0.4 ms  1075 KiB  fine

s.toml:1:1: serves: expected pass, found error
  error: trapped
    probe process nginx: 2 found (1.5 ms)
    log info: looking
    took 12.3 ms of 1s; computed 0.4 ms of 500ms; memory 1075 KiB of 16384 KiB

1 of 2 runs as expected
";
        assert_eq!(format!("\n{tally}"), expected);
    }
}
