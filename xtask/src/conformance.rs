//! The last column of docs/conformance.md: which tests prove which row. And docs/conformance-measured.md: what vouchd,
//! keepalived and FRR do, as the conformance runner sees it.
//!
//! A test names its rows in its documentation (`/// Rows 74 and 75: …`), else in its own name (`fn row_36_…`,
//! `fn rows_5_to_8_…`), or as a case of a table (`"row 36: …"`). The rows of the conformance runner are a table of
//! `row(36, …, function)`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};

const DOCUMENT: &str = "docs/conformance.md";
const MEASURED: &str = "docs/conformance-measured.md";
const SOURCES: [&str; 2] = ["daemon", "tests"];
/// What a row without a test has to say in its decision.
const EXCUSES: [&str; 2] = ["Open: ", "Not applicable: "];

type Tests = BTreeMap<u32, BTreeSet<String>>;

/// Writes the column anew, or with `check` fails where it is out of date.
///
/// # Errors
/// When a test names a row that there is not, or a row has neither test nor reason.
pub fn update(root: &Path, check: bool) -> anyhow::Result<()> {
    let path = root.join(DOCUMENT);
    let document = fs::read_to_string(&path).context(DOCUMENT)?;
    let mut tests = Tests::new();
    for source in SOURCES {
        scan_directory(&root.join(source), &mut tests)?;
    }
    let written = fill(&document, &tests)?;
    if check {
        ensure!(written == document, "{DOCUMENT} is out of date; run `cargo xtask conformance`");
    } else if written != document {
        fs::write(&path, written)?;
    }
    Ok(())
}

/// Judges vouchd, keepalived and FRR on this machine, and writes what they do into docs/conformance-measured.md.
///
/// # Errors
/// When a router is not installed, or the runner does not end well.
pub fn measure(root: &Path, environment: &[(&str, PathBuf)]) -> anyhow::Result<()> {
    let runner = root.join("target/debug/vouchd-conformance");
    let path = root.join(MEASURED);
    let [vouchd, keepalived, frr] = ["--router=vouchd", "--router=keepalived", "--router=frr"];
    for (name, arguments) in [
        ("rows", &[vouchd, keepalived, frr, "--markdown"][..]),
        ("matrix", &[vouchd, keepalived, frr, "--matrix"]),
        ("flood", &[vouchd, keepalived, "--flood"]),
    ] {
        let mut command = Command::new(&runner);
        command.args(arguments);
        let output = command.envs(environment.iter().cloned()).stderr(Stdio::inherit()).output()?;
        // 1: a row fails, as it does with the others.
        ensure!(matches!(output.status.code(), Some(0 | 1)), "{} ended with {}", runner.display(), output.status);
        let table = String::from_utf8(output.stdout)?;
        let document = fs::read_to_string(&path).context(MEASURED)?;
        fs::write(&path, insert(&document, name, &table)?)?;
    }
    Ok(())
}

/// Puts a table between the two lines that name its place.
fn insert(document: &str, name: &str, table: &str) -> anyhow::Result<String> {
    let start = format!("<!-- {name}: written by `cargo xtask conformance --measure` -->\n");
    let end = format!("<!-- end of {name} -->");
    let parts = document.split_once(&start).and_then(|(before, rest)| Some((before, rest.split_once(&end)?.1)));
    let (before, after) = parts.with_context(|| format!("{MEASURED} has no place for the {name}"))?;
    Ok(format!("{before}{start}\n{}\n\n{end}{after}", table.trim_end()))
}

fn scan_directory(directory: &Path, tests: &mut Tests) -> anyhow::Result<()> {
    for entry in fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            scan_directory(&path, tests)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            scan(&fs::read_to_string(&path)?, tests);
        }
    }
    Ok(())
}

fn scan(source: &str, tests: &mut Tests) {
    let mut documented = Vec::new();
    let mut is_test = false;
    for line in source.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("/// Row") {
            documented = numbers(text.strip_prefix('s').unwrap_or(text).split(':').next().unwrap_or_default());
        } else if line.starts_with("#[") {
            is_test |= line == "#[test]" || line.starts_with("#[tokio::test");
        } else if let Some(name) = line.strip_prefix("fn ").or_else(|| line.strip_prefix("async fn ")) {
            let function = name.split(['(', '<']).next().unwrap_or_default().to_owned();
            let mut rows = std::mem::take(&mut documented);
            if rows.is_empty() {
                rows = named(&function);
            }
            for row in rows.into_iter().filter(|_| is_test) {
                tests.entry(row).or_default().insert(function.clone());
            }
            is_test = false;
        } else if let Some((row, function)) = black_box(line) {
            tests.entry(row).or_default().insert(format!("conformance: {function}"));
        } else if let Some((_, case)) = line.split_once("\"row ") {
            if let Some(row) = leading_number(case) {
                let case = case.split('"').next().unwrap_or_default();
                tests.entry(row).or_default().insert(format!("case row {case}"));
            }
        } else if !line.starts_with("//") && !line.is_empty() {
            documented.clear();
        }
    }
}

/// A row of the conformance runner: `row(3, ALL, section::function),`.
fn black_box(line: &str) -> Option<(u32, &str)> {
    let cells = line.strip_prefix("row(")?.strip_suffix("),")?;
    let function = cells.rsplit("::").next().filter(|function| !function.contains(' '))?;
    Some((leading_number(cells)?, function))
}

/// The rows of `row_3_is_kept`, `rows_3_and_7_are_kept`, `rows_3_to_7_are_kept`.
fn named(function: &str) -> Vec<u32> {
    let words: Vec<_> = function.split('_').collect();
    let number = |word: &str| word.parse::<u32>().ok();
    match words[..] {
        ["row", row, ..] => number(row).into_iter().collect(),
        ["rows", first, "and", second, ..] => [first, second].into_iter().filter_map(number).collect(),
        ["rows", first, "to", last, ..] => match (number(first), number(last)) {
            (Some(first), Some(last)) => (first..=last).collect(),
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

fn numbers(text: &str) -> Vec<u32> {
    text.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
}

fn leading_number(text: &str) -> Option<u32> {
    text.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn fill(document: &str, tests: &Tests) -> anyhow::Result<String> {
    let mut known = BTreeSet::new();
    let mut written = String::new();
    for line in document.lines() {
        written += &match row(line) {
            Some((number, cells)) => {
                ensure!(known.insert(number), "{DOCUMENT} has two rows {number}");
                filled(number, cells, tests.get(&number))?
            }
            None => line.to_owned(),
        };
        written.push('\n');
    }
    if let Some((row, tests)) = tests.iter().find(|(row, _)| !known.contains(row)) {
        bail!("{DOCUMENT} has no row {row}, which {tests:?} name");
    }
    Ok(written)
}

/// The number of a table's row, and its cells up to the last.
fn row(line: &str) -> Option<(u32, &str)> {
    let number = line.strip_prefix("| ")?.split(" | ").next()?.parse().ok()?;
    let (cells, _) = line.strip_suffix(" |")?.rsplit_once(" | ")?;
    Some((number, cells))
}

fn filled(number: u32, cells: &str, tests: Option<&BTreeSet<String>>) -> anyhow::Result<String> {
    let Some(tests) = tests else {
        let excused = EXCUSES.iter().any(|excuse| cells.contains(excuse));
        ensure!(excused, "row {number} of {DOCUMENT} has no test, and does not say why (\"Open: …\")");
        return Ok(format!("{cells} | - |"));
    };
    let names: Vec<_> = tests.iter().map(|test| format!("`{test}`")).collect();
    Ok(format!("{cells} | {} |", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = r#"
        #[test]
        fn row_3_is_kept() {}

        #[test]
        fn rows_9_to_10_are_kept() {}

        /// Rows 4 and 5: both.
        #[test]
        fn another() {
            let case = Case { name: "row 6: a case" };
        }

        row(11, &[V6], reception::first_address),

        /// Row 7: of a function that is no test.
        fn helper() {}
    "#;

    fn scanned() -> Tests {
        let mut tests = Tests::new();
        scan(SOURCE, &mut tests);
        tests
    }

    #[test]
    fn tests_name_their_rows_in_three_ways() {
        let found: Vec<_> = scanned().into_iter().map(|(row, tests)| (row, tests.into_iter().collect())).collect();
        let expected = [
            (3, "row_3_is_kept"),
            (4, "another"),
            (5, "another"),
            (6, "case row 6: a case"),
            (9, "rows_9_to_10_are_kept"),
            (10, "rows_9_to_10_are_kept"),
            (11, "conformance: first_address"),
        ];
        assert_eq!(found, expected.map(|(row, name)| (row, vec![name.to_owned()])));
    }

    #[test]
    fn the_column_is_written_and_a_row_without_test_or_reason_is_an_error() {
        let head = "| 3 | rule | RFC | done | old |\n| 4 | rule | RFC | done | - |\n";
        let nine = "| 9 | rule | RFC | done | - |\n| 10 | rule | RFC | done | - |\n\
                    | 11 | rule | RFC | done | - |\n";
        let tail =
            "| 5 | rule | RFC | done | - |\n| 6 | rule | RFC | done | - |\n| 8 | rule | RFC | Open: soon | - |\n";
        let written = fill(&format!("{head}{nine}{tail}"), &scanned()).expect("every row has what it needs");
        assert!(
            written.starts_with("| 3 | rule | RFC | done | `row_3_is_kept` |\n| 4 | rule | RFC | done | `another` |\n")
        );
        let unexcused = format!("{head}{nine}{}", tail.replace("Open: soon", "done"));
        assert!(fill(&unexcused, &scanned()).unwrap_err().to_string().contains("row 8"));
        assert!(fill(head, &scanned()).unwrap_err().to_string().contains("no row 5"), "a test of no row");
    }
}
