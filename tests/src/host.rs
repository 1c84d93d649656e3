//! A host: a network, process, mount and UTS namespace with its own init, and the processes in it.
//!
//! The namespaces have no names and no files, so that nothing is left when a test is killed: the kernel kills the init
//! with the test, all processes of the host with the init, and removes the network with the last process.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::wait::{eventually, until};

/// The host's init. It mounts what each host needs for itself, creates a file when it is ready, and reaps orphans, as a
/// shell does while it waits.
const INIT: &str = r#"
    mount -t tmpfs tmpfs /run && mount -t sysfs sysfs /sys || exit 1
    for directory in /var/log/nginx /var/lib/nginx; do
        if [ -d $directory ]; then mount -t tmpfs tmpfs $directory || exit 1; fi
    done
    echo "$1" > /proc/sys/kernel/hostname
    ip link set lo up
    : > "$2"
    while :; do sleep 3600; done
"#;

/// A host of the site.
#[derive(Debug)]
pub struct Host {
    /// Its name.
    pub name: &'static str,
    unshare: Child,
    init: i32,
    /// For logs; the same path inside and outside.
    dir: PathBuf,
}

impl Host {
    /// Starts a host that writes its logs to `dir`. Its only interface is loopback.
    ///
    /// # Errors
    /// If a namespace cannot be made.
    pub fn boot(name: &'static str, dir: &Path) -> anyhow::Result<Self> {
        let ready = dir.join(format!("{name}.ready"));
        let mut command = Command::new("unshare");
        command
            .args(["--net", "--pid", "--fork", "--mount-proc", "--mount", "--uts", "--kill-child"])
            .args(["sh", "-c", INIT, "init", name])
            .arg(&ready)
            .stdin(Stdio::null())
            .stdout(log_file(&dir.join(format!("{name}.init.log")))?)
            .stderr(log_file(&dir.join(format!("{name}.init.log")))?);
        // SAFETY: prctl is async-signal-safe and touches nothing of ours.
        unsafe {
            command.pre_exec(|| Ok(nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?));
        }
        let mut unshare = command.spawn().context("unshare")?;
        let init = child_of(&mut unshare)?;
        let host = Self { name, unshare, init, dir: dir.to_owned() };
        until(&format!("{name} to boot"), Duration::from_secs(10), || ready.exists())?;
        Ok(host)
    }

    /// The process id of the host's init, as the test sees it.
    pub fn init(&self) -> i32 {
        self.init
    }

    fn nsenter(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.init.to_string(), "-m", "-u", "-n", "-p", "--"]).arg(program);
        command.stdin(Stdio::null());
        command
    }

    /// Runs a shell script to its end and returns its standard output.
    ///
    /// # Errors
    /// If its exit status is not 0; the error has its standard error.
    pub fn sh(&self, script: &str) -> anyhow::Result<String> {
        let output = self.nsenter("sh").args(["-c", script]).output().context("nsenter")?;
        if !output.status.success() {
            bail!("{}: `{script}`: {}: {}", self.name, output.status, String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Starts a daemon that stays in the foreground. Its output goes to a log named after `what`.
    ///
    /// # Errors
    /// If it does not start, or ends at once.
    pub fn daemon<S: AsRef<OsStr>>(
        &self,
        what: &str,
        program: &Path,
        args: impl IntoIterator<Item = S>,
    ) -> anyhow::Result<Process> {
        let log = self.dir.join(format!("{}.{what}.log", self.name));
        let log_start = fs::metadata(&log).map_or(0, |file| usize::try_from(file.len()).unwrap_or(0));
        let mut wrapper = self
            .nsenter(program)
            .args(args)
            .stdout(log_file(&log)?)
            .stderr(log_file(&log)?)
            .spawn()
            .context("nsenter")?;
        let pid = child_of(&mut wrapper)
            .with_context(|| format!("{what} on {}: {}", self.name, fs::read_to_string(&log).unwrap_or_default()))?;
        Ok(Process { what: format!("{what} on {}", self.name), wrapper, pid, log, log_start })
    }

    /// Runs `work` on a new thread whose sockets are in this host's network.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn in_network<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> anyhow::Result<JoinHandle<T>> {
        let namespace = File::open(format!("/proc/{}/ns/net", self.init))?;
        Ok(std::thread::Builder::new().name(self.name.to_owned()).spawn(move || {
            setns(namespace, CloneFlags::CLONE_NEWNET).expect("entering a namespace as root");
            work()
        })?)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // `--kill-child`: the init goes with it, and with the init the whole host.
        let _ = self.unshare.kill();
        let _ = self.unshare.wait();
    }
}

/// A daemon on a host. Killed with its children when dropped.
#[derive(Debug)]
pub struct Process {
    what: String,
    /// The `nsenter` around it, which ends as the daemon ends.
    wrapper: Child,
    pid: i32,
    log: PathBuf,
    /// The offset of its first output; an earlier daemon of that name wrote to the same file.
    log_start: usize,
}

impl Process {
    /// The process id, as the test sees it.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// The process ids of the daemon and all its descendants, parents first.
    pub fn tree(&self) -> Vec<i32> {
        let mut tree = vec![self.pid];
        let mut next = 0;
        while next < tree.len() {
            tree.extend(children(tree[next]));
            next += 1;
        }
        tree
    }

    /// Its output so far.
    pub fn log(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(log.get(self.log_start..).unwrap_or_default()).into_owned()
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.wrapper.try_wait(), Ok(None))
    }

    /// Sends a signal to the daemon alone.
    pub fn signal(&self, signal: Signal) {
        let _ = kill(Pid::from_raw(self.pid), signal);
    }

    /// Sends a signal to the daemon and all its descendants.
    pub fn signal_all(&self, signal: Signal) {
        for pid in self.tree() {
            let _ = kill(Pid::from_raw(pid), signal);
        }
        if signal == Signal::SIGCONT {
            self.wake_wrapper();
        }
    }

    /// `nsenter` stops itself when its child is stopped, and does not notice when the child is continued.
    fn wake_wrapper(&self) {
        if let Ok(pid) = i32::try_from(self.wrapper.id()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGCONT);
        }
    }

    /// Waits until it ends.
    ///
    /// # Errors
    /// If it still runs after `within`.
    pub fn wait(&mut self, within: Duration) -> anyhow::Result<ExitStatus> {
        let what = format!("{} to end", self.what);
        eventually(&what, within, || self.wrapper.try_wait().ok().flatten())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.is_running() {
            self.signal_all(Signal::SIGKILL);
        }
        let what = format!("{} to end", self.what);
        let ended = until(&what, Duration::from_secs(5), || {
            self.wake_wrapper();
            !self.is_running()
        });
        if let Err(error) = ended {
            println!("{error}");
        }
    }
}

fn log_file(path: &Path) -> anyhow::Result<File> {
    File::options().create(true).append(true).open(path).with_context(|| path.display().to_string())
}

/// The children of a process, of all its threads.
pub fn children(pid: i32) -> Vec<i32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|line| line.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// The only child of `nsenter` or `unshare`, for which it waits.
fn child_of(wrapper: &mut Child) -> anyhow::Result<i32> {
    let parent = i32::try_from(wrapper.id())?;
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(&pid) = children(parent).first() {
            return Ok(pid);
        }
        if let Some(status) = wrapper.try_wait()? {
            bail!("ended at once: {status}");
        }
        if Instant::now() > deadline {
            bail!("did not start within 10 s");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
