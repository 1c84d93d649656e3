//! The IPv4 addresses of one host in all their forms, and every change of them, from the kernel's own notices.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use anyhow::Context;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};
use serde_json::Value;

use crate::holders::{Notice, listen, notices};
use crate::host::Host;

/// An address as it is on an interface, by the interface's index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Form {
    pub index: u32,
    pub address: Ipv4Addr,
    pub prefix: u8,
}

/// What a host has now.
///
/// # Errors
/// When `ip` does not say.
pub fn forms(host: &Host) -> anyhow::Result<BTreeSet<Form>> {
    Ok(listed(host)?.into_iter().map(|(form, _)| form).collect())
}

/// The index of an interface.
///
/// # Errors
/// When there is no such interface.
pub fn index(host: &Host, interface: &str) -> anyhow::Result<u32> {
    Ok(host.sh(&format!("cat /sys/class/net/{interface}/ifindex"))?.trim().parse()?)
}

/// The addresses that have no lifetime.
///
/// # Errors
/// When `ip` does not say.
pub fn permanent(host: &Host) -> anyhow::Result<BTreeSet<Form>> {
    Ok(listed(host)?
        .into_iter()
        .filter(|(_, lifetime)| *lifetime == u64::from(u32::MAX))
        .map(|(form, _)| form)
        .collect())
}

fn listed(host: &Host) -> anyhow::Result<Vec<(Form, u64)>> {
    let links: Value = serde_json::from_str(&host.sh("ip -j -4 address show")?)?;
    let mut found = Vec::new();
    for link in links.as_array().into_iter().flatten() {
        for info in link["addr_info"].as_array().into_iter().flatten() {
            let address = info["local"].as_str().context("an address without a local part")?.parse()?;
            let (index, prefix) = (&link["ifindex"], &info["prefixlen"]);
            let number = |value: &Value| value.as_u64().context("a number");
            let (index, prefix) = (u32::try_from(number(index)?)?, u8::try_from(number(prefix)?)?);
            found.push((Form { index, address, prefix }, info["valid_life_time"].as_u64().unwrap_or_default()));
        }
    }
    Ok(found)
}

/// Follows a host's addresses until it is dropped.
pub struct AddressWatch {
    seen: Arc<Mutex<Vec<Notice>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl AddressWatch {
    /// # Errors
    /// When the thread does not start.
    pub fn start(host: &Host) -> anyhow::Result<Self> {
        let (seen, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (ready, is_ready) = std::sync::mpsc::channel();
        let (notes, end) = (Arc::clone(&seen), Arc::clone(&stop));
        let thread = host.in_network(move || {
            let socket = listen().expect("the kernel's notices of addresses");
            ready.send(()).unwrap_or_default();
            let mut buffer = [0; 32_768];
            while !end.load(Ordering::Relaxed) {
                match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                    Ok(length) => notes.lock().expect("no thread panics with it").extend(notices(&buffer[..length])),
                    Err(Errno::EAGAIN | Errno::EINTR) => {}
                    Err(error) => panic!("the kernel's notices of addresses: {error}"),
                }
            }
        })?;
        is_ready.recv().context("the address watch did not start")?;
        Ok(Self { seen, stop, thread: Some(thread) })
    }

    /// How many notices have come so far.
    pub fn count(&self) -> usize {
        self.seen.lock().expect("no thread panics with it").len()
    }

    /// The addresses that were off an interface at some time since `start` (a [`count`](Self::count)), by interface and
    /// address, when `before` is what was there at that time. Another form of the same address counts as well.
    pub fn went_off(&self, start: usize, before: &BTreeSet<Form>) -> BTreeSet<(u32, Ipv4Addr)> {
        let mut held: BTreeMap<(u32, Ipv4Addr), BTreeSet<u8>> = BTreeMap::new();
        for form in before {
            held.entry((form.index, form.address)).or_default().insert(form.prefix);
        }
        let mut off = BTreeSet::new();
        for notice in &self.seen.lock().expect("no thread panics with it")[start..] {
            let key = (notice.index, notice.address);
            let prefixes = held.entry(key).or_default();
            if notice.present {
                prefixes.insert(notice.prefix);
            } else {
                prefixes.remove(&notice.prefix);
                if prefixes.is_empty() {
                    off.insert(key);
                }
            }
        }
        off
    }
}

impl Drop for AddressWatch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
