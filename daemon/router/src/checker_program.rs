//! Finds the executable `vouchd-checker` and checks its version.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use vouchd_blocking::Blocking;

const NAME: &str = "vouchd-checker";

/// Where packages install programs that other programs start (hier(7)).
const LIBEXEC: &str = "/usr/libexec/vouchd";

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The time that the program has to print its version. Enough to load it from a slow disk.
const PATIENCE: Duration = Duration::from_secs(10);

/// The checker's executable, opened. This file is started even after an upgrade has replaced it on disk.
#[derive(Debug)]
pub struct CheckerProgram {
    path: PathBuf,
    file: File,
}

impl CheckerProgram {
    /// Opens the executable beside this one, or else in `/usr/libexec/vouchd`.
    ///
    /// # Errors
    /// If it is in neither place, or can't be opened.
    pub fn find() -> anyhow::Result<Self> {
        let own = std::env::current_exe().context("could not find this program's own path")?;
        let beside = own.parent().unwrap_or(Path::new("/"));
        Self::find_in(&[beside, Path::new(LIBEXEC)])
    }

    fn find_in(directories: &[&Path]) -> anyhow::Result<Self> {
        for directory in directories {
            let path = directory.join(NAME);
            match File::options().read(true).custom_flags(nix::libc::O_PATH).open(&path) {
                Ok(file) => return Ok(CheckerProgram { path, file }),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error).with_context(|| format!("opening {}", path.display())),
            }
        }
        let directories: Vec<_> = directories.iter().map(|directory| directory.display().to_string()).collect();
        bail!(
            "{NAME}, which runs the plugins, is missing: expected it in {}; install the one of version {VERSION} there",
            directories.join(" or ")
        )
    }

    /// Checks that the executable has the version of this one.
    ///
    /// # Errors
    /// If it has not, can't be started, or does not answer in time.
    pub fn check_version(&self) -> anyhow::Result<()> {
        // By its path: a script in its place can't be read through a descriptor that is closed when it starts. If the file is
        // replaced right now, the checker itself notices, since the router passes its version.
        let mut command = Command::new(&self.path);
        command.arg("--version").stdin(Stdio::null()).stderr(Stdio::null());
        let answer = Blocking::default().wait(NAME, &self.path, PATIENCE, move || command.output());
        let answer = answer?.with_context(|| format!("starting {}", self.path.display()))?;
        let found = String::from_utf8_lossy(&answer.stdout);
        let found = vouchd_printable::printable(found.trim());
        ensure!(
            answer.status.success() && found == format!("{NAME} {VERSION}"),
            "{}: expected {NAME} {VERSION}, the version of this vouchd, found {}; install both executables of one version",
            self.path.display(),
            if found.is_empty() { "no version" } else { &*found }
        );
        Ok(())
    }

    /// A command that starts the executable.
    pub fn command(&self) -> Command {
        let mut command = Command::new(format!("/proc/self/fd/{}", self.file.as_raw_fd()));
        command.arg0(NAME);
        command
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn script(directory: &Path, text: &str) {
        // Moved into place, so that no other test's child has it open for writing.
        let (new, path) = (directory.join("new"), directory.join(NAME));
        fs::write(&new, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(new, path).unwrap();
    }

    #[test]
    fn program_of_another_version_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let missing = CheckerProgram::find_in(&[directory.path(), Path::new("/nonexistent")]).unwrap_err().to_string();
        let places = format!("expected it in {} or /nonexistent", directory.path().display());
        assert!(missing.contains(&places), "{missing}");

        script(directory.path(), &format!("echo {NAME} {VERSION}"));
        CheckerProgram::find_in(&[Path::new("/nonexistent"), directory.path()]).unwrap().check_version().unwrap();
        for (text, found) in [
            ("echo vouchd-checker 99.0.0", "found vouchd-checker 99.0.0"),
            ("exit 0", "found no version"),
            ("exit 3", "found no version"),
        ] {
            script(directory.path(), text);
            let program = CheckerProgram::find_in(&[directory.path()]).unwrap();
            let error = program.check_version().unwrap_err().to_string();
            assert!(error.contains(found) && error.contains(&format!("expected {NAME} {VERSION}")), "{error}");
        }
    }
}
