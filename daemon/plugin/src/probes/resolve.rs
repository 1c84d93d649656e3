//! Names to addresses. An address is taken as it is; a name goes to the system's resolver.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use tokio::sync::Semaphore;
use vouchd_config::Grants;
use vouchd_config::grants::Refusal;

use crate::contract::ProbeError;

/// Look-ups at the same time. One that hangs outlives its run, and must not use up the threads that other probes need.
static LOOKUPS: Semaphore = Semaphore::const_new(64);

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

/// The probe.
pub(crate) async fn names(grants: &Grants, name: &str) -> Result<Vec<String>, ProbeError> {
    if name.parse::<IpAddr>().is_ok() {
        return Err(ProbeError::Invalid(format!("{name:?} is an address: expected a name to look up")));
    }
    grants.permits_dns(name).map_err(|refusal| ProbeError::Denied(refusal.to_string()))?;
    let mut found: Vec<String> = Vec::new();
    for address in resolve(name, 0).await? {
        let address = address.ip().to_string();
        if !found.contains(&address) {
            found.push(address);
        }
    }
    Ok(found)
}

/// The addresses of `host`, never empty; IPv4 addresses in IPv6 clothes as what they are.
async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, ProbeError> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address.to_canonical(), port)]);
    }
    let permit = LOOKUPS.acquire().await.map_err(|_| ProbeError::Unresolved)?;
    let name = host.to_owned();
    let lookup = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        (name.as_str(), port).to_socket_addrs().map(|found| found.map(canonical).collect::<Vec<_>>())
    });
    match lookup.await {
        Ok(Ok(found)) if !found.is_empty() => Ok(found),
        Ok(Ok(_) | Err(_)) | Err(_) => Err(ProbeError::Unresolved),
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
