//! A real server of a test: runs as its own user in a directory of its own, and ends with the test.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Starting may take this long on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whether the test can run; if not, it is skipped.
pub fn can_run(command: &Path, package: &str, user: &str) -> bool {
    let install = format!("install the package {package}");
    let (lacking, cure) = if !nix::unistd::geteuid().is_root() {
        ("no root, to run a server as its own user".to_owned(), "run the tests as root")
    } else if !command.exists() {
        (format!("no {}", command.display()), install.as_str())
    } else if nix::unistd::User::from_name(user).unwrap().is_none() {
        (format!("no user {user}"), install.as_str())
    } else {
        return true;
    };
    vouchd_skip::skip(&lacking, cure);
    false
}

/// A directory that the user owns and everyone can read.
pub fn directory(user: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let user = nix::unistd::User::from_name(user).unwrap().unwrap();
    nix::unistd::chown(directory.path(), Some(user.uid), Some(user.gid)).unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    directory
}

/// A self-signed certificate and its key, as the user's files.
pub fn certificate(directory: &Path, user: &str) -> [PathBuf; 2] {
    let [certificate, key] = ["cert.pem", "key.pem"].map(|name| directory.join(name));
    let mut openssl = command(user, Path::new("/usr/bin/openssl"));
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]);
    openssl.args(["-subj", "/CN=127.0.0.1"]);
    done(openssl.arg("-keyout").arg(&key).arg("-out").arg(&certificate));
    [certificate, key]
}

/// The program as the user. The kernel ends it when the test ends, however that happens.
pub fn command(user: &str, program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--clear-groups", "--pdeathsig=QUIT"]);
    command.args([format!("--reuid={user}"), format!("--regid={user}")]);
    command.arg("--").arg(program).stdin(Stdio::null()).env_clear();
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C.UTF-8").current_dir("/");
    command
}

/// # Panics
/// If it fails.
pub fn done(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{command:?}: {status}\n{stdout}\n{stderr}");
    stdout.into_owned()
}

/// A port of 127.0.0.1 that nobody listens on.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub struct Server {
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Starts it, without waiting for it to serve.
    pub fn start(command: &mut Command, log: PathBuf) -> Self {
        let file = fs::File::options().create(true).append(true).open(&log).unwrap();
        let child = command.stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap();
        Server { child, log }
    }

    /// Waits until `what` is so.
    ///
    /// # Panics
    /// If the server ends before, or takes too long.
    pub fn wait_until(&mut self, what: &str, mut is_so: impl FnMut() -> bool) {
        let started = Instant::now();
        while !is_so() {
            let ended = self.child.try_wait().unwrap();
            let log = || fs::read_to_string(&self.log).unwrap_or_default();
            assert!(ended.is_none(), "the server ended before {what}: {ended:?}\n{}", log());
            assert!(started.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}\n{}", log());
            thread::sleep(Duration::from_millis(50));
        }
    }

    pub fn signal(&self, signal: Signal) {
        // The server may have ended already.
        let _ = kill(self.pid(), signal);
    }

    /// Stops the server: it keeps its connections and answers nothing.
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // First a signal that it handles, so that it leaves nothing in shared memory.
        self.thaw();
        self.signal(Signal::SIGQUIT);
        let deadline = Instant::now() + Duration::from_secs(5);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
