//! Names to addresses. An address is taken as it is; a name goes to the system's resolver.

use std::net::{IpAddr, SocketAddr};

use crate::contract::ProbeError;

/// The addresses of `host` (without brackets), never empty.
pub(crate) async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, ProbeError> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    match tokio::net::lookup_host((host, port)).await {
        Ok(found) => Some(found.collect::<Vec<_>>()).filter(|all| !all.is_empty()).ok_or(ProbeError::Unresolved),
        Err(_) => Err(ProbeError::Unresolved),
    }
}
