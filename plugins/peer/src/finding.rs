//! What a check finds out about a service, as a report; and how far a replica may be behind.

use std::time::Duration;

use vouchd_check::{Error, Report, Result, Verdict};

/// One observation and what it means for the verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The verdict if this were the only finding.
    pub verdict: Verdict,
    /// A clause for the report's message, without a final stop.
    pub text: String,
}

impl Finding {
    /// A finding with this verdict and text.
    pub fn new(verdict: Verdict, text: impl Into<String>) -> Self {
        Finding { verdict, text: text.into() }
    }

    /// The role of a server: `fail` if another one is wanted.
    pub fn role(found: &str, wanted: Option<&str>) -> Self {
        match wanted {
            Some(wanted) if wanted != found => Finding::new(Verdict::Fail, format!("{found}, expected {wanted}")),
            Some(_) | None => Finding::new(Verdict::Pass, found),
        }
    }

    /// The worst verdict of all findings; `pass` without any.
    pub fn worst(findings: &[Finding]) -> Verdict {
        findings.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Pass)
    }

    /// A report about `server` with the worst verdict. Its message lists all findings.
    pub fn report(findings: &[Finding], server: &str) -> Report {
        let texts: Vec<_> = findings.iter().map(|finding| finding.text.as_str()).collect();
        Report::new(Self::worst(findings), format!("{server}: {}", texts.join(", ")))
    }
}

vouchd_check::params! {
    /// The parameter `lag`: how far a replica may be behind.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
    pub struct Lag {
        /// More is a `warn`.
        pub warn: Option<Duration>,
        /// More is a `fail`.
        pub fail: Option<Duration>,
    }
}

impl Lag {
    /// Judges a replica that is `seconds` behind. The text is empty, or says which bound was exceeded: `, expected at most 5s`.
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

/// Rejects parameters that need a login. Each is a name, and whether it was given.
///
/// # Errors
/// If one was given.
pub fn only_with_login(params: &[(&str, bool)]) -> Result<()> {
    match params.iter().find(|(_, given)| *given) {
        Some((name, _)) => Err(Error::new(format!("parameter `{name}` needs a login: expected `user`"))),
        None => Ok(()),
    }
}

/// Parses the parameter `name`, which is one of a few words.
///
/// # Errors
/// If `found` is none of them.
pub fn one_of<T: Copy>(name: &str, found: &str, words: &[(&str, T)]) -> Result<T> {
    match words.iter().find(|(word, _)| *word == found) {
        Some((_, value)) => Ok(*value),
        None => {
            let words: Vec<_> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
            Err(Error::new(format!("parameter `{name}`: expected {}, found {found:?}", words.join(" or "))))
        }
    }
}
