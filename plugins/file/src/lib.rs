//! The built-in check `file`: does a file exist, is it fresh, and are its contents right? It may also hold a number that changes
//! the priority.

mod contents;

use std::time::Duration;

use vouchd_check::{Context, Error, FileInfo, Report, Result, Verdict};

use contents::Wanted;

/// The whole contents. One that exceeds the check's `limits.probe_bytes` is denied, which is an error.
const MAX_CONTENTS: u32 = u32::MAX;

vouchd_check::params! {
    struct Params {
        /// Path of the file.
        path: String,
        /// With false the file must be absent.
        exists: bool = true,
        /// Whether the check passes without the file.
        optional: bool = false,
        /// A younger file is a `fail`.
        min_age: Option<Duration>,
        /// An older file is a `fail`.
        max_age: Option<Duration>,
        /// Text that the file must contain.
        contains: Option<String>,
        /// Regular expression that must match somewhere in the file.
        matches: Option<String>,
        /// Whether the file holds a number that changes the priority.
        weight: bool = false,
    }
}

impl Params {
    fn wanted(&self) -> Result<Wanted> {
        if self.contains.as_deref() == Some("") {
            return Err(Error::new("parameter `contains`: expected some text: an empty one is in every file"));
        }
        let wanted = Wanted::new(self.contains.clone(), self.matches.as_deref(), self.weight)?;
        let ages = self.min_age.is_some() || self.max_age.is_some();
        if !self.exists && (self.optional || ages || wanted.anything()) {
            return Err(Error::new(
                "parameter `exists` = false demands that there is no file: expected no other parameter than `path`",
            ));
        }
        if let (Some(min), Some(max)) = (self.min_age, self.max_age)
            && max < min
        {
            return Err(Error::new(format!("parameter `max_age`: expected at least `min_age`, found {}", text(max))));
        }
        Ok(wanted)
    }

    /// Judges whether the file exists, and its age.
    fn judge(&self, age: Option<Duration>) -> Report {
        let path = &self.path;
        let Some(age) = age else {
            let message = format!("no file {path}");
            return if self.exists && !self.optional { Report::fail(message) } else { Report::pass(message) };
        };
        if !self.exists {
            return Report::fail(format!("{path} exists, expected no such file"));
        }
        let found = format!("{path} was modified {} ago", text(age));
        if let Some(min) = self.min_age.filter(|min| age < *min) {
            Report::fail(format!("{found}, expected at least {}", text(min)))
        } else if let Some(max) = self.max_age.filter(|max| age > *max) {
            Report::fail(format!("{found}, expected at most {}", text(max)))
        } else {
            Report::pass(found)
        }
    }
}

/// Runs the check once.
///
/// # Errors
/// If a parameter makes no sense, or a probe could not be made.
pub fn check(ctx: &Context) -> Result<Report> {
    let params: Params = ctx.params()?;
    let wanted = params.wanted()?;
    let info = match ctx.stat(&params.path) {
        Ok(info) => info,
        Err(error) => return error.or_fail(&params.path),
    };
    let mut report = params.judge(info.as_ref().map(|info| info.age));
    let Some(FileInfo { size, age, .. }) = info else { return Ok(report) };
    if report.verdict == Verdict::Pass && wanted.anything() {
        report = match ctx.read(&params.path, MAX_CONTENTS) {
            Ok(Some(contents)) => wanted.judge(&params.path, &contents, report)?,
            // It has disappeared in the meantime.
            Ok(None) => return Ok(params.judge(None)),
            Err(error) => return error.or_fail(&params.path),
        };
    }
    Ok(report.metric("age", age.as_secs_f64(), "s").metric("size", size as f64, "B"))
}

/// A duration such as `90 s` or `3 h`, rounded down.
fn text(time: Duration) -> String {
    let s = time.as_secs();
    match s {
        0 => format!("{} ms", time.as_millis()),
        1..120 => format!("{s} s"),
        120..7200 => format!("{} min", s / 60),
        7200..172_800 => format!("{} h", s / 3600),
        _ => format!("{} days", s / 86_400),
    }
}

vouchd_check::check!(check, Params);

#[cfg(test)]
mod tests {
    use vouchd_check::testing::{self, FakeHost};
    use vouchd_check::{FileKind, ProbeError};

    use super::*;

    /// A file that was modified a minute ago.
    fn holding(contents: &'static str) -> FakeHost {
        let info = FileInfo { kind: FileKind::File, size: contents.len() as u64, age: Duration::from_secs(60) };
        FakeHost::new()
            .on_stat(move |path| Ok((path == "/f").then_some(info)))
            .on_read(|path| Ok((path == "/f").then(|| contents.as_bytes().to_vec())))
    }

    #[test]
    fn contents_are_read_only_if_needed() {
        let report = holding("up").run(check, &[("path", "/f"), ("contains", "up")]).unwrap();
        assert_eq!((report.verdict, report.message.as_str()), (Verdict::Pass, "/f was modified 60 s ago"));
        let metrics: Vec<_> = report.metrics.iter().map(|m| (m.name.as_str(), m.value, m.unit.as_str())).collect();
        assert_eq!(metrics, [("age", 60.0, "s"), ("size", 2.0, "B")]);
        let report = holding("-7\n").run(check, &[("path", "/f"), ("weight", "true")]).unwrap();
        assert_eq!((report.verdict, report.adjust), (Verdict::Pass, Some(-7)));
        // It is too old, so its contents do not matter.
        let report = holding("-7\n").run(check, &[("path", "/f"), ("weight", "true"), ("max_age", "5s")]).unwrap();
        assert_eq!((report.verdict, report.adjust), (Verdict::Fail, None));
        let report = holding("").run(check, &[("path", "/g"), ("weight", "true"), ("optional", "true")]).unwrap();
        assert_eq!((report.verdict, report.adjust), (Verdict::Pass, None));
    }

    #[test]
    fn file_that_disappears_before_reading_is_missing() {
        let host = holding("up").on_read(|_| Ok(None));
        let report = host.run(check, &[("path", "/f"), ("contains", "up")]).unwrap();
        assert_eq!((report.verdict, report.message.as_str()), (Verdict::Fail, "no file /f"));
    }

    #[test]
    fn broken_disk_fails_and_denied_probe_is_an_error() {
        let host = FakeHost::new().on_stat(|_| Err(ProbeError::Other("input/output error".to_owned())));
        let report = host.run(check, &[("path", "/f")]).unwrap();
        assert_eq!((report.verdict, report.message.as_str()), (Verdict::Fail, "/f: input/output error"));
        let host = FakeHost::new().on_stat(|_| Err(ProbeError::Denied("add this".to_owned())));
        assert_eq!(host.run(check, &[("path", "/f")]).unwrap_err().to_string(), "add this");
    }

    fn params(pairs: &[(&str, &str)]) -> Params {
        let all = [&[("path", "/f")], pairs].concat();
        vouchd_check::from_pairs(&testing::pairs(&all)).unwrap()
    }

    #[test]
    fn presence_and_age_decide() {
        type Row = (&'static [(&'static str, &'static str)], Option<u64>, Verdict, &'static str);
        let table: [Row; 9] = [
            (&[], Some(3), Verdict::Pass, "/f was modified 3 s ago"),
            (&[], None, Verdict::Fail, "no file /f"),
            (&[("optional", "true")], None, Verdict::Pass, "no file /f"),
            (&[("exists", "false")], None, Verdict::Pass, "no file /f"),
            (&[("exists", "false")], Some(3), Verdict::Fail, "/f exists, expected no such file"),
            (&[("max_age", "1m")], Some(60), Verdict::Pass, "/f was modified 60 s ago"),
            (&[("max_age", "1m")], Some(61), Verdict::Fail, "/f was modified 61 s ago, expected at most 60 s"),
            (&[("min_age", "1m")], Some(59), Verdict::Fail, "/f was modified 59 s ago, expected at least 60 s"),
            (
                &[("max_age", "1d"), ("optional", "true")],
                Some(90_000),
                Verdict::Fail,
                "/f was modified 25 h ago, expected at most 24 h",
            ),
        ];
        for (pairs, age, verdict, message) in table {
            let report = params(pairs).judge(age.map(Duration::from_secs));
            assert_eq!((report.verdict, report.message.as_str()), (verdict, message), "{pairs:?}");
        }
    }

    #[test]
    fn contradictory_parameters_are_errors() {
        type Row = (&'static [(&'static str, &'static str)], &'static str);
        let table: [Row; 7] = [
            (&[("contains", "")], "`contains`"),
            (&[("exists", "false"), ("optional", "true")], "`exists`"),
            (&[("exists", "false"), ("max_age", "1m")], "`exists`"),
            (&[("exists", "false"), ("contains", "x")], "`exists`"),
            (&[("exists", "false"), ("weight", "true")], "`exists`"),
            (&[("min_age", "2m"), ("max_age", "1m")], "`max_age`: expected at least `min_age`, found 60 s"),
            (&[("matches", "(")], "`matches`"),
        ];
        for (pairs, expected) in table {
            let error = params(pairs).wanted().unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
