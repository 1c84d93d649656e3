//! How a test reports that it cannot run on this machine.
//!
//! Such a test returns, and nextest counts it as passed. So each skipped test is also a line of the file that
//! `VOUCHD_TESTS_SKIPPED` names, from which `cargo xtask test` makes its totals.
//!
//! With `VOUCHD_TESTS_STRICT` the test fails instead.

#![warn(missing_docs, unreachable_pub)]

use std::env;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::thread;

/// The variable that names the file to which skipped tests are appended.
pub const FILE: &str = "VOUCHD_TESTS_SKIPPED";

/// The variable that makes skipping a failure.
pub const STRICT: &str = "VOUCHD_TESTS_STRICT";

/// Reports that the calling test is skipped. The test has to return then. `missing` says what the machine lacks, `cure` how
/// to get it.
///
/// # Panics
/// With `VOUCHD_TESTS_STRICT`, or if the file cannot be written.
#[track_caller]
pub fn skip(missing: &str, cure: &str) {
    assert!(env::var_os(STRICT).is_none(), "cannot run here: {missing}: {cure}");
    skip_even_if_strict(missing, cure);
}

/// The same where no machine is expected to have what is missing: `VOUCHD_TESTS_STRICT` has no effect.
///
/// # Panics
/// If the file cannot be written.
pub fn skip_even_if_strict(missing: &str, cure: &str) {
    let test = this_test();
    // Not `eprintln!`, whose output a passing test does not show.
    let _ = writeln!(io::stderr(), "SKIPPED: {test}: {missing}: {cure}");
    if let Some(file) = env::var_os(FILE)
        && let Err(error) = note(&file, [&test, missing, cure])
    {
        panic!("{}: {error}; skipped tests cannot be counted", Path::new(&file).display());
    }
}

/// A single write, so that the lines of tests that end at the same time do not mix.
fn note(file: &OsStr, fields: [&str; 3]) -> io::Result<()> {
    let line = fields.map(|field| field.replace(['\t', '\n'], " ")).join("\t");
    File::options().create(true).append(true).open(file)?.write_all(format!("{line}\n").as_bytes())
}

/// The test's name as nextest shows it. Without nextest, the thread has the name of the test.
fn this_test() -> String {
    let given = ["NEXTEST_BINARY_ID", "NEXTEST_TEST_NAME"].map(env::var);
    if let [Ok(binary), Ok(test)] = given {
        return format!("{binary} {test}");
    }
    let program = env::current_exe().unwrap_or_default();
    let program = program.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    format!("{program} {}", thread::current().name().unwrap_or("?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skipped_test_is_a_line_of_three_fields() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("skipped");
        note(file.as_os_str(), ["a b", "no\tnginx", "install\nit"]).unwrap();
        note(file.as_os_str(), ["c d", "no curl", "install it"]).unwrap();
        let written = std::fs::read_to_string(&file).unwrap();
        assert_eq!(written, "a b\tno nginx\tinstall it\nc d\tno curl\tinstall it\n");
    }
}
