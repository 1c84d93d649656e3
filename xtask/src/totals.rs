//! The totals of a run of the tests. For nextest a test that returned at once because the machine lacks something has
//! passed; here it was skipped, and the last line says what was and how to run it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// Where nextest reports, and where tests note that they were skipped.
pub struct Records {
    reports: PathBuf,
    skipped: PathBuf,
}

impl Records {
    /// Without what an earlier run left.
    pub fn new(root: &Path) -> anyhow::Result<Self> {
        let records = Records { reports: root.join("target/nextest"), skipped: root.join("target/tests-skipped") };
        for file in records.reports()?.into_iter().chain([records.skipped.clone()]) {
            if file.exists() {
                fs::remove_file(&file).with_context(|| format!("removing {}", file.display()))?;
            }
        }
        Ok(records)
    }

    /// For `VOUCHD_TESTS_SKIPPED`.
    pub fn skipped(&self) -> &Path {
        &self.skipped
    }

    /// One for each profile.
    fn reports(&self) -> anyhow::Result<Vec<PathBuf>> {
        let Ok(profiles) = fs::read_dir(&self.reports) else { return Ok(Vec::new()) };
        let mut reports = Vec::new();
        for profile in profiles {
            let report = profile?.path().join("junit.xml");
            if report.exists() {
                reports.push(report);
            }
        }
        Ok(reports)
    }

    /// The totals in words. None where no test was run.
    pub fn totals(&self) -> anyhow::Result<Option<String>> {
        let Some(report) = self.reports()?.pop() else { return Ok(None) };
        let text = fs::read_to_string(&report).with_context(|| format!("reading {}", report.display()))?;
        let skipped = fs::read_to_string(&self.skipped).unwrap_or_default();
        let totals = describe(&text, &skipped);
        totals.map(Some).with_context(|| format!("{} is not the report that nextest writes", report.display()))
    }
}

/// `report`: of nextest, in JUnit's format. `skipped`: a line for each skipped test: which, why, and what to do.
fn describe(report: &str, skipped: &str) -> Option<String> {
    let head = report.split_once("<testsuites ")?.1.split_once('>')?.0;
    let number = |name: &str| head.split_once(&format!(" {name}=\""))?.1.split_once('"')?.0.parse::<usize>().ok();
    let (tests, failed) = (number("tests")?, number("failures")? + number("errors")?);

    let mut cures: BTreeMap<&str, (BTreeSet<&str>, BTreeSet<&str>)> = BTreeMap::new();
    let mut names = BTreeSet::new();
    for line in skipped.lines() {
        let [test, missing, cure] = <[&str; 3]>::try_from(line.split('\t').collect::<Vec<_>>()).ok()?;
        // A second try is the same test.
        if names.insert(test) {
            let (tests, reasons) = cures.entry(cure).or_default();
            tests.insert(test);
            reasons.insert(missing);
        }
    }
    let passed = tests.saturating_sub(failed + names.len());
    let totals = format!("{passed} passed, {failed} failed, {} skipped", names.len());
    if names.is_empty() {
        return Some(totals);
    }
    let groups = cures.iter().map(|(cure, (tests, reasons))| {
        let word = if tests.len() == 1 { "test" } else { "tests" };
        format!("{} {word} ({}): {cure}", tests.len(), list(reasons))
    });
    Some(format!("{totals}\nskipped: {}", groups.collect::<Vec<_>>().join("; ")))
}

fn list(reasons: &BTreeSet<&str>) -> String {
    const MOST: usize = 3;
    let shown = reasons.iter().take(MOST).copied().collect::<Vec<_>>().join(", ");
    match reasons.len() {
        count if count > MOST => format!("{shown} and {} more", count - MOST),
        _ => shown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(tests: usize, failures: usize) -> String {
        format!(
            "<?xml version=\"1.0\"?>\n<testsuites name=\"nextest-run\" uuid=\"x\" tests=\"{tests}\" \
             failures=\"{failures}\" errors=\"0\">\n<testsuite name=\"a\" tests=\"1\" failures=\"0\" errors=\"0\">"
        )
    }

    #[test]
    fn what_was_skipped_has_not_passed() {
        let skipped = "t languages::zig\tno plugin in zig\trun `cargo xtask languages`\n\
                       t languages::go\tno plugin in go\trun `cargo xtask languages`\n\
                       t nginx\tno command nginx\tinstall the package nginx-light\n\
                       t nginx\tno command nginx\tinstall the package nginx-light\n";
        assert_eq!(
            describe(&report(10, 2), skipped).unwrap(),
            "5 passed, 2 failed, 3 skipped\n\
             skipped: 1 test (no command nginx): install the package nginx-light; \
             2 tests (no plugin in go, no plugin in zig): run `cargo xtask languages`"
        );
        assert_eq!(describe(&report(3, 0), "").unwrap(), "3 passed, 0 failed, 0 skipped");
    }

    #[test]
    fn long_lists_of_reasons_are_cut() {
        let skipped: String = (0..5).map(|n| format!("t {n}\tno {n}\tbuild it\n")).collect();
        let last = describe(&report(5, 0), &skipped).unwrap();
        assert!(last.ends_with("skipped: 5 tests (no 0, no 1, no 2 and 2 more): build it"), "{last}");
    }

    #[test]
    fn what_is_no_report_gives_no_totals() {
        assert_eq!(describe("<html>", ""), None);
    }
}
