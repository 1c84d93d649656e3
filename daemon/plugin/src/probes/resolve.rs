//! Names to addresses. An address is taken as it is; a name goes to the system's resolver.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use tokio::sync::Semaphore;

use crate::contract::ProbeError;

/// Look-ups at the same time. One that hangs outlives its run, and must not use up the threads that other probes need.
static LOOKUPS: Semaphore = Semaphore::const_new(64);

/// The addresses of `host` (without brackets), never empty.
pub(crate) async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, ProbeError> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let permit = LOOKUPS.acquire().await.map_err(|_| ProbeError::Unresolved)?;
    let name = host.to_owned();
    let lookup = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        (name.as_str(), port).to_socket_addrs().map(Iterator::collect::<Vec<_>>)
    });
    match lookup.await {
        Ok(Ok(found)) if !found.is_empty() => Ok(found),
        Ok(Ok(_) | Err(_)) | Err(_) => Err(ProbeError::Unresolved),
    }
}
