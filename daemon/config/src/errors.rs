//! The problems of a configuration: all of them, each with its place.

use std::fmt;

use crate::source::{Place, printable};

/// One error or warning.
#[derive(Debug, Clone)]
pub struct Problem {
    /// `None`: it is not about a place in a file (the file can't be read, say).
    pub place: Option<Place>,
    /// The key and its value as written, `instance.web.priority = 256`; or the file.
    pub subject: String,
    /// What was found, what was expected, and what to do.
    pub message: String,
}

impl Problem {
    /// The problem on one line, for logs: `file:line:column: key = value: what was expected`.
    pub fn headline(&self) -> String {
        let place = self.place.as_ref().map(|place| format!("{place}: ")).unwrap_or_default();
        let subject = if self.subject.is_empty() { String::new() } else { format!("{}: ", self.subject) };
        format!("{place}{subject}{}", self.message).chars().map(printable).collect()
    }
}

/// The headline, followed by the source line with carets below the place.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.headline())?;
        match &self.place {
            Some(place) => write!(f, "\n{}", place.excerpt()),
            None => Ok(()),
        }
    }
}

/// A wrong file may have hundreds of thousands of errors, and `status` shows them.
const MAX_SHOWN: usize = 100;

/// All problems of a configuration, at least one, in the order of files and lines.
#[derive(Debug, Clone)]
pub struct Errors(Vec<Problem>);

impl Errors {
    /// `None` if `problems` is empty.
    pub fn of(problems: Vec<Problem>) -> Option<Self> {
        (!problems.is_empty()).then_some(Errors(problems))
    }

    /// `problems` must not be empty.
    pub(crate) fn new(problems: Vec<Problem>) -> Self {
        debug_assert!(!problems.is_empty());
        Errors(problems)
    }

    /// In the order of files and lines; at least one.
    pub fn problems(&self) -> &[Problem] {
        &self.0
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.0.iter().take(MAX_SHOWN).enumerate() {
            if n > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        match self.0.len().saturating_sub(MAX_SHOWN) {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}

impl std::error::Error for Errors {}
