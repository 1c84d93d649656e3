//! The guest's disk: a small Debian with systemd, made once and kept, and never written to by a guest.

use std::collections::hash_map::DefaultHasher;
use std::env;
use std::fs::{self, File};
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use crate::{machine, run};

/// Where the disk is kept when a clone should not have its own.
const DIRECTORY: &str = "VOUCHD_VM_CACHE";

const RELEASE: &str = "bookworm";

/// What the tests and the guest itself need.
const PACKAGES: &str =
    "systemd,systemd-sysv,udev,dbus,kmod,iproute2,procps,curl,util-linux,linux-image-cloud-amd64,initramfs-tools";

/// The drivers of the disk. The kernel contains ext4 itself.
const MODULES: &str = "virtio_pci\\nvirtio_blk\\n";

/// Runs the tests once the system is up, and switches the guest off. The last line has the tests' exit status.
const UNIT: &str = r#"[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/bin/bash -c 'exec >/dev/console 2>&1; mount -o ro /dev/vdb /mnt; bash /mnt/run /mnt; echo "vouchd-vm: status $?"; systemctl --force poweroff'
"#;

/// Units that would print on the console, or wait for something.
const MASKED: [&str; 2] = ["serial-getty@ttyS0.service", "getty@tty1.service"];

/// The files that the guest boots from.
pub struct System {
    pub disk: PathBuf,
    pub kernel: PathBuf,
    pub initrd: PathBuf,
}

/// Makes the disk, or finds the one that an earlier run has made.
pub fn system() -> anyhow::Result<System> {
    let directory = directory().join(form());
    let files = |directory: &Path| System {
        disk: directory.join("disk"),
        kernel: directory.join("kernel"),
        initrd: directory.join("initrd"),
    };
    fs::create_dir_all(directory.parent().context("a directory")?)?;
    // Two clones may share it.
    let lock = File::create(directory.with_extension("lock"))?;
    lock.lock()?;
    if !directory.exists() {
        println!("xtask: making the disk of the virtual machine in {} (about a minute)", directory.display());
        let half = directory.with_extension("half");
        let _ = fs::remove_dir_all(&half);
        fs::create_dir_all(&half)?;
        make_system(&half.join("root"), &files(&half))?;
        fs::remove_dir_all(half.join("root"))?;
        fs::rename(&half, &directory)?;
    }
    Ok(files(&directory))
}

fn directory() -> PathBuf {
    let shared = env::var_os(DIRECTORY).filter(|directory| !directory.is_empty());
    shared.map_or_else(|| PathBuf::from("target/vm"), PathBuf::from)
}

/// A name that changes with everything that the disk is made of.
fn form() -> String {
    let mut hasher = DefaultHasher::new();
    (RELEASE, PACKAGES, MODULES, UNIT, MASKED).hash(&mut hasher);
    format!("{RELEASE}-{:016x}", hasher.finish())
}

fn make_system(root: &Path, files: &System) -> anyhow::Result<()> {
    // A small initrd: unpacking one takes seconds in emulation.
    let small = format!(
        "--essential-hook=mkdir -p \"$1/etc/initramfs-tools/conf.d\" && \
         echo MODULES=list > \"$1/etc/initramfs-tools/conf.d/small\" && \
         printf '{MODULES}' > \"$1/etc/initramfs-tools/modules\""
    );
    run(Command::new("mmdebstrap")
        .args(["--quiet", "--variant=minbase", &format!("--include={PACKAGES}"), &small, RELEASE])
        .arg(root))?;
    let units = root.join("etc/systemd/system");
    fs::write(units.join("tests.service"), UNIT)?;
    let wanted = units.join("multi-user.target.wants");
    fs::create_dir_all(&wanted)?;
    std::os::unix::fs::symlink("../tests.service", wanted.join("tests.service"))?;
    for unit in MASKED {
        std::os::unix::fs::symlink("/dev/null", units.join(unit))?;
    }
    for (prefix, file) in [("vmlinuz-", &files.kernel), ("initrd.img-", &files.initrd)] {
        let boot = root.join("boot");
        let mut entries = fs::read_dir(&boot)?.flatten().map(|entry| entry.path());
        let is_wanted =
            |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix));
        let found = entries.find(is_wanted).with_context(|| format!("no {prefix}* in {}", boot.display()))?;
        fs::copy(found, file)?;
    }
    make(root, &files.disk)
}

/// Makes an ext4 disk with the files of a directory and room for as much again.
pub fn make(directory: &Path, disk: &Path) -> anyhow::Result<()> {
    const ROOM: u64 = 512 << 20;
    let used = Command::new("du").args(["-s", "-B1"]).arg(directory).output()?;
    let used = String::from_utf8_lossy(&used.stdout);
    let used: u64 = used.split_whitespace().next().context("du printed nothing")?.parse().context("du")?;
    if disk.exists() {
        fs::remove_file(disk)?;
    }
    File::create(disk)?.set_len(used * 5 / 4 + ROOM)?;
    ensure!(machine::works("mke2fs", &["-V"]), "no mke2fs");
    run(Command::new("mke2fs").args(["-q", "-t", "ext4", "-d"]).arg(directory).arg(disk))
}
