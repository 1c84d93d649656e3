//! The executable `vouchd-checker`: where it is, and that it belongs to this `vouchd`.

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

/// The time that the program has to print its version; enough to read it from a slow disk.
const PATIENCE: Duration = Duration::from_secs(10);

/// The checker's executable, open: what is started later is this file, also after an upgrade has replaced it on disk.
#[derive(Debug)]
pub struct CheckerProgram {
    path: PathBuf,
    file: File,
}

impl CheckerProgram {
    /// Opens the executable beside the one that runs, or else the one in /usr/libexec/vouchd.
    ///
    /// # Errors
    /// When there is none in either place, or it can't be opened.
    pub fn find() -> anyhow::Result<Self> {
        let own = std::env::current_exe().context("cannot tell where this program is")?;
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

    /// Checks that the executable is of the same version as this one.
    ///
    /// # Errors
    /// When it is not, can't be started, or does not answer.
    pub fn check_version(&self) -> anyhow::Result<()> {
        // By its path: a script in its place could not be read through a descriptor that is closed when it starts. Whoever
        // replaces the file right now is found out when the checker is given this version.
        let mut command = Command::new(&self.path);
        command.arg("--version").stdin(Stdio::null()).stderr(Stdio::null());
        let answer = Blocking::default().wait(NAME, &self.path, PATIENCE, move || command.output());
        let answer = answer?.with_context(|| format!("starting {}", self.path.display()))?;
        let said = String::from_utf8_lossy(&answer.stdout);
        let said = vouchd_printable::printable(said.trim());
        ensure!(
            answer.status.success() && said == format!("{NAME} {VERSION}"),
            "{}: expected {NAME} {VERSION}, as this vouchd is, found {}; install both executables of one version",
            self.path.display(),
            if said.is_empty() { "no version" } else { &*said }
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
        // Moved into its place, so that no other test's child holds it open for writing.
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
