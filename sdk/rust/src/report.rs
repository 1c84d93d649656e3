//! What a check reports.

/// The verdict about the service, best first: of two verdicts the worse one is the larger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// The service works.
    Pass,
    /// The service works, but another router would serve better.
    Warn,
    /// The service does not work. What that costs is the operator's choice.
    Fail,
    /// This router must not be active, whatever the priorities.
    Fault,
}

/// A number measured during the run.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// Unique within the report.
    pub name: String,
    /// A finite number; vouchd drops others.
    pub value: f64,
    /// `s` (seconds), `B` (bytes), `%`, `c` (a counter), or empty.
    pub unit: String,
}

/// The result of a check that could be carried out.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// What the check concludes.
    pub verdict: Verdict,
    /// One line for the operator, ideally with what was expected and what was found. vouchd cuts it after 512 bytes.
    pub message: String,
    /// A change of the priority; applied as far as the operator's `adjust = [low, high]` allows.
    pub adjust: Option<i16>,
    /// At most 64; vouchd drops more.
    pub metrics: Vec<Metric>,
}

impl Report {
    /// A report with this verdict and message.
    pub fn new(verdict: Verdict, message: impl Into<String>) -> Self {
        Report { verdict, message: message.into(), adjust: None, metrics: Vec::new() }
    }

    /// The service works.
    pub fn pass(message: impl Into<String>) -> Self {
        Self::new(Verdict::Pass, message)
    }

    /// The service works, but another router would serve better.
    pub fn warn(message: impl Into<String>) -> Self {
        Self::new(Verdict::Warn, message)
    }

    /// The service does not work.
    pub fn fail(message: impl Into<String>) -> Self {
        Self::new(Verdict::Fail, message)
    }

    /// This router must not be active.
    pub fn fault(message: impl Into<String>) -> Self {
        Self::new(Verdict::Fault, message)
    }

    /// Requests a change of the priority. It applies as far as the operator's `adjust = [low, high]` allows: by default not at
    /// all.
    #[must_use]
    pub fn adjust(mut self, priority: i16) -> Self {
        self.adjust = Some(priority);
        self
    }

    /// Adds a metric. `unit` is `s` (seconds), `B` (bytes), `%`, `c` (a counter), or empty.
    #[must_use]
    pub fn metric(mut self, name: impl Into<String>, value: f64, unit: impl Into<String>) -> Self {
        self.metrics.push(Metric { name: name.into(), value, unit: unit.into() });
        self
    }
}
