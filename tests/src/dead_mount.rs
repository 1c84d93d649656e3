//! A file system whose server never answers, like one of NFS whose network is gone.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};

use crate::host::Host;

/// Mounted over a directory of a host; whoever looks at that waits. Dropped, those who wait get an error.
#[derive(Debug)]
pub struct DeadMount {
    /// The server's end, from which nothing is ever read.
    _device: File,
    directory: PathBuf,
}

impl DeadMount {
    /// # Errors
    /// When it can't be mounted, as where the kernel has no FUSE.
    pub fn over(host: &Host, directory: &Path) -> anyhow::Result<Self> {
        let device = File::options().read(true).write(true).open("/dev/fuse").context("/dev/fuse")?;
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0,allow_other", device.as_raw_fd());
        let namespace = File::open(format!("/proc/{}/ns/mnt", host.init()))?;
        let target = directory.to_owned();
        // A thread of its own, since it leaves this process's mounts for good.
        let mounted = std::thread::spawn(move || -> nix::Result<()> {
            unshare(CloneFlags::CLONE_FS)?;
            setns(namespace, CloneFlags::CLONE_NEWNS)?;
            mount(Some("dead"), &target, Some("fuse"), MsFlags::empty(), Some(options.as_str()))
        });
        mounted.join().map_err(|_| anyhow!("the mounting thread panicked"))?.context("mounting")?;
        Ok(Self { _device: device, directory: directory.to_owned() })
    }

    /// Takes it off again: the directory is what it was.
    ///
    /// # Errors
    /// When it can't be unmounted.
    pub fn remove(self, host: &Host) -> anyhow::Result<()> {
        host.sh(&format!("umount -l {}", self.directory.display()))?;
        Ok(())
    }
}
