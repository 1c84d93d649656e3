//! The built-in check `pressure`: do tasks wait for the CPU, memory or I/O, and is the load average high?

mod psi;

use vouchd_check::{Context, Error, Report, Result, Verdict};

use psi::Stall;

vouchd_check::params! {
    struct Params {
        /// Percentage of the time in which at least one task waited for the CPU.
        cpu: Option<Limits>,
        /// Percentage of the time in which at least one task waited for memory.
        memory: Option<Limits>,
        /// Percentage of the time in which at least one task waited for I/O.
        io: Option<Limits>,
        /// Percentage of the time in which all tasks waited for memory.
        memory_full: Option<Limits>,
        /// Percentage of the time in which all tasks waited for I/O.
        io_full: Option<Limits>,
        /// Load average of the last minute per processor.
        load: Option<Limits>,
        /// Seconds over which pressure is averaged: 10, 60 or 300.
        window: u16 = 10,
    }
}

vouchd_check::params! {
    #[derive(Debug, Clone, Copy, Default, PartialEq)]
    struct Limits {
        /// This much or more is a `warn`.
        warn: Option<f64>,
        /// This much or more is a `fail`.
        fail: Option<f64>,
    }
}

impl Limits {
    /// `most` is the highest possible value.
    fn validate(self, name: &str, most: f64) -> Result<()> {
        let given = [("warn", self.warn), ("fail", self.fail)];
        for (key, limit) in given {
            // With a limit of 0 nothing would ever pass.
            if let Some(limit) = limit.filter(|limit| !(*limit > 0.0 && *limit <= most)) {
                let most = if most.is_finite() { format!(" and at most {most}") } else { String::new() };
                return Err(Error::new(format!("parameter `{name}.{key}`: expected more than 0{most}, found {limit}")));
            }
        }
        match (self.warn, self.fail) {
            (None, None) => {
                Err(Error::new(format!("parameter `{name}`: expected `warn`, `fail` or both, found neither")))
            }
            (Some(warn), Some(fail)) if warn > fail => {
                Err(Error::new(format!("parameter `{name}.warn`: expected at most `fail` = {fail}, found {warn}")))
            }
            (Some(_), _) | (None, Some(_)) => Ok(()),
        }
    }

    /// Returns the verdict, and the limit that was reached.
    fn judge(self, value: f64) -> (Verdict, Option<f64>) {
        let reached = |limit: Option<f64>| limit.filter(|limit| value >= *limit);
        match (reached(self.fail), reached(self.warn)) {
            (Some(limit), _) => (Verdict::Fail, Some(limit)),
            (None, Some(limit)) => (Verdict::Warn, Some(limit)),
            (None, None) => (Verdict::Pass, None),
        }
    }
}

/// One measured value.
struct Measured {
    name: &'static str,
    /// Its description in the message.
    what: &'static str,
    unit: &'static str,
    value: f64,
    limits: Option<Limits>,
}

/// Runs the check once.
///
/// # Errors
/// If a parameter makes no sense, or a probe could not be made.
pub fn check(ctx: &Context) -> Result<Report> {
    let params: Params = ctx.params()?;
    params.validate()?;
    judge(&params.measure(&|path| read(ctx, path))?)
}

fn read(ctx: &Context, path: &str) -> Result<String> {
    let contents = ctx.read(path, u32::MAX)?.ok_or_else(|| {
        let hint = if path.starts_with("/proc/pressure/") {
            "expected a kernel with CONFIG_PSI, and psi=1 on its command line where that is not the default"
        } else {
            "expected Linux's /proc and /sys"
        };
        Error::new(format!("no file {path}: {hint}"))
    })?;
    Ok(String::from_utf8_lossy(&contents).into_owned())
}

impl Params {
    fn limits(&self) -> [(&'static str, Option<Limits>, f64); 6] {
        [
            ("cpu", self.cpu, 100.0),
            ("memory", self.memory, 100.0),
            ("io", self.io, 100.0),
            ("memory_full", self.memory_full, 100.0),
            ("io_full", self.io_full, 100.0),
            ("load", self.load, f64::INFINITY),
        ]
    }

    fn validate(&self) -> Result<()> {
        let given: Vec<_> = self.limits().into_iter().filter_map(|(name, l, most)| Some((name, l?, most))).collect();
        if given.is_empty() {
            return Err(Error::new(
                "no parameter says what to look at: expected `cpu`, `memory`, `io`, `memory_full`, `io_full` or `load`",
            ));
        }
        if ![10, 60, 300].contains(&self.window) {
            return Err(Error::new(format!("parameter `window`: expected 10, 60 or 300, found {}", self.window)));
        }
        given.into_iter().try_for_each(|(name, limits, most)| limits.validate(name, most))
    }

    /// Reads only the files that a limit needs.
    fn measure(&self, read: &dyn Fn(&str) -> Result<String>) -> Result<Vec<Measured>> {
        let stall = |resource: &str| -> Result<Stall> {
            let path = format!("/proc/pressure/{resource}");
            let text = read(&path)?;
            psi::stall(&text, self.window).ok_or_else(|| unexpected(&path, "lines like \"some avg10=0.00\"", &text))
        };
        let mut all = Vec::new();
        let some = |name, what, value, limits| Measured { name, what, unit: "%", value, limits };
        if self.cpu.is_some() {
            all.push(some("cpu", "tasks wait for the CPU", stall("cpu")?.some, self.cpu));
        }
        if self.memory.is_some() || self.memory_full.is_some() {
            let stall = stall("memory")?;
            all.push(some("memory", "tasks wait for memory", stall.some, self.memory));
            all.extend(stall.full.map(|full| some("memory_full", "all tasks wait for memory", full, self.memory_full)));
        }
        if self.io.is_some() || self.io_full.is_some() {
            let stall = stall("io")?;
            all.push(some("io", "tasks wait for I/O", stall.some, self.io));
            all.extend(stall.full.map(|full| some("io_full", "all tasks wait for I/O", full, self.io_full)));
        }
        if let Some(limits) = self.load {
            let (path, list) = ("/proc/loadavg", "/sys/devices/system/cpu/online");
            let text = read(path)?;
            let load = psi::load(&text).ok_or_else(|| unexpected(path, "a load average", &text))?;
            let text = read(list)?;
            let processors =
                psi::processors(&text).ok_or_else(|| unexpected(list, "a list of processors like \"0-3\"", &text))?;
            let value = load / f64::from(processors);
            all.push(Measured { name: "load", what: "load per processor", unit: "", value, limits: Some(limits) });
        }
        Ok(all)
    }
}

fn unexpected(path: &str, expected: &str, found: &str) -> Error {
    Error::new(format!("{path}: expected {expected}, found {:?}", found.chars().take(40).collect::<String>()))
}

/// The worst verdict wins; the message lists every value with that verdict.
fn judge(all: &[Measured]) -> Result<Report> {
    let judged: Vec<_> = all
        .iter()
        .filter_map(|m| {
            let (verdict, limit) = m.limits?.judge(m.value);
            let limit = limit.map(|limit| format!(", expected less than {limit}{}", m.unit)).unwrap_or_default();
            Some((verdict, format!("{} {:.2}{}{limit}", m.what, m.value, m.unit)))
        })
        .collect();
    let worst = judged.iter().map(|(verdict, _)| *verdict).max().unwrap_or(Verdict::Pass);
    let texts: Vec<_> = judged.into_iter().filter(|(verdict, _)| *verdict == worst).map(|(_, text)| text).collect();
    let report = Report::new(worst, texts.join("; "));
    Ok(all.iter().fold(report, |report, m| report.metric(m.name, m.value, m.unit)))
}

vouchd_check::check!(check, Params);

#[cfg(test)]
mod tests {
    use vouchd_check::testing::{self, FakeHost};

    use super::*;

    fn params(pairs: &[(&str, &str)]) -> Result<Params> {
        Ok(vouchd_check::from_pairs(&testing::pairs(pairs))?)
    }

    /// A host with 4 processors.
    fn host(path: &str) -> Result<String> {
        let text = match path {
            "/proc/pressure/cpu" => "some avg10=30.00 avg60=3.00 avg300=0.30 total=1\n",
            "/proc/pressure/memory" => {
                "some avg10=20.00 avg60=2.00 avg300=0.20 total=1\nfull avg10=10.00 avg60=1.00 avg300=0.10 total=1\n"
            }
            "/proc/loadavg" => "6.00 4.00 2.00 1/200 3000\n",
            "/sys/devices/system/cpu/online" => "0-3\n",
            _ => return Err(Error::new(format!("{path} should not be read"))),
        };
        Ok(text.to_owned())
    }

    #[test]
    fn worst_values_decide_and_are_listed() {
        type Row = (&'static [(&'static str, &'static str)], Verdict, &'static str);
        let table: [Row; 9] = [
            (&[("cpu.warn", "31")], Verdict::Pass, "tasks wait for the CPU 30.00%"),
            (&[("cpu.warn", "30")], Verdict::Warn, "tasks wait for the CPU 30.00%, expected less than 30%"),
            (
                &[("cpu.warn", "10"), ("cpu.fail", "20")],
                Verdict::Fail,
                "tasks wait for the CPU 30.00%, expected less than 20%",
            ),
            (
                &[("cpu.fail", "3"), ("window", "60")],
                Verdict::Fail,
                "tasks wait for the CPU 3.00%, expected less than 3%",
            ),
            (&[("memory.fail", "50")], Verdict::Pass, "tasks wait for memory 20.00%"),
            (&[("memory_full.fail", "5")], Verdict::Fail, "all tasks wait for memory 10.00%, expected less than 5%"),
            (&[("load.warn", "1.5")], Verdict::Warn, "load per processor 1.50, expected less than 1.5"),
            (
                &[("cpu.warn", "90"), ("memory.warn", "20"), ("load.warn", "1")],
                Verdict::Warn,
                "tasks wait for memory 20.00%, expected less than 20%; load per processor 1.50, expected less than 1",
            ),
            (
                &[("cpu.warn", "1"), ("memory_full.fail", "1")],
                Verdict::Fail,
                "all tasks wait for memory 10.00%, expected less than 1%",
            ),
        ];
        for (pairs, verdict, message) in table {
            let params = params(pairs).unwrap();
            params.validate().unwrap();
            let report = judge(&params.measure(&host).unwrap()).unwrap();
            assert_eq!((report.verdict, report.message.as_str()), (verdict, message), "{pairs:?}");
        }
    }

    #[test]
    fn kernel_without_pressure_is_an_error() {
        let host = FakeHost::new().on_read(|_| Ok(None));
        let error = host.run(check, &[("cpu.warn", "20")]).unwrap_err().to_string();
        assert!(error.starts_with("no file /proc/pressure/cpu: expected a kernel with CONFIG_PSI"), "{error}");
    }

    #[test]
    fn measured_values_are_metrics() {
        let params = params(&[("memory.fail", "50"), ("load.fail", "8")]).unwrap();
        let report = judge(&params.measure(&host).unwrap()).unwrap();
        let metrics: Vec<_> = report.metrics.iter().map(|m| (m.name.as_str(), m.value, m.unit.as_str())).collect();
        assert_eq!(metrics, [("memory", 20.0, "%"), ("memory_full", 10.0, "%"), ("load", 1.5, "")]);
    }

    #[test]
    fn parameters_that_make_no_sense_are_errors() {
        type Row = (&'static [(&'static str, &'static str)], &'static str);
        let table: [Row; 7] = [
            (&[], "no parameter says what to look at"),
            (&[("cpu.warn", "101")], "`cpu.warn`: expected more than 0 and at most 100, found 101"),
            (&[("cpu.fail", "0")], "`cpu.fail`: expected more than 0"),
            (&[("load.fail", "nan")], "`load.fail`: expected more than 0, found NaN"),
            (&[("cpu.warn", "20"), ("cpu.fail", "10")], "`cpu.warn`: expected at most `fail` = 10, found 20"),
            (&[("cpu.warn", "20"), ("window", "15")], "`window`: expected 10, 60 or 300, found 15"),
            (&[("cpu.wran", "20")], "unknown parameter `wran`"),
        ];
        for (pairs, expected) in table {
            let error = params(pairs).and_then(|p| p.validate()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn file_with_other_contents_is_an_error() {
        let params = params(&[("io.warn", "20")]).unwrap();
        let error = params.measure(&|_| Ok("none".to_owned())).err().map(|e| e.to_string()).unwrap_or_default();
        assert_eq!(error, "/proc/pressure/io: expected lines like \"some avg10=0.00\", found \"none\"");
    }
}
