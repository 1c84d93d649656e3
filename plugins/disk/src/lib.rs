//! The built-in check `disk`: does a file system have enough room, in bytes and in inodes?

mod amount;

use vouchd_check::{Context, Error, Report, Result, Space};

use amount::{Bounds, Least, What, share};

vouchd_check::params! {
    struct Params {
        /// Any path on the file system.
        path: String,
        /// Room for programs without privileges: shares ("10%") or sizes ("2GiB").
        free: Option<Bounds>,
        /// Files that can still be created: shares ("5%") or numbers.
        inodes: Option<Bounds>,
    }
}

/// The parameters, parsed.
struct Wanted {
    free: Option<Least>,
    inodes: Option<Least>,
}

impl Wanted {
    fn new(params: &Params) -> Result<Self> {
        let least = |name, bounds: &Option<Bounds>, what| {
            bounds.as_ref().map(|bounds| Least::parse(name, bounds, what)).transpose()
        };
        let wanted = Wanted {
            free: least("free", &params.free, What::Bytes)?,
            inodes: least("inodes", &params.inodes, What::Inodes)?,
        };
        if wanted.free.is_none() && wanted.inodes.is_none() {
            return Err(Error::new("no parameter says how much is enough: expected `free`, `inodes` or both"));
        }
        Ok(wanted)
    }

    /// Judges both; the worse one decides.
    fn judge(&self, path: &str, space: &Space) -> Result<Report> {
        if space.total == 0 {
            return Err(Error::new(format!(
                "{path} is on a file system without a size, such as /proc: expected one that stores files"
            )));
        }
        let free = self.free.as_ref().map(|least| least.judge(path, space.available, space.total));
        // Some file systems, such as btrfs, create inodes as needed and count none.
        let counted = self.inodes.as_ref().filter(|_| space.inodes > 0);
        let inodes = counted.map(|least| least.judge(path, space.inodes_available, space.inodes));
        let report = match (free, inodes) {
            (Some(free), Some(inodes)) if inodes.verdict > free.verdict => inodes,
            (Some(free), _) => free,
            (None, Some(inodes)) => inodes,
            (None, None) => Report::pass(format!("{path}: inodes are not limited")),
        };
        let report = report.metric("available", space.available as f64, "B").metric(
            "available_share",
            share(space.available, space.total),
            "%",
        );
        Ok(if space.inodes > 0 {
            report.metric("inodes_share", share(space.inodes_available, space.inodes), "%")
        } else {
            report
        })
    }
}

/// Runs the check once.
///
/// # Errors
/// If a parameter makes no sense, or a probe could not be made.
pub fn check(ctx: &Context) -> Result<Report> {
    let params: Params = ctx.params()?;
    let wanted = Wanted::new(&params)?;
    match ctx.space(&params.path) {
        Ok(space) => wanted.judge(&params.path, &space),
        Err(error) => error.or_fail(&params.path),
    }
}

vouchd_check::check!(check, Params);

#[cfg(test)]
mod tests {
    use vouchd_check::testing::{self, FakeHost};
    use vouchd_check::{ProbeError, Verdict};

    use super::*;

    fn wanted(pairs: &[(&str, &str)]) -> Result<Wanted> {
        let all = [&[("path", "/srv")], pairs].concat();
        Wanted::new(&vouchd_check::from_pairs(&testing::pairs(&all))?)
    }

    const HALF_FULL: Space = Space { total: 100 << 30, available: 50 << 30, inodes: 1000, inodes_available: 10 };

    #[test]
    fn worse_of_bytes_and_inodes_decides() {
        type Row = (&'static [(&'static str, &'static str)], Verdict, &'static str);
        let table: [Row; 5] = [
            (&[("free.fail", "10%")], Verdict::Pass, "/srv: 50.0% free (50 GiB)"),
            (&[("free.warn", "60GiB")], Verdict::Warn, "/srv: 50.0% free (50 GiB), expected at least 60 GiB"),
            (
                &[("free.warn", "60%"), ("inodes.fail", "5%")],
                Verdict::Fail,
                "/srv: 1.0% of the inodes free (10), expected at least 5%",
            ),
            (
                &[("free.fail", "60%"), ("inodes.warn", "11")],
                Verdict::Fail,
                "/srv: 50.0% free (50 GiB), expected at least 60%",
            ),
            (&[("inodes.fail", "10")], Verdict::Pass, "/srv: 1.0% of the inodes free (10)"),
        ];
        for (pairs, verdict, message) in table {
            let report = wanted(pairs).unwrap().judge("/srv", &HALF_FULL).unwrap();
            assert_eq!((report.verdict, report.message.as_str()), (verdict, message), "{pairs:?}");
            let metrics: Vec<_> = report.metrics.iter().map(|m| (m.name.as_str(), m.value)).collect();
            let available = f64::from(50u32) * f64::from(1u32 << 30);
            assert_eq!(metrics, [("available", available), ("available_share", 50.0), ("inodes_share", 1.0)]);
        }
    }

    #[test]
    fn file_system_without_inode_limit_passes() {
        let space = Space { inodes: 0, inodes_available: 0, ..HALF_FULL };
        let report = wanted(&[("inodes.fail", "5%")]).unwrap().judge("/srv", &space).unwrap();
        assert_eq!((report.verdict, report.message.as_str()), (Verdict::Pass, "/srv: inodes are not limited"));
        assert!(!report.metrics.iter().any(|m| m.name == "inodes_share"));
    }

    #[test]
    fn denied_probe_is_an_error() {
        let params = [("path", "/srv"), ("free.fail", "5%")];
        let host =
            FakeHost::new().on_space(|path| if path == "/srv" { Ok(HALF_FULL) } else { Err(ProbeError::Timeout) });
        assert_eq!(host.run(check, &params).unwrap().verdict, Verdict::Pass);
        let host = FakeHost::new().on_space(|_| Err(ProbeError::Denied("add this".to_owned())));
        assert_eq!(host.run(check, &params).unwrap_err().to_string(), "add this");
    }

    #[test]
    fn nothing_to_judge_is_an_error() {
        let error = wanted(&[]).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(error.contains("expected `free`, `inodes` or both"), "{error}");
        let space = Space { total: 0, available: 0, ..HALF_FULL };
        let error = wanted(&[("free.fail", "5%")]).unwrap().judge("/proc", &space).unwrap_err().to_string();
        assert!(error.contains("/proc is on a file system without a size"), "{error}");
    }
}
