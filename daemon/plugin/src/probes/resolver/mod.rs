//! Names to addresses. An address stands for itself; a name is looked up in `/etc/hosts`, then asked of the name servers in
//! `/etc/resolv.conf`.
//!
//! Not by the C library, which asks whatever `/etc/nsswitch.conf` names: nothing can end its look-up, which holds a thread
//! for as long as a name server is silent. Nor by hickory-resolver (0.26), which would turn failures into verdicts: the
//! SERVFAIL of one server ends its look-up although the next may know the name, and the last name of a search list decides
//! although an earlier one got no answer.

mod client;
mod message;
mod system;

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use super::files::unreadable;
use crate::contract::ProbeError;
use system::Settings;
pub(super) use system::name_server;
use tokio::time::Instant;
use vouchd_blocking::Blocking;
use vouchd_config::grants::Refusal;

const HOSTS: &str = "/etc/hosts";
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// How long the contents of the files are reused.
const FRESH: Duration = Duration::from_secs(1);

/// Longer than any run waits for a name: whoever waits has a deadline of its own.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Shared by the whole process, like the files.
static KNOWN: LazyLock<Latest> = LazyLock::new(Latest::default);

/// Returns the addresses of `host` (without brackets) that `permits` lets through, never none. These are the ones to
/// connect to: a second look-up could return others. A name server that does not answer in time says nothing about the
/// service.
pub(super) async fn permitted(
    host: &str,
    port: u16,
    permits: impl Fn(SocketAddr) -> Result<(), Refusal>,
    deadline: Instant,
) -> Result<Vec<SocketAddr>, ProbeError> {
    let found = tokio::time::timeout_at(deadline, resolve(host, port)).await;
    let mut refused = None;
    let mut addresses = Vec::new();
    for address in found.unwrap_or_else(|_| Err(unanswered(host)))? {
        match permits(address) {
            Ok(()) => addresses.push(address),
            Err(refusal) => refused = Some(ProbeError::Denied(refusal.to_string())),
        }
    }
    match refused {
        Some(refused) if addresses.is_empty() => Err(refused),
        Some(_) | None => Ok(addresses),
    }
}

/// No name server answered in time.
pub(super) fn unanswered(name: &str) -> ProbeError {
    ProbeError::Unable(format!(
        "no name server of this host answered for {name:?} in time: see /etc/resolv.conf, or give an address"
    ))
}

/// Returns the addresses of `host`, never none; IPv4-mapped ones as IPv4 addresses.
pub(super) async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, ProbeError> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address.to_canonical(), port)]);
    }
    let found = look_up(host).await?;
    let mut found: Vec<_> = found.into_iter().map(|address| canonical(SocketAddr::new(address, port))).collect();
    found.sort_by_key(|address| (!is_reachable(*address), precedence(address.ip())));
    found.dedup();
    if found.is_empty() { Err(ProbeError::Unresolved) } else { Ok(found) }
}

/// Asks one name server, without anything of this host: its silence or failure is a finding.
pub(super) async fn ask(server: SocketAddr, name: &str) -> Result<Vec<SocketAddr>, ProbeError> {
    let found = client::addresses(&Settings::of_one(server), name.trim_end_matches('.')).await;
    match found {
        Ok(found) if found.is_empty() => Err(ProbeError::Unresolved),
        Ok(found) => Ok(found.into_iter().map(|address| canonical(SocketAddr::new(address, 0))).collect()),
        Err(client::NoAnswer(why)) => Err(ProbeError::Other(why)),
    }
}

async fn look_up(name: &str) -> Result<Vec<IpAddr>, ProbeError> {
    let known = KNOWN.get().await?;
    let own = [system::in_hosts(&known.hosts, name), system::localhost(name)].into_iter().find(|own| !own.is_empty());
    if let Some(own) = own {
        return Ok(own);
    }
    let mut unanswered = None;
    for candidate in known.settings.candidates(name) {
        match client::addresses(&known.settings, &candidate).await {
            Ok(found) if !found.is_empty() => return Ok(found),
            Ok(_) => {}
            Err(client::NoAnswer(why)) => unanswered = Some(why),
        }
    }
    // A server that did not answer might know the name.
    match unanswered {
        Some(why) => Err(ProbeError::Unable(format!("no name server of this host answered for {name:?}: {why}"))),
        None => Ok(Vec::new()),
    }
}

/// The contents of this host's files.
struct Known {
    hosts: String,
    settings: Settings,
}

impl Known {
    fn read() -> Result<Self, ProbeError> {
        let read = |path: &str| match std::fs::read(path) {
            Ok(data) => Ok(String::from_utf8_lossy(&data).into_owned()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
            Err(error) => Err(unreadable(path, &error)),
        };
        Ok(Known { hosts: read(HOSTS)?, settings: Settings::parse(&read(RESOLV_CONF)?) })
    }
}

/// The latest contents, read again after [`FRESH`].
#[derive(Default)]
struct Latest {
    blocking: Blocking,
    known: Mutex<Option<(Instant, Arc<Known>)>>,
}

impl Latest {
    async fn get(&self) -> Result<Arc<Known>, ProbeError> {
        loop {
            let latest = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if let Some((_, known)) = latest.filter(|(read, _)| read.elapsed() < FRESH) {
                return Ok(known);
            }
            match self.blocking.run("files", RESOLV_CONF, PATIENCE, Known::read).await {
                Ok(known) => {
                    let known = Arc::new(known?);
                    let latest = Some((Instant::now(), Arc::clone(&known)));
                    *self.known.lock().unwrap_or_else(PoisonError::into_inner) = latest;
                    return Ok(known);
                }
                // Another look-up has begun to read them.
                Err(_) => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        }
    }
}

/// Whether this host has a route to the address. Sends nothing.
fn is_reachable(address: SocketAddr) -> bool {
    client::connected(SocketAddr::new(address.ip(), 9)).is_ok()
}

/// The rank by RFC 6724 section 2.1, best first.
fn precedence(address: IpAddr) -> u8 {
    match address {
        IpAddr::V6(address) if address.is_loopback() => 0,
        IpAddr::V6(address) if address.is_unique_local() || address.is_unicast_link_local() => 3,
        IpAddr::V6(_) => 1,
        IpAddr::V4(_) => 2,
    }
}

fn canonical(mut address: SocketAddr) -> SocketAddr {
    if let ip @ IpAddr::V4(_) = address.ip().to_canonical() {
        address.set_ip(ip);
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapped_address_is_the_ipv4_address() {
        let table = [("[::ffff:10.0.0.1]:7", "10.0.0.1:7"), ("[::1]:7", "[::1]:7"), ("10.0.0.1:7", "10.0.0.1:7")];
        for (text, expected) in table {
            assert_eq!(canonical(text.parse().unwrap()), expected.parse().unwrap(), "{text}");
        }
    }

    #[tokio::test]
    async fn only_permitted_addresses_are_left() {
        let refuse = |_| vouchd_config::Grants::default().permits_tcp("h", 1);
        let deadline = Instant::now() + Duration::from_secs(5);
        assert!(matches!(permitted("127.0.0.1", 1, refuse, deadline).await, Err(ProbeError::Denied(_))));
        assert_eq!(permitted("127.0.0.1", 1, |_| Ok(()), deadline).await.unwrap(), ["127.0.0.1:1".parse().unwrap()]);
    }
}
