//! The expected contents of a file, and the number it may hold.

use regex_lite::Regex;
use vouchd_check::{Error, Report};

/// The range of the number, as in keepalived.
const NUMBERS: std::ops::RangeInclusive<i16> = -254..=254;
/// The number that means: this router must not be active.
const OUT: i16 = -254;

/// What is expected of the contents.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    contains: Option<String>,
    matches: Option<Regex>,
    number: bool,
}

impl Wanted {
    /// # Errors
    /// If `matches` is not a regular expression.
    pub(crate) fn new(contains: Option<String>, matches: Option<&str>, number: bool) -> Result<Self, Error> {
        let compile = |pattern: &str| {
            Regex::new(pattern).map_err(|error| {
                Error::new(format!("parameter `matches`: {pattern:?} is not a regular expression: {error}"))
            })
        };
        Ok(Wanted { contains, matches: matches.map(compile).transpose()?, number })
    }

    /// Whether the file must be read.
    pub(crate) fn anything(&self) -> bool {
        self.contains.is_some() || self.matches.is_some() || self.number
    }

    /// Judges the contents. `pass` is the report if they are as expected.
    ///
    /// # Errors
    /// If the file must hold a number and does not.
    pub(crate) fn judge(&self, path: &str, contents: &[u8], pass: Report) -> Result<Report, Error> {
        let contents = String::from_utf8_lossy(contents);
        if let Some(text) = self.contains.as_ref().filter(|text| !contents.contains(text.as_str())) {
            return Ok(Report::fail(format!("{path} does not contain {text:?}")));
        }
        if let Some(pattern) = self.matches.as_ref().filter(|pattern| !pattern.is_match(&contents)) {
            return Ok(Report::fail(format!("{path} does not match {:?}", pattern.as_str())));
        }
        if !self.number {
            return Ok(pass);
        }
        let number = number(path, &contents)?;
        if number == OUT {
            return Ok(Report::fault(format!("{path} holds {OUT}: this router must not be active")));
        }
        Ok(Report::pass(format!("{path} holds {number}")).adjust(number))
    }
}

fn number(path: &str, contents: &str) -> Result<i16, Error> {
    let text = contents.trim();
    text.parse().ok().filter(|number| NUMBERS.contains(number)).ok_or_else(|| {
        let found: String = text.chars().take(40).collect();
        Error::new(format!("{path}: expected a whole number from -254 to 254, found {found:?}"))
    })
}

#[cfg(test)]
mod tests {
    use vouchd_check::Verdict;

    use super::*;

    fn judge(wanted: &Wanted, contents: &[u8]) -> Result<Report, String> {
        wanted.judge("/f", contents, Report::pass("ok")).map_err(|e| e.to_string())
    }

    #[test]
    fn contents_decide() {
        let table = [
            (Some("ready"), None, &b"not ready"[..], Verdict::Pass, "ok"),
            (Some("ready"), None, b"no", Verdict::Fail, "/f does not contain \"ready\""),
            (None, Some("(?m)^up$"), b"a\nup\nb", Verdict::Pass, "ok"),
            (None, Some("^up$"), b"a\nup\nb", Verdict::Fail, "/f does not match \"^up$\""),
            (Some("a"), Some("b"), b"a", Verdict::Fail, "/f does not match \"b\""),
            (Some("a"), None, b"\xff\xfea", Verdict::Pass, "ok"),
        ];
        for (contains, matches, contents, verdict, message) in table {
            let wanted = Wanted::new(contains.map(str::to_owned), matches, false).unwrap();
            let report = judge(&wanted, contents).unwrap();
            assert_eq!((report.verdict, report.message.as_str()), (verdict, message), "{contents:?}");
            assert_eq!(report.adjust, None);
        }
    }

    #[test]
    fn number_is_the_adjustment() {
        let wanted = Wanted::new(None, None, true).unwrap();
        for (contents, adjust) in [("-20\n", -20), ("  +7 ", 7), ("0", 0), ("254", 254), ("-253", -253)] {
            let report = judge(&wanted, contents.as_bytes()).unwrap();
            assert_eq!((report.verdict, report.adjust), (Verdict::Pass, Some(adjust)), "{contents:?}");
        }
        let report = judge(&wanted, b"-254\n").unwrap();
        assert_eq!((report.verdict, report.adjust), (Verdict::Fault, None));
    }

    #[test]
    fn other_contents_are_an_error() {
        let wanted = Wanted::new(None, None, true).unwrap();
        for contents in [&b""[..], b"\n", b"-255", b"255", b"1 2", b"ten", b"1.5", b"\xff"] {
            let error = judge(&wanted, contents).unwrap_err();
            assert!(error.contains("expected a whole number from -254 to 254, found "), "{error}");
        }
    }
}
