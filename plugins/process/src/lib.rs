//! The built-in check `process`: are enough processes running? A zombie, which has ended but was not yet reaped, does not count.

use vouchd_check::{Context, Error, ProcessQuery, Report, Result};

vouchd_check::params! {
    struct Params {
        /// Exact name, as `ps -e` shows it.
        name: Option<String>,
        /// Regular expression that matches somewhere in the command line.
        cmdline: Option<String>,
        /// File whose first word is the process id.
        pid_file: Option<String>,
        /// Effective owner: a name or a number.
        user: Option<String>,
        /// Fewer than this is a `fail`.
        min: usize = 1,
        /// More than this is a `fail`.
        max: Option<usize>,
    }
}

/// Runs the check once.
///
/// # Errors
/// If a parameter makes no sense, or a probe could not be made.
pub fn check(ctx: &Context) -> Result<Report> {
    let params: Params = ctx.params()?;
    if params.name.is_none() && params.cmdline.is_none() && params.pid_file.is_none() {
        return Err(Error::new("no parameter says which process: expected `name`, `cmdline` or `pid_file`"));
    }
    if let Some(max) = params.max
        && max < params.min
    {
        return Err(Error::new(format!("parameter `max`: expected at least `min` = {}, found {max}", params.min)));
    }
    let what = describe(&params);
    let query =
        ProcessQuery { name: params.name, cmdline: params.cmdline, pid_file: params.pid_file, user: params.user };
    let found = ctx.find_processes(&query)?.len();
    let message = match found {
        0 => format!("no process {what}"),
        1 => format!("1 process {what}"),
        n => format!("{n} processes {what}"),
    };
    let report = if found < params.min {
        let expected = if params.min == 1 { String::new() } else { format!(", expected at least {}", params.min) };
        Report::fail(message + &expected)
    } else if let Some(max) = params.max.filter(|max| found > *max) {
        Report::fail(format!("{message}, expected at most {max}"))
    } else {
        Report::pass(message)
    };
    Ok(report.metric("processes", found as f64, ""))
}

/// `named nginx owned by www-data`.
fn describe(params: &Params) -> String {
    let words = [
        params.name.as_ref().map(|name| format!("named {name}")),
        params.cmdline.as_ref().map(|pattern| format!("with {pattern:?} in its command line")),
        params.pid_file.as_ref().map(|path| format!("from {path}")),
        params.user.as_ref().map(|user| format!("owned by {user}")),
    ];
    words.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

vouchd_check::check!(check, Params);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use vouchd_check::testing::FakeHost;
    use vouchd_check::{ProbeError, Process, Verdict};

    use super::*;

    fn running(count: u32) -> FakeHost {
        FakeHost::new().on_processes(move |query| {
            let name = query.name.clone().unwrap_or_default();
            Ok((1..=count).map(|pid| Process { pid, name: name.clone(), age: Duration::ZERO }).collect())
        })
    }

    #[test]
    fn count_decides() {
        type Row = (u32, &'static [(&'static str, &'static str)], Verdict, &'static str);
        let table: [Row; 7] = [
            (0, &[("name", "nginx")], Verdict::Fail, "no process named nginx"),
            (1, &[("name", "nginx")], Verdict::Pass, "1 process named nginx"),
            (3, &[("name", "nginx")], Verdict::Pass, "3 processes named nginx"),
            (1, &[("name", "nginx"), ("min", "2")], Verdict::Fail, "1 process named nginx, expected at least 2"),
            (3, &[("name", "nginx"), ("max", "2")], Verdict::Fail, "3 processes named nginx, expected at most 2"),
            (0, &[("name", "bad"), ("min", "0"), ("max", "0")], Verdict::Pass, "no process named bad"),
            (
                1,
                &[("cmdline", "Main$"), ("user", "app")],
                Verdict::Pass,
                "1 process with \"Main$\" in its command line owned by app",
            ),
        ];
        for (count, params, verdict, message) in table {
            let report = running(count).run(check, params).unwrap();
            assert_eq!((report.verdict, report.message.as_str()), (verdict, message), "{params:?}");
        }
    }

    #[test]
    fn parameters_that_make_no_sense_are_errors() {
        type Row = (&'static [(&'static str, &'static str)], &'static str);
        let table: [Row; 3] = [
            (&[], "no parameter says which process"),
            (&[("name", "x"), ("min", "3"), ("max", "2")], "expected at least `min` = 3, found 2"),
            (&[("nmae", "x")], "unknown parameter `nmae`"),
        ];
        for (params, expected) in table {
            let error = running(1).run(check, params).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn denied_probe_is_an_error() {
        let host = FakeHost::new().on_processes(|_| Err(ProbeError::Denied("add this line".to_owned())));
        assert_eq!(host.run(check, &[("name", "nginx")]).unwrap_err().to_string(), "add this line");
    }
}
