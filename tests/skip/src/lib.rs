//! How a test says that it can't run on this machine. It then returns, and would be counted among those that passed: so
//! what is skipped is also written to the file that `VOUCHD_TESTS_SKIPPED` names, one line each, from which `cargo xtask
//! test` makes its totals.
//!
//! With `VOUCHD_TESTS_STRICT` a test whose needs are not met fails instead.

use std::env;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::thread;

/// The file to which skipped tests are appended.
pub const FILE: &str = "VOUCHD_TESTS_SKIPPED";

/// Makes what is missing a failure.
pub const STRICT: &str = "VOUCHD_TESTS_STRICT";

/// Notes that the calling test does not run, because of `missing`; `cure` says what to do. The test is to return then.
///
/// # Panics
/// With `VOUCHD_TESTS_STRICT`.
#[track_caller]
pub fn skip(missing: &str, cure: &str) {
    assert!(env::var_os(STRICT).is_none(), "can't run here: {missing}: {cure}");
    skip_even_if_strict(missing, cure);
}

/// The same where no machine is expected to have what is missing.
pub fn skip_even_if_strict(missing: &str, cure: &str) {
    let test = this_test();
    // Not by the macro, whose output a test that passes does not show.
    let _ = writeln!(io::stderr(), "SKIPPED: {test}: {missing}: {cure}");
    if let Some(file) = env::var_os(FILE)
        && let Err(error) = note(&file, [&test, missing, cure])
    {
        panic!("{}: {error}; skipped tests can't be counted", Path::new(&file).display());
    }
}

/// One write, so that tests which end at the same time don't mix their lines.
fn note(file: &OsStr, fields: [&str; 3]) -> io::Result<()> {
    let line = fields.map(|field| field.replace(['\t', '\n'], " ")).join("\t");
    File::options().create(true).append(true).open(file)?.write_all(format!("{line}\n").as_bytes())
}

/// As nextest names it; without nextest a test's thread has its name.
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
    fn each_skipped_test_is_a_line_of_three_fields() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("skipped");
        note(file.as_os_str(), ["a b", "no\tnginx", "install\nit"]).unwrap();
        note(file.as_os_str(), ["c d", "no curl", "install it"]).unwrap();
        let written = std::fs::read_to_string(&file).unwrap();
        assert_eq!(written, "a b\tno nginx\tinstall it\nc d\tno curl\tinstall it\n");
    }
}
