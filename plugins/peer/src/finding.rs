//! What a database server that was logged in to says of itself, as a report; and how far a replica of it may be behind.

use std::time::Duration;

use vouchd_check::{Error, Report, Result, Verdict};

/// What is said about one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub verdict: Verdict,
    pub text: String,
}

impl Finding {
    pub fn new(verdict: Verdict, text: impl Into<String>) -> Self {
        Finding { verdict, text: text.into() }
    }

    /// The worst of them is the verdict; all of them are told of `server`.
    pub fn report(findings: &[Finding], server: &str) -> Report {
        let verdict = findings.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Pass);
        let texts: Vec<_> = findings.iter().map(|finding| finding.text.as_str()).collect();
        Report::new(verdict, format!("{server}: {}", texts.join(", ")))
    }
}

vouchd_check::params! {
    /// The parameter `lag`.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
    pub struct Lag {
        /// More is a `warn`.
        pub warn: Option<Duration>,
        /// More is a `fail`.
        pub fail: Option<Duration>,
    }
}

impl Lag {
    /// For a replica that is so many seconds behind: the verdict, and what was expected if it is no pass.
    pub fn judge(self, seconds: f64) -> (Verdict, String) {
        let over = |bound: Option<Duration>| bound.filter(|most| seconds > most.as_secs_f64());
        let (verdict, most) = match (over(self.fail), over(self.warn)) {
            (Some(most), _) => (Verdict::Fail, Some(most)),
            (None, Some(most)) => (Verdict::Warn, Some(most)),
            (None, None) => (Verdict::Pass, None),
        };
        (verdict, most.map(|most| format!(", expected at most {most:?}")).unwrap_or_default())
    }
}

/// Parameters that make no sense without a login, and whether they are given.
///
/// # Errors
/// If one of them is.
pub fn only_with_login(params: &[(&str, bool)]) -> Result<()> {
    match params.iter().find(|(_, given)| *given) {
        Some((name, _)) => Err(Error::new(format!("parameter `{name}` needs a login: expected `user`"))),
        None => Ok(()),
    }
}
