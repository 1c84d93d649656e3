//! The last lines of a test run: totals, skipped tests and what to do about them, tests that needed a second try.
//!
//! nextest counts a test that returned early, because the machine lacks something, as passed. Here it counts as skipped.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use roxmltree::{Document, Node};

/// Lines of a failed first try that are shown.
const LINES_OF_REASON: usize = 4;

/// The files that a test run leaves.
pub struct Records {
    reports: PathBuf,
    skipped: PathBuf,
}

impl Records {
    /// Removes what an earlier run left.
    pub fn new(root: &Path) -> anyhow::Result<Self> {
        let records = Records { reports: root.join("target/nextest"), skipped: root.join("target/tests-skipped") };
        for file in records.reports()?.into_iter().chain([records.skipped.clone()]) {
            if file.exists() {
                fs::remove_file(&file).with_context(|| format!("removing {}", file.display()))?;
            }
        }
        Ok(records)
    }

    /// The file to which skipped tests are appended: the value of `VOUCHD_TESTS_SKIPPED`.
    pub fn skipped(&self) -> &Path {
        &self.skipped
    }

    /// The report of each nextest profile.
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

    /// The last lines of the run, or `None` if no test ran.
    pub fn totals(&self) -> anyhow::Result<Option<String>> {
        let Some(report) = self.reports()?.pop() else { return Ok(None) };
        let text = fs::read_to_string(&report).with_context(|| format!("reading {}", report.display()))?;
        let skipped = fs::read_to_string(&self.skipped).unwrap_or_default();
        describe(&text, &skipped).map(Some).with_context(|| format!("reading {}", report.display()))
    }
}

/// `report`: nextest's, in the JUnit format. `skipped`: a line for each skipped test: its name, what is missing, what to do.
fn describe(report: &str, skipped: &str) -> anyhow::Result<String> {
    let document = Document::parse(report)?;
    let suites = document.root_element();
    let number = |name: &str| -> anyhow::Result<usize> {
        Ok(suites.attribute(name).with_context(|| format!("no attribute {name}"))?.parse()?)
    };
    let (tests, failed) = (number("tests")?, number("failures")? + number("errors")?);
    let skipped = Skipped::read(skipped)?;
    let passed = tests.saturating_sub(failed + skipped.names.len());
    let mut lines = vec![format!("{passed} passed, {failed} failed, {} skipped", skipped.names.len())];
    lines.extend(skipped.line());
    lines.extend(second_tries(&document));
    Ok(lines.join("\n"))
}

#[derive(Default)]
struct Skipped<'a> {
    names: BTreeSet<&'a str>,
    /// For each thing to do: the tests that it would make run, and what they miss.
    cures: BTreeMap<&'a str, (BTreeSet<&'a str>, BTreeSet<&'a str>)>,
}

impl<'a> Skipped<'a> {
    fn read(text: &'a str) -> anyhow::Result<Self> {
        let mut skipped = Self::default();
        for line in text.lines() {
            let Ok([test, missing, cure]) = <[&str; 3]>::try_from(line.split('\t').collect::<Vec<_>>()) else {
                bail!("not a line about a skipped test: {line}");
            };
            // A second try is the same test.
            if skipped.names.insert(test) {
                let (tests, reasons) = skipped.cures.entry(cure).or_default();
                tests.insert(test);
                reasons.insert(missing);
            }
        }
        Ok(skipped)
    }

    fn line(&self) -> Option<String> {
        let groups = self
            .cures
            .iter()
            .map(|(cure, (tests, reasons))| format!("{} ({}): {cure}", count(tests.len()), list(reasons)));
        (!self.names.is_empty()).then(|| format!("skipped: {}", groups.collect::<Vec<_>>().join("; ")))
    }
}

/// The tests that passed at the second try, each with the reason why the first one failed.
fn second_tries(report: &Document<'_>) -> Vec<String> {
    let is_flaky = |node: &Node<'_, '_>| node.has_tag_name("flakyFailure") || node.has_tag_name("flakyError");
    let mut lines: Vec<_> = report
        .descendants()
        .filter(is_flaky)
        .filter_map(|first| {
            let test = first.parent()?;
            let (binary, name) = (test.attribute("classname")?, test.attribute("name")?);
            Some(format!("  {binary} {name}: {}", reason(first)))
        })
        .collect();
    lines.sort();
    let head = match lines.len() {
        0 => "second try: no test needed one".to_owned(),
        tests => format!("second try: {} failed at first and then passed", count(tests)),
    };
    lines.insert(0, head);
    lines
}

/// The first lines of the panic or error message, on one line.
fn reason(failure: Node<'_, '_>) -> String {
    let output = failure.text().unwrap_or_default();
    let message = output.split("stack backtrace:").next().unwrap_or_default();
    let lines: Vec<_> = message.lines().map(str::trim).filter(|line| !line.is_empty()).take(LINES_OF_REASON).collect();
    let lines = lines.join("; ");
    // The name of the thread is the test's.
    let lines = lines
        .split_once("panicked at ")
        .filter(|(thread, _)| thread.starts_with("thread "))
        .map_or(&*lines, |(_, rest)| rest);
    let kind = failure.attribute("type").unwrap_or("no reason given");
    if lines.is_empty() { kind.to_owned() } else { lines.to_owned() }
}

fn count(tests: usize) -> String {
    format!("{tests} {}", if tests == 1 { "test" } else { "tests" })
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

    const NO_SECOND_TRY: &str = "second try: no test needed one";

    fn report(tests: usize, failures: usize, cases: &str) -> String {
        format!(
            "<?xml version=\"1.0\"?>\n<testsuites name=\"nextest-run\" uuid=\"x\" tests=\"{tests}\" \
             failures=\"{failures}\" errors=\"0\">\n<testsuite name=\"a\" tests=\"1\" failures=\"0\" \
             errors=\"0\">{cases}</testsuite></testsuites>"
        )
    }

    #[test]
    fn skipped_test_does_not_count_as_passed() {
        let skipped = "t languages::zig\tno plugin in zig\trun `cargo xtask languages`\n\
                       t languages::go\tno plugin in go\trun `cargo xtask languages`\n\
                       t nginx\tno command nginx\tinstall the package nginx-light\n\
                       t nginx\tno command nginx\tinstall the package nginx-light\n";
        assert_eq!(
            describe(&report(10, 2, ""), skipped).unwrap(),
            format!(
                "5 passed, 2 failed, 3 skipped\n\
                 skipped: 1 test (no command nginx): install the package nginx-light; \
                 2 tests (no plugin in go, no plugin in zig): run `cargo xtask languages`\n{NO_SECOND_TRY}"
            )
        );
        let clean = describe(&report(3, 0, ""), "").unwrap();
        assert_eq!(clean, format!("3 passed, 0 failed, 0 skipped\n{NO_SECOND_TRY}"));
    }

    #[test]
    fn long_lists_of_reasons_are_cut() {
        let skipped: String = (0..5).map(|n| format!("t {n}\tno {n}\tbuild it\n")).collect();
        let totals = describe(&report(5, 0, ""), &skipped).unwrap();
        assert!(totals.contains("skipped: 5 tests (no 0, no 1, no 2 and 2 more): build it"), "{totals}");
    }

    #[test]
    fn every_test_that_needed_a_second_try_is_listed_with_the_reason() {
        let cases = r#"
            <testcase name="good" classname="a"/>
            <testcase name="moves" classname="b">
                <flakyFailure message="thread" type="test failure with exit code 101">thread 'moves' (7) panicked at src/b.rs:1:2:
assertion `left == right` failed: held by &quot;both&quot;
  left: 1
 right: 2
stack backtrace:
   0: rust_begin_unwind
                <system-out>much</system-out></flakyFailure>
            </testcase>
            <testcase name="fails" classname="a">
                <failure type="x">no</failure><rerunFailure type="x">no</rerunFailure>
            </testcase>
            <testcase name="hangs" classname="a"><flakyFailure type="test timeout"/></testcase>"#;
        assert_eq!(
            describe(&report(4, 1, cases), "").unwrap(),
            "3 passed, 1 failed, 0 skipped\n\
             second try: 2 tests failed at first and then passed\n  \
             a hangs: test timeout\n  \
             b moves: src/b.rs:1:2:; assertion `left == right` failed: held by \"both\"; left: 1; right: 2"
        );
    }

    #[test]
    fn file_that_is_no_report_gives_an_error() {
        assert!(describe("<html>", "").is_err());
        assert!(describe("<html/>", "").is_err());
    }
}
