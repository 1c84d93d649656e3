//! Names to addresses. An address is taken as it is; a name is looked for in `/etc/hosts`, and asked of the name servers in
//! `/etc/resolv.conf`.
//!
//! The C library would ask whatever `/etc/nsswitch.conf` names. But nothing can end its looking, which holds a thread for as
//! long as a name server is silent.

mod ask;
mod query;
mod system;

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use vouchd_config::Grants;
use vouchd_config::grants::Refusal;

use super::error::of_file;
use crate::contract::ProbeError;
use system::Settings;
use vouchd_blocking::Blocking;

const HOSTS: &str = "/etc/hosts";
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// How long what the files said counts.
const FRESH: Duration = Duration::from_secs(1);

/// Longer than any run waits for a name.
const PATIENCE: Duration = Duration::from_secs(3600);

/// The files are those of the whole process.
static KNOWN: LazyLock<Latest> = LazyLock::new(Latest::default);

/// The addresses of `host` (without brackets) that `permits` lets through, never empty. These are the ones to connect to:
/// a second look-up could tell others.
pub(crate) async fn permitted(
    host: &str,
    port: u16,
    permits: impl Fn(SocketAddr) -> Result<(), Refusal>,
) -> Result<Vec<SocketAddr>, ProbeError> {
    let mut refused = None;
    let mut addresses = Vec::new();
    for address in resolve(host, port).await? {
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

/// The probe: `NAME`, or `NAME@SERVER` for what this name server says of it.
pub(crate) async fn names(grants: &Grants, what: &str) -> Result<Vec<String>, ProbeError> {
    let (name, server) = match what.split_once('@') {
        Some((name, server)) => (name, Some(name_server(server)?)),
        None => (what, None),
    };
    if name.parse::<IpAddr>().is_ok() {
        return Err(ProbeError::Invalid(format!("{name:?} is an address: expected a name to look up")));
    }
    let denied = |refusal: Refusal| ProbeError::Denied(refusal.to_string());
    grants.permits_dns(name).map_err(denied)?;
    let addresses = match server {
        None => resolve(name, 0).await?,
        Some(server) => {
            let host = server.ip().to_string();
            grants.permits_tcp(&host, server.port()).map_err(denied)?;
            grants.permits_tcp_address(&host, server).map_err(denied)?;
            of_server(server, name).await?
        }
    };
    let mut found: Vec<String> = Vec::new();
    for address in addresses {
        let address = address.ip().to_string();
        if !found.contains(&address) {
            found.push(address);
        }
    }
    Ok(found)
}

fn name_server(server: &str) -> Result<SocketAddr, ProbeError> {
    system::name_server(server).ok_or_else(|| {
        ProbeError::Invalid(format!(
            "name server {server:?}: expected an address, with or without a port, as in 10.0.0.2:53 or [fd00::2]:53"
        ))
    })
}

/// The addresses of `host`, never empty; IPv4 addresses in IPv6 clothes as what they are.
async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, ProbeError> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address.to_canonical(), port)]);
    }
    let found = look_up(host).await?;
    let mut found: Vec<_> = found.into_iter().map(|address| canonical(SocketAddr::new(address, port))).collect();
    found.sort_by_key(|address| (!is_reachable(*address), precedence(address.ip())));
    found.dedup();
    if found.is_empty() { Err(ProbeError::Unresolved) } else { Ok(found) }
}

/// What one name server says, and nothing of this host: that it is silent or fails is the finding.
async fn of_server(server: SocketAddr, name: &str) -> Result<Vec<SocketAddr>, ProbeError> {
    let found = ask::addresses(&Settings::of_one(server), name.trim_end_matches('.')).await;
    match found {
        Ok(found) if found.is_empty() => Err(ProbeError::Unresolved),
        Ok(found) => Ok(found.into_iter().map(|address| canonical(SocketAddr::new(address, 0))).collect()),
        Err(ask::NoAnswer(why)) => Err(ProbeError::Other(why)),
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
        match ask::addresses(&known.settings, &candidate).await {
            Ok(found) if !found.is_empty() => return Ok(found),
            Ok(_) => {}
            Err(ask::NoAnswer(why)) => unanswered = Some(why),
        }
    }
    // Another server might know it: nothing is known of the name.
    match unanswered {
        Some(why) => Err(ProbeError::Unable(format!("no name server of this host answered for {name:?}: {why}"))),
        None => Ok(Vec::new()),
    }
}

/// What the files of this host say.
struct Known {
    hosts: String,
    settings: Settings,
}

impl Known {
    fn read() -> Result<Self, ProbeError> {
        let read = |path: &str| match std::fs::read(path) {
            Ok(data) => Ok(String::from_utf8_lossy(&data).into_owned()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
            Err(error) => Err(of_file(&error, path)),
        };
        Ok(Known { hosts: read(HOSTS)?, settings: Settings::parse(&read(RESOLV_CONF)?) })
    }
}

/// Read anew when they were not for a moment, so that their changes count.
#[derive(Default)]
struct Latest {
    aside: Blocking,
    known: Mutex<Option<(Instant, Arc<Known>)>>,
}

impl Latest {
    async fn get(&self) -> Result<Arc<Known>, ProbeError> {
        loop {
            let latest = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if let Some((_, known)) = latest.filter(|(read, _)| read.elapsed() < FRESH) {
                return Ok(known);
            }
            match self.aside.run("files", RESOLV_CONF, PATIENCE, Known::read).await {
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

/// Whether this host has a way to it at all. Nothing is sent.
fn is_reachable(address: SocketAddr) -> bool {
    ask::connected(SocketAddr::new(address.ip(), 9)).is_ok()
}

/// As RFC 6724 section 2.1 has it, first the best.
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
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn a_mapped_address_is_the_ipv4_address() {
        let table = [("[::ffff:10.0.0.1]:7", "10.0.0.1:7"), ("[::1]:7", "[::1]:7"), ("10.0.0.1:7", "10.0.0.1:7")];
        for (text, expected) in table {
            assert_eq!(canonical(text.parse().unwrap()), expected.parse().unwrap(), "{text}");
        }
    }

    #[tokio::test]
    async fn only_permitted_addresses_are_left() {
        let refuse = |_| Grants::default().permits_tcp("h", 1);
        assert!(matches!(permitted("127.0.0.1", 1, refuse).await, Err(ProbeError::Denied(_))));
        assert_eq!(permitted("127.0.0.1", 1, |_| Ok(())).await.unwrap(), ["127.0.0.1:1".parse().unwrap()]);
    }

    #[tokio::test]
    async fn a_name_server_has_to_be_granted_like_any_other_peer() {
        let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
        let server = silent.local_addr().unwrap();
        let asked = format!("web.example@{server}");
        let dns = vouchd_config::grants::DnsGrant::All;
        let none = Grants { dns: dns.clone(), ..Grants::default() };
        let refused = names(&none, &asked).await.unwrap_err();
        assert!(matches!(&refused, ProbeError::Denied(text) if text.contains("tcp = [\"127.0.0.1:")), "{refused:?}");
        let grants = Grants { dns, tcp: vec!["127.0.0.1:*".parse().unwrap()], ..Grants::default() };
        let waited = tokio::time::timeout(Duration::from_millis(50), names(&grants, &asked)).await;
        assert!(waited.is_err(), "it is asked, and says nothing");
        assert!(silent.recv(&mut [0; 512]).is_ok());
        drop(silent);
        let closed = names(&grants, &asked).await.unwrap_err();
        assert!(matches!(&closed, ProbeError::Other(text) if text.contains("refused")), "{closed:?}");
        for server in ["", "ns.example", "127.0.0.1:x", "127.0.0.1:0"] {
            let error = names(&grants, &format!("web.example@{server}")).await.unwrap_err();
            assert!(matches!(error, ProbeError::Invalid(_)), "{server:?}: {error:?}");
        }
    }

    #[tokio::test]
    async fn a_name_is_looked_up_as_far_as_it_is_granted() {
        let grants = Grants {
            dns: vouchd_config::grants::DnsGrant::Names(vec!["localhost".parse().unwrap()]),
            ..Grants::default()
        };
        let found = names(&grants, "localhost").await.unwrap();
        assert!(found.iter().any(|a| a == "127.0.0.1" || a == "::1"), "{found:?}");
        assert!(matches!(names(&grants, "other.example").await, Err(ProbeError::Denied(_))));
        assert!(matches!(names(&grants, "127.0.0.1").await, Err(ProbeError::Invalid(_))));
    }
}
