//! The IPv4 addresses of one host in all their forms, and every change of them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use anyhow::Context;
use serde_json::Value;

use crate::background::Background;
use crate::host::Host;
use crate::notices::{Notice, follow};

/// An address in the form that an interface has: with its prefix length. The same address may be there twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Form {
    /// The interface's index.
    pub index: u32,
    /// The address.
    pub address: Ipv4Addr,
    /// The prefix length.
    pub prefix: u8,
}

/// The addresses that a host has now.
///
/// # Errors
/// If `ip` fails.
pub fn forms(host: &Host) -> anyhow::Result<BTreeSet<Form>> {
    Ok(listed(host)?.into_iter().map(|(form, _)| form).collect())
}

/// The index of an interface.
///
/// # Errors
/// If there is no such interface.
pub fn index(host: &Host, interface: &str) -> anyhow::Result<u32> {
    Ok(host.sh(&format!("cat /sys/class/net/{interface}/ifindex"))?.trim().parse()?)
}

/// The addresses of a host that have no lifetime, as those of an operator. A leased virtual address has one.
///
/// # Errors
/// If `ip` fails.
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
#[derive(Debug)]
pub struct AddressWatch {
    seen: Arc<Mutex<Vec<Notice>>>,
    _watch: Background,
}

impl AddressWatch {
    /// Follows the addresses from now on.
    ///
    /// # Errors
    /// If the thread does not start.
    pub fn start(host: &Host) -> anyhow::Result<Self> {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&seen);
        let watch = follow(host, move |_, notice| notes.lock().expect("no thread panics with it").push(notice))?;
        Ok(Self { seen, _watch: watch })
    }

    /// The number of notifications so far.
    pub fn count(&self) -> usize {
        self.seen.lock().expect("no thread panics with it").len()
    }

    /// The addresses that were off their interface at some time since `start`, a [`count`](Self::count); by interface and
    /// address. `before` is what the host had at that time. An address that stays in another form was not off.
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
