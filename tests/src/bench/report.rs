//! The results of the comparison, and their table.

use std::fmt;

/// A measured value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// The median of the runs.
    pub median: f64,
    /// The least of the runs.
    pub least: f64,
    /// The most of the runs.
    pub most: f64,
}

impl Measured {
    /// `None` without a value.
    pub(super) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        Some(Self { median: *values.get(values.len() / 2)?, least: *values.first()?, most: *values.last()? })
    }

    pub(super) fn once(value: f64) -> Self {
        Self { median: value, least: value, most: value }
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.least == self.most {
            return f.pad(&format!("{:.3}", self.median));
        }
        f.pad(&format!("{:.3} ({:.3} to {:.3})", self.median, self.least, self.most))
    }
}

/// One row of the comparison.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// What was measured.
    pub what: String,
    /// Its unit.
    pub unit: &'static str,
    /// vouchd's value.
    pub vouchd: Measured,
    /// keepalived's value.
    pub keepalived: Measured,
}

/// The whole comparison. Displayed as a table of medians with the least and the most in parentheses.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// The rows of the table.
    pub rows: Vec<Row>,
    /// The output of `vouchd plugin test` for each plugin that was measured alone.
    pub runs: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.rows.is_empty() {
            let width = self.rows.iter().map(|row| row.what.chars().count()).max().unwrap_or(0);
            writeln!(f, "{:width$}  {:>26}  {:>26}  {:>5}", "", "vouchd", "keepalived", "ratio")?;
            for Row { what, unit, vouchd, keepalived } in &self.rows {
                let ratio = vouchd.median / keepalived.median;
                writeln!(f, "{what:width$}  {vouchd:>26}  {keepalived:>26}  {ratio:>5.2}  {unit}")?;
            }
        }
        self.runs.iter().try_for_each(|run| writeln!(f, "\n{run}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_is_shown_with_its_spread() {
        assert_eq!(Measured::of(vec![3.0, 1.0, 2.5]).unwrap().to_string(), "2.500 (1.000 to 3.000)");
        assert_eq!(Measured::once(2.0).to_string(), "2.000");
        assert_eq!(Measured::of(Vec::new()), None);
    }
}
