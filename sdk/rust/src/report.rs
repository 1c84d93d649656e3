//! What a check reports.

/// What the check says about the thing it watches, best first: the worse of two is the larger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Works.
    Pass,
    /// Works, but another router would serve better.
    Warn,
    /// Does not work. What that costs is the operator's choice.
    Fail,
    /// This router must not be active, whatever it costs.
    Fault,
}

/// A number measured during the run.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    pub name: String,
    pub value: f64,
    /// `s`, `B`, `%`, `c` (a counter), or empty.
    pub unit: String,
}

/// The outcome of a check that could be carried out.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    pub verdict: Verdict,
    /// One line for the operator.
    pub message: String,
    /// Added to the priority, as far as the operator allows.
    pub adjust: Option<i16>,
    pub metrics: Vec<Metric>,
}

impl Report {
    pub fn new(verdict: Verdict, message: impl Into<String>) -> Self {
        Report { verdict, message: message.into(), adjust: None, metrics: Vec::new() }
    }

    pub fn pass(message: impl Into<String>) -> Self {
        Self::new(Verdict::Pass, message)
    }

    pub fn warn(message: impl Into<String>) -> Self {
        Self::new(Verdict::Warn, message)
    }

    pub fn fail(message: impl Into<String>) -> Self {
        Self::new(Verdict::Fail, message)
    }

    pub fn fault(message: impl Into<String>) -> Self {
        Self::new(Verdict::Fault, message)
    }

    /// Asks for a change of the priority; it counts as far as the operator's `adjust = [low, high]` allows.
    #[must_use]
    pub fn adjust(mut self, priority: i16) -> Self {
        self.adjust = Some(priority);
        self
    }

    /// Adds a number to the report. `unit`: `s`, `B`, `%`, `c` (a counter), or empty.
    #[must_use]
    pub fn metric(mut self, name: impl Into<String>, value: f64, unit: impl Into<String>) -> Self {
        self.metrics.push(Metric { name: name.into(), value, unit: unit.into() });
        self
    }
}
