//! The table: a line for each row, a column for each make.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::rows::NOT_TRIED;
use crate::runner::{Outcome, Tried};

/// The rules, as the documentation has them.
const DOCUMENT: &str = include_str!("../../../docs/conformance.md");

/// What each make did.
#[derive(Debug, Default)]
pub struct Report {
    /// The makes' names, and their rows in order.
    pub columns: Vec<(String, Vec<Tried>)>,
}

/// How all set-ups of a row ended together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    /// All that apply pass.
    Pass,
    /// What was seen, by set-up.
    Fail(Vec<String>),
    /// No set-up applies: why.
    NotApplicable(String),
    /// The row was not tried: why.
    NotTried(&'static str),
}

impl Cell {
    fn word(&self) -> &'static str {
        match self {
            Cell::Pass => "pass",
            Cell::Fail(_) => "fail",
            Cell::NotApplicable(_) => "not applicable",
            Cell::NotTried(_) => "-",
        }
    }

    fn detail(&self) -> String {
        match self {
            Cell::Pass => String::new(),
            Cell::Fail(seen) => seen.join("; "),
            Cell::NotApplicable(reason) => reason.clone(),
            Cell::NotTried(reason) => (*reason).to_owned(),
        }
    }
}

/// The rule of a row, from the documentation.
pub fn rule(number: u32) -> String {
    let start = format!("| {number} | ");
    let line = DOCUMENT.lines().find_map(|line| line.strip_prefix(&start));
    line.and_then(|line| line.split(" | ").next()).unwrap_or_default().to_owned()
}

/// How a row ended in all its set-ups.
pub fn cell(tried: &[Tried], row: u32) -> Option<Cell> {
    if let Some((_, reason)) = NOT_TRIED.iter().find(|(number, _)| *number == row) {
        return Some(Cell::NotTried(reason));
    }
    let of_row: Vec<_> = tried.iter().filter(|tried| tried.row == row).collect();
    let mut failures: Vec<(String, Vec<&str>)> = Vec::new();
    for tried in &of_row {
        if let Outcome::Fail(seen) = &tried.outcome {
            let setup = tried.place.1.name();
            match failures.iter_mut().find(|(other, _)| other == seen) {
                Some((_, setups)) => setups.push(setup),
                None => failures.push((seen.clone(), vec![setup])),
            }
        }
    }
    if !failures.is_empty() {
        return Some(Cell::Fail(
            failures.into_iter().map(|(seen, setups)| format!("{}: {seen}", setups.join(", "))).collect(),
        ));
    }
    if of_row.iter().any(|tried| tried.outcome == Outcome::Pass) {
        return Some(Cell::Pass);
    }
    of_row.into_iter().find_map(|tried| match &tried.outcome {
        Outcome::NotApplicable(reason) => Some(Cell::NotApplicable(reason.clone())),
        Outcome::Pass | Outcome::Fail(_) => None,
    })
}

impl Report {
    fn rows(&self) -> BTreeSet<u32> {
        let tried = self.columns.iter().flat_map(|(_, column)| column.iter().map(|tried| tried.row));
        tried.collect()
    }

    /// The rows that a make fails.
    pub fn failed(&self, make: &str) -> BTreeSet<u32> {
        let of_make = self.columns.iter().filter(|(name, _)| name == make).flat_map(|(_, column)| column);
        of_make.filter(|tried| matches!(tried.outcome, Outcome::Fail(_))).map(|tried| tried.row).collect()
    }

    /// Passed, failed and not applicable rows of a column.
    fn totals(&self, column: &[Tried]) -> (usize, usize, usize) {
        let cells: Vec<_> = self.rows().into_iter().filter_map(|row| cell(column, row)).collect();
        let count = |word: &str| cells.iter().filter(|cell| cell.word() == word).count();
        (count("pass"), count("fail"), count("not applicable"))
    }

    /// For a terminal.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for row in self.rows() {
            let _ = writeln!(text, "{row:>3}  {}", rule(row));
            for (make, column) in &self.columns {
                if let Some(cell) = cell(column, row) {
                    let detail = cell.detail();
                    let colon = if detail.is_empty() { "" } else { ": " };
                    let _ = writeln!(text, "       {make:<12} {}{colon}{detail}", cell.word());
                }
            }
        }
        for (make, column) in &self.columns {
            let (pass, fail, not) = self.totals(column);
            let _ = writeln!(text, "{make}: {pass} rows pass, {fail} fail, {not} do not apply");
        }
        text
    }

    /// A table in Markdown, and below it what was seen where a row failed.
    pub fn markdown(&self) -> String {
        let mut text = "| row | rule |".to_owned();
        for (make, _) in &self.columns {
            let _ = write!(text, " {make} |");
        }
        let _ = writeln!(text, "\n|---|---|{}", "---|".repeat(self.columns.len()));
        let mut details = String::new();
        for row in self.rows() {
            let _ = write!(text, "| {row} | {} |", rule(row));
            for (make, column) in &self.columns {
                let cell = cell(column, row);
                let _ = write!(text, " {} |", cell.as_ref().map_or("", Cell::word));
                if let Some(cell @ Cell::Fail(_)) = &cell {
                    let _ = writeln!(details, "* Row {row}, {make}: {}", cell.detail());
                }
            }
            text.push('\n');
        }
        for (make, column) in &self.columns {
            let (pass, fail, not) = self.totals(column);
            let _ = write!(text, "\n{make}: {pass} rows pass, {fail} fail, {not} do not apply.");
        }
        let _ = write!(text, "\n\nWhat was seen where a row fails:\n\n{details}");
        text
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let rows = self.rows().into_iter().map(|row| {
            let makes = self.columns.iter().filter_map(|(make, column)| {
                let cell = cell(column, row)?;
                let setups: Vec<_> = column
                    .iter()
                    .filter(|tried| tried.row == row)
                    .map(|tried| {
                        let (result, seen) = match &tried.outcome {
                            Outcome::Pass => ("pass", None),
                            Outcome::Fail(seen) => ("fail", Some(seen)),
                            Outcome::NotApplicable(reason) => ("not applicable", Some(reason)),
                        };
                        json!({ "setup": tried.place.1.name(), "result": result, "detail": seen })
                    })
                    .collect();
                Some((make.clone(), json!({ "result": cell.word(), "setups": setups })))
            });
            let makes: serde_json::Map<_, _> = makes.collect();
            json!({ "row": row, "rule": rule(row), "routers": makes })
        });
        Value::Array(rows.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Setup;

    fn tried(setup: Setup, outcome: Outcome) -> Tried {
        Tried { row: 15, place: (0, setup), outcome }
    }

    #[test]
    fn a_row_fails_if_it_fails_in_one_set_up_and_equal_failures_are_said_once() {
        let fail = || Outcome::Fail("took over".to_owned());
        let column = [tried(Setup::V2, fail()), tried(Setup::V3, fail()), tried(Setup::V6, Outcome::Pass)];
        assert_eq!(cell(&column, 15), Some(Cell::Fail(vec!["v2, v3: took over".to_owned()])));
        assert_eq!(cell(&column[2..], 15), Some(Cell::Pass));
        assert_eq!(cell(&column, 16), None);
    }

    #[test]
    fn every_row_has_its_rule_in_the_documentation() {
        for row in crate::rows::ROWS {
            assert!(!rule(row.number).is_empty(), "row {}", row.number);
        }
    }
}
