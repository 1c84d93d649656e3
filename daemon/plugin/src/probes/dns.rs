//! The dns probe: the addresses of a name, as this host or one name server knows it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use vouchd_config::Grants;
use vouchd_config::grants::Refusal;

use super::bounds::within;
use super::resolver;
use crate::contract::ProbeError;

/// Looks up `NAME`, or `NAME@SERVER` for what that name server answers.
pub(crate) async fn resolve(grants: &Grants, what: &str, time: Duration) -> Result<Vec<String>, ProbeError> {
    match within(time, names(grants, what)).await {
        // A silent name server of this host says nothing about the name; one that the check names is the finding.
        Err(ProbeError::Timeout) if !what.contains('@') => Err(resolver::unanswered(what)),
        found => found,
    }
}

async fn names(grants: &Grants, what: &str) -> Result<Vec<String>, ProbeError> {
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
        None => resolver::resolve(name, 0).await?,
        Some(server) => {
            let host = server.ip().to_string();
            grants.permits_tcp(&host, server.port()).map_err(denied)?;
            grants.permits_tcp_address(&host, server).map_err(denied)?;
            resolver::ask(server, name).await?
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
    resolver::name_server(server).ok_or_else(|| {
        ProbeError::Invalid(format!(
            "name server {server:?}: expected an address, with or without a port, as in 10.0.0.2:53 or [fd00::2]:53"
        ))
    })
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[tokio::test]
    async fn name_server_needs_a_grant_like_any_other_peer() {
        let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
        let server = silent.local_addr().unwrap();
        let asked = format!("web.example@{server}");
        let dns = vouchd_config::grants::DnsGrant::All;
        let none = Grants { dns: dns.clone(), ..Grants::default() };
        let refused = names(&none, &asked).await.unwrap_err();
        assert!(matches!(&refused, ProbeError::Denied(text) if text.contains("tcp = [\"127.0.0.1:")), "{refused:?}");
        let grants = Grants { dns, tcp: vec!["127.0.0.1:*".parse().unwrap()], ..Grants::default() };
        let waited = tokio::time::timeout(Duration::from_millis(50), names(&grants, &asked)).await;
        assert!(waited.is_err(), "it is asked, and is silent");
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
    async fn only_granted_names_are_looked_up() {
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
