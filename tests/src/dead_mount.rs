//! A mount whose server reads and answers no request, like a dead network file system. Made with FUSE.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use nix::mount::{MsFlags, mount};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns, unshare};

use crate::bytes::field;
use crate::host::Host;

const GETATTR: u32 = 3;
const INIT: u32 = 26;
/// FORGET, INTERRUPT and BATCH_FORGET, which the server does not answer.
const WITHOUT_ANSWER: [u32; 3] = [2, 36, 42];

/// A dead mount on a host. Dropping it ends all waiting requests with an error.
#[derive(Debug)]
pub struct DeadMount {
    directory: PathBuf,
    answers: Arc<AtomicBool>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl DeadMount {
    /// Mounts it over a directory of the host. Every access to the directory blocks from then on.
    ///
    /// # Errors
    /// If the kernel has no FUSE, or the mount fails.
    pub fn over(host: &Host, at: &Path) -> anyhow::Result<Self> {
        let namespace = File::open(format!("/proc/{}/ns/mnt", host.init()))?;
        let (answers, ended) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (flags, at, directory) = ((Arc::clone(&answers), Arc::clone(&ended)), at.to_owned(), at.to_owned());
        let (sender, mounted) = mpsc::channel();
        let thread = std::thread::Builder::new().name("dead mount".to_owned()).spawn(move || {
            let device = enter_and_mount(&namespace, &at);
            let device = device.map_err(|error| sender.send(Err(error)));
            if let Ok(device) = device {
                let _ = sender.send(Ok(()));
                serve(device, &flags.0, &flags.1);
            }
        })?;
        mounted.recv().context("the thread that mounts")??;
        Ok(Self { directory, answers, ended, thread: Some(thread) })
    }

    /// Unmounts it: the directory below is visible again.
    ///
    /// # Errors
    /// If `umount` fails.
    pub fn remove(self, host: &Host) -> anyhow::Result<()> {
        host.sh(&format!("umount -l {}", self.directory.display()))?;
        Ok(())
    }

    /// Answers from now on, also the requests that wait: there is no such file (ENOENT).
    pub fn answer(&self) {
        self.answers.store(true, Ordering::SeqCst);
    }
}

impl Drop for DeadMount {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn enter_and_mount(namespace: &File, at: &Path) -> anyhow::Result<File> {
    // A thread that shares its root directory with others may not enter a mount namespace (setns(2)).
    unshare(CloneFlags::CLONE_FS)?;
    setns(namespace, CloneFlags::CLONE_NEWNS).context("entering the host's mounts")?;
    let device = OpenOptions::new().read(true).write(true).custom_flags(nix::libc::O_CLOEXEC).open("/dev/fuse")?;
    let options = format!("fd={},rootmode=40000,user_id=0,group_id=0,allow_other", device.as_raw_fd());
    mount(Some("dead"), at, Some("fuse.dead"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some(options.as_str()))
        .with_context(|| format!("mounting on {}", at.display()))?;
    Ok(device)
}

fn serve(mut device: File, answers: &AtomicBool, ended: &AtomicBool) {
    let mut buffer = vec![0; 256 << 10];
    while !ended.load(Ordering::SeqCst) {
        if !answers.load(Ordering::SeqCst) {
            // Requests stay unread: a process could not even be killed while it waits for one that was read.
            std::thread::sleep(Duration::from_millis(20));
            continue;
        }
        let mut fds = [PollFd::new(device.as_fd(), PollFlags::POLLIN)];
        if !poll(&mut fds, PollTimeout::from(20_u8)).is_ok_and(|ready| ready > 0) {
            continue;
        }
        let Ok(length) = device.read(&mut buffer) else { return };
        let request = &buffer[..length];
        let (Some(opcode), Some(unique), Some(node)) = (field(request, 4), field(request, 8), field(request, 16))
        else {
            panic!("a request of {length} bytes: expected a header of 40");
        };
        let (opcode, unique, node) = (u32::from_ne_bytes(opcode), u64::from_ne_bytes(unique), u64::from_ne_bytes(node));
        match opcode {
            INIT => reply(&mut device, unique, 0, &init()),
            GETATTR if node == 1 => reply(&mut device, unique, 0, &root()),
            opcode if WITHOUT_ANSWER.contains(&opcode) => {}
            _ => reply(&mut device, unique, -nix::libc::ENOENT, &[]),
        }
    }
}

fn reply(device: &mut File, unique: u64, error: i32, data: &[u8]) {
    let mut answer = Vec::new();
    answer.extend_from_slice(&(16 + data.len() as u32).to_ne_bytes());
    answer.extend_from_slice(&error.to_ne_bytes());
    answer.extend_from_slice(&unique.to_ne_bytes());
    answer.extend_from_slice(data);
    // The process that asked may be gone.
    let _ = device.write_all(&answer);
}

/// `fuse_init_out`: protocol 7.31, no flags.
fn init() -> Vec<u8> {
    let mut data: Vec<u8> = [7_u32, 31, 4096, 0].into_iter().flat_map(u32::to_ne_bytes).collect();
    data.extend([64_u16, 48].into_iter().flat_map(u16::to_ne_bytes));
    data.extend([65_536_u32, 1].into_iter().flat_map(u32::to_ne_bytes));
    data.resize(64, 0);
    data
}

/// `fuse_attr_out` of a directory that all users may read.
fn root() -> Vec<u8> {
    let mut data = vec![0; 16];
    data.extend(1_u64.to_ne_bytes());
    data.resize(16 + 60, 0);
    data.extend([0o40_755_u32, 2].into_iter().flat_map(u32::to_ne_bytes));
    data.resize(104, 0);
    data
}
