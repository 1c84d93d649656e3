//! Finds the executable `vouchd-checker` and checks its version.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
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
        // By its path, so that a script in its place can say which version it stands for. If the file is replaced right now,
        // the checker itself notices, since the router passes its version.
        let mut command = Command::new(&self.path);
        command.arg("--version").stderr(Stdio::null());
        let answer = self.run(command, PATIENCE)?;
        let found = String::from_utf8_lossy(&answer.stdout);
        let found = vouchd_printable::printable(found.trim());
        ensure!(
            answer.status.success() && found == format!("{NAME} {VERSION}"),
            "{}: expected {NAME} {VERSION}, the version of this vouchd, found {}; install both executables of one version",
            self.path.display(),
            if found.is_empty() { "no version" } else { &*found }
        );
        // Its interpreter could not open it: the descriptor is closed when it starts.
        let mut start = [0; 2];
        let is_script =
            File::open(&self.path).and_then(|mut file| file.read_exact(&mut start)).is_ok() && start == *b"#!";
        ensure!(!is_script, "{}: expected the executable itself, found a script", self.path.display());
        Ok(())
    }

    /// What the executable prints when it is started with these arguments. Its errors go to standard error.
    ///
    /// # Errors
    /// If it can't be started, or has not ended after `time`. It is killed then.
    pub fn output(&self, arguments: impl FnOnce(&mut Command), time: Duration) -> anyhow::Result<Output> {
        let mut command = self.command();
        arguments(&mut command);
        self.run(command, time)
    }

    fn run(&self, mut command: Command, time: Duration) -> anyhow::Result<Output> {
        // In a group of its own, which is killed as a whole.
        command.stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0);
        let started = Blocking::default().wait(NAME, &self.path, time, move || command.spawn());
        let mut child = started?.with_context(|| format!("starting {}", self.path.display()))?;
        match finish(&mut child, Instant::now() + time) {
            Some(output) => output.with_context(|| format!("waiting for {}", self.path.display())),
            None => {
                // Fails only if it has ended just now.
                let _ = killpg(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL);
                let _ = child.wait();
                bail!("{}: did not end within {} s; killed", self.path.display(), time.as_secs())
            }
        }
    }

    /// A command that starts the executable.
    pub fn command(&self) -> Command {
        let mut command = Command::new(format!("/proc/self/fd/{}", self.file.as_raw_fd()));
        command.arg0(NAME);
        command
    }
}

/// The output of a child; `None` if it has not ended at the deadline.
fn finish(child: &mut Child, deadline: Instant) -> Option<std::io::Result<Output>> {
    let mut pipe = child.stdout.take()?;
    let (sender, output) = mpsc::channel();
    let read = move || {
        let mut bytes = Vec::new();
        let read = pipe.read_to_end(&mut bytes);
        // Nobody waits any more if it took too long.
        let _ = sender.send(read.map(|_| bytes));
    };
    if let Err(error) = thread::Builder::new().name("output".to_owned()).spawn(read) {
        return Some(Err(error));
    }
    let stdout = match output.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()? {
        Ok(stdout) => stdout,
        Err(error) => return Some(Err(error)),
    };
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(Ok(Output { status, stdout, stderr: Vec::new() })),
            Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(2)),
            Ok(None) => return None,
            Err(error) => return Some(Err(error)),
        }
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
        let program = CheckerProgram::find_in(&[Path::new("/nonexistent"), directory.path()]).unwrap();
        let refused = program.check_version().unwrap_err().to_string();
        assert!(refused.contains("expected the executable itself, found a script"), "{refused}");
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

    #[test]
    fn program_that_does_not_end_is_killed_with_its_children() {
        let directory = tempfile::tempdir().unwrap();
        script(directory.path(), "sleep 71 & echo $! > \"$0.child\"; sleep 72");
        let program = CheckerProgram::find_in(&[directory.path()]).unwrap();
        let begun = Instant::now();
        let error = program.run(Command::new(&program.path), Duration::from_secs(1)).unwrap_err().to_string();
        assert!(error.ends_with("did not end within 1 s; killed"), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(60));
        let child = fs::read_to_string(directory.path().join(format!("{NAME}.child"))).unwrap();
        let state = || fs::read_to_string(format!("/proc/{}/stat", child.trim())).unwrap_or_default();
        while state().contains(") S ") {
            assert!(begun.elapsed() < Duration::from_secs(60), "its child goes on: {}", state());
            thread::sleep(Duration::from_millis(5));
        }
    }
}
