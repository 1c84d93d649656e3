//! Boots the guest, shows what its tests print, and reads their result.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::disk::System;
use crate::shown;

/// A guest that runs for longer is switched off. The tests take a third of it on two processors of 2024.
const LIMIT: Duration = Duration::from_secs(720);

/// How the line with the exit status begins; see the guest's unit.
const STATUS: &str = "vouchd-vm: status ";

/// How the line with the totals of Rust's test runner begins.
const TOTALS: &str = "test result: ";

/// What the tests printed last.
pub struct Result {
    pub totals: String,
    pub status: u8,
}

/// Boots the guest and waits until it has switched itself off.
pub fn boot(system: &System, payload: &Path) -> anyhow::Result<Result> {
    let mut command = Command::new("qemu-system-x86_64");
    command
        .args(["-accel", "tcg,thread=multi", "-cpu", "max", "-m", "1024", "-smp", "2"])
        .args(["-display", "none", "-serial", "stdio", "-monitor", "none", "-no-reboot", "-nic", "none"])
        .arg("-kernel")
        .arg(&system.kernel)
        .arg("-initrd")
        .arg(&system.initrd)
        .args(["-append", "root=/dev/vda rw console=ttyS0 quiet systemd.show_status=0 net.ifnames=0 mitigations=off"])
        // Nothing is written to the disk that is kept.
        .args(["-drive", &format!("file={},if=virtio,format=raw,snapshot=on", system.disk.display())])
        .args(["-drive", &format!("file={},if=virtio,format=raw,readonly=on", payload.display())]);
    eprintln!("xtask: {}", shown(&command));
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("starting qemu")?;
    let output = child.stdout.take().context("the output of qemu")?;
    let guest = Arc::new(Mutex::new(child));
    let timer = Arc::clone(&guest);
    let start = Instant::now();
    thread::spawn(move || {
        thread::sleep(LIMIT);
        // Fails if it has ended.
        let _ = lock(&timer).kill();
    });
    let result = read(BufReader::new(output));
    lock(&guest).wait()?;
    if start.elapsed() >= LIMIT {
        bail!("the virtual machine was still running after {LIMIT:?}, and was switched off");
    }
    result
}

fn lock(guest: &Mutex<Child>) -> std::sync::MutexGuard<'_, Child> {
    guest.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Shows the console, and returns the result in it.
fn read(console: impl BufRead) -> anyhow::Result<Result> {
    let (mut totals, mut status) = (None, None);
    for line in console.split(b'\n') {
        let line = line.context("reading the console")?;
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end_matches('\r');
        println!("vm: {line}");
        if let Some((_, found)) = line.split_once(TOTALS) {
            totals = Some(found.to_owned());
        }
        if let Some((_, found)) = line.split_once(STATUS) {
            status = found.trim().parse().ok();
        }
    }
    Ok(Result {
        totals: totals.context("the tests in the virtual machine did not run to their end")?,
        status: status.context("the virtual machine ended before its tests")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_is_that_of_the_runner_in_the_guest() {
        let console = "booting\r\ntest result: FAILED. 3 passed; 1 failed; 0 ignored\r\nvouchd-vm: status 101\r\n";
        let result = read(console.as_bytes()).unwrap();
        assert_eq!((result.totals.as_str(), result.status), ("FAILED. 3 passed; 1 failed; 0 ignored", 101));
    }

    #[test]
    fn guest_that_ends_before_its_tests_is_an_error() {
        assert!(read("booting\n".as_bytes()).is_err());
        assert!(read("test result: ok. 3 passed\n".as_bytes()).is_err());
    }
}
