//! The executable under test, run as a command to its end.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::vouchd::{binary, checker_binary};

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The exit status; `None` if a signal killed it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Output {
    /// Runs a command to its end.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn of(command: &mut Command) -> anyhow::Result<Self> {
        Ok(command.output().with_context(|| format!("starting {}", command.get_program().display()))?.into())
    }

    /// Everything that it printed, standard error first.
    pub fn text(&self) -> String {
        format!("{}{}", self.stderr, self.stdout)
    }

    /// Its standard output as one line, wherever it was folded to fit a terminal.
    pub fn page(&self) -> String {
        self.stdout.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

impl From<std::process::Output> for Output {
    fn from(output: std::process::Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Output { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }
}

/// Runs `vouchd` with these arguments.
///
/// # Errors
/// If it cannot be started.
pub fn vouchd<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> anyhow::Result<Output> {
    Output::of(Command::new(binary()).args(arguments))
}

/// Copies the executables to a directory in which other users can run them, and returns the path of `vouchd`. The build
/// directory may be closed to other users.
///
/// # Errors
/// If they cannot be copied.
pub fn install_into(dir: &Path) -> anyhow::Result<PathBuf> {
    let copy = dir.join("vouchd");
    fs::copy(binary(), &copy)?;
    fs::copy(checker_binary(), dir.join("vouchd-checker"))?;
    Ok(copy)
}
