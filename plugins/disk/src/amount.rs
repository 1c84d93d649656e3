//! How much must be free: a share (`"10%"`), a size (`"2GiB"`) or a number (`1000`).

use vouchd_check::{Error, Report, Verdict};

vouchd_check::params! {
    /// The bounds, as the operator wrote them.
    #[derive(Debug)]
    pub struct Bounds {
        /// Less is a `warn`.
        warn: Option<String>,
        /// Less is a `fail`.
        fail: Option<String>,
    }
}

/// What is counted. It decides how an absolute amount is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Bytes,
    Inodes,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Amount {
    /// Percent of the total, 0 to 100.
    Share(f64),
    Count(u64),
}

/// The least that must be free for each verdict.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Least {
    warn: Option<Amount>,
    fail: Option<Amount>,
    what: What,
}

impl Least {
    /// Parses the bounds of the parameter `name`.
    ///
    /// # Errors
    /// If there are none, one is not an amount, or `warn` could never apply before `fail`.
    pub(crate) fn parse(name: &str, bounds: &Bounds, what: What) -> Result<Self, Error> {
        let amount = |key: &str, text: &Option<String>| {
            let parse = |text: &String| {
                Amount::parse(text, what).ok_or_else(|| {
                    let other = match what {
                        What::Bytes => "a size (\"2GiB\")",
                        What::Inodes => "a whole number (1000)",
                    };
                    Error::new(format!(
                        "parameter `{name}.{key}`: expected a share (\"10%\") or {other}, found {text:?}"
                    ))
                })
            };
            text.as_ref().map(parse).transpose()
        };
        let least = Least { warn: amount("warn", &bounds.warn)?, fail: amount("fail", &bounds.fail)?, what };
        let reached = match (least.warn, least.fail) {
            (None, None) => {
                return Err(Error::new(format!("parameter `{name}`: expected `warn`, `fail` or both, found neither")));
            }
            (Some(Amount::Share(warn)), Some(Amount::Share(fail))) => warn >= fail,
            (Some(Amount::Count(warn)), Some(Amount::Count(fail))) => warn >= fail,
            (Some(Amount::Share(_)), Some(Amount::Count(_)))
            | (Some(Amount::Count(_)), Some(Amount::Share(_)))
            | (None, Some(_))
            | (Some(_), None) => true,
        };
        if !reached {
            return Err(Error::new(format!("parameter `{name}.warn`: expected at least `fail`, found less")));
        }
        Ok(least)
    }

    /// Judges how much is left of a total. The message starts with `where_`.
    pub(crate) fn judge(&self, where_: &str, left: u64, total: u64) -> Report {
        let share = share(left, total);
        let under = |least: Option<Amount>| {
            least.filter(|least| match least {
                Amount::Share(percent) => share < *percent,
                Amount::Count(count) => left < *count,
            })
        };
        let (left, what) = match self.what {
            What::Bytes => (size(left), ""),
            What::Inodes => (left.to_string(), " of the inodes"),
        };
        let found = format!("{where_}: {share:.1}%{what} free ({left})");
        match (under(self.fail), under(self.warn)) {
            (Some(least), _) => Report::fail(format!("{found}, expected at least {}", self.text(least))),
            (None, Some(least)) => Report::warn(format!("{found}, expected at least {}", self.text(least))),
            (None, None) => Report::new(Verdict::Pass, found),
        }
    }

    fn text(&self, amount: Amount) -> String {
        match (amount, self.what) {
            (Amount::Share(percent), _) => format!("{percent}%"),
            (Amount::Count(count), What::Bytes) => size(count),
            (Amount::Count(count), What::Inodes) => count.to_string(),
        }
    }
}

impl Amount {
    fn parse(text: &str, what: What) -> Option<Amount> {
        if let Some(percent) = text.strip_suffix('%') {
            let percent: f64 = percent.trim_end().parse().ok()?;
            return (0.0..=100.0).contains(&percent).then_some(Amount::Share(percent));
        }
        let unit = match what {
            What::Inodes => return text.parse().ok().map(Amount::Count),
            What::Bytes => UNITS.iter().rev().find(|(unit, _)| text.ends_with(unit))?,
        };
        let number: u64 = text.strip_suffix(unit.0)?.trim_end().parse().ok()?;
        number.checked_mul(unit.1).map(Amount::Count)
    }
}

const UNITS: [(&str, u64); 5] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

/// The percentage that is left.
pub(crate) fn share(left: u64, total: u64) -> f64 {
    if total == 0 { 100.0 } else { left as f64 / total as f64 * 100.0 }
}

/// A size in the largest unit that gives at least 1.
fn size(bytes: u64) -> String {
    let (unit, one) = UNITS.iter().rev().find(|(_, one)| bytes >= *one).unwrap_or(&UNITS[0]);
    let number = bytes as f64 / *one as f64;
    if number.fract() == 0.0 { format!("{number} {unit}") } else { format!("{number:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn least(warn: Option<&str>, fail: Option<&str>, what: What) -> Result<Least, String> {
        let bounds = Bounds { warn: warn.map(str::to_owned), fail: fail.map(str::to_owned) };
        Least::parse("free", &bounds, what).map_err(|e| e.to_string())
    }

    #[test]
    fn only_shares_and_sizes_are_amounts() {
        let table = [
            ("10%", What::Bytes, Some(Amount::Share(10.0))),
            ("0.5 %", What::Inodes, Some(Amount::Share(0.5))),
            ("101%", What::Bytes, None),
            ("-1%", What::Bytes, None),
            ("nan%", What::Bytes, None),
            ("2GiB", What::Bytes, Some(Amount::Count(2 << 30))),
            ("3 MiB", What::Bytes, Some(Amount::Count(3 << 20))),
            ("512B", What::Bytes, Some(Amount::Count(512))),
            ("99999999999TiB", What::Bytes, None),
            ("1000", What::Bytes, None),
            ("1000", What::Inodes, Some(Amount::Count(1000))),
            ("2GiB", What::Inodes, None),
            ("", What::Bytes, None),
        ];
        for (text, what, expected) in table {
            assert_eq!(Amount::parse(text, what), expected, "{text:?} of {what:?}");
        }
    }

    #[test]
    fn bounds_that_make_no_sense_are_errors() {
        let table = [
            (None, None, "`free`: expected `warn`, `fail` or both"),
            (Some("5%"), Some("10%"), "`free.warn`: expected at least `fail`"),
            (Some("1GiB"), Some("2GiB"), "`free.warn`: expected at least `fail`"),
            (Some("much"), None, "`free.warn`: expected a share (\"10%\") or a size (\"2GiB\"), found \"much\""),
        ];
        for (warn, fail, expected) in table {
            let error = least(warn, fail, What::Bytes).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        // Which of them applies first depends on the size of the file system.
        assert!(least(Some("1%"), Some("1GiB"), What::Bytes).is_ok());
    }

    #[test]
    fn bound_itself_is_enough() {
        let least = least(Some("20%"), Some("10%"), What::Inodes).unwrap();
        for (left, verdict) in [(20, Verdict::Pass), (19, Verdict::Warn), (10, Verdict::Warn), (9, Verdict::Fail)] {
            assert_eq!(least.judge("/", left, 100).verdict, verdict, "{left}");
        }
        assert_eq!(least.judge("/", 9, 100).message, "/: 9.0% of the inodes free (9), expected at least 10%");
    }

    #[test]
    fn size_is_written_in_the_unit_that_fits() {
        for (bytes, text) in [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (2 << 30, "2 GiB")] {
            assert_eq!(size(bytes), text);
        }
    }
}
