//! Connecting, step by step, to tell this host's failures from the peer's.

use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrLike, SockaddrStorage, UnixAddr, connect, setsockopt, socket, sockopt,
};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio::time::Instant;
use vouchd_config::Grants;

use super::super::check_io::CheckIo;
use super::super::error::{Stage, of_connection};
use super::super::files;
use super::portions::Portions;
use crate::contract::ProbeError;

/// Delay before the next address is tried as well (RFC 8305 section 5).
const STAGGER: Duration = Duration::from_millis(250);

/// Delay before a unix socket with a full queue is tried again.
const QUEUE_PAUSE: Duration = Duration::from_millis(5);

/// Connects to the first of the addresses that accepts. A silent one delays the next by [`STAGGER`] only.
pub(in crate::probes) async fn tcp(addresses: &[SocketAddr]) -> Result<Portions<TcpStream>, ProbeError> {
    let mut worst = ProbeError::Unresolved;
    let mut tried = JoinSet::new();
    let mut rest = addresses.iter().copied();
    loop {
        if let Some(address) = rest.next() {
            tried.spawn(to(address));
        }
        tokio::select! {
            Some(ended) = tried.join_next() => match ended {
                Ok(Ok(stream)) => return Ok(Portions::new(stream)),
                // This host may lack one of the two families: a peer's answer counts for more.
                Ok(Err(error)) if error.is_the_peers() || !worst.is_the_peers() => worst = error,
                Ok(Err(_)) => {}
                Err(error) => worst = ProbeError::Unable(format!("connecting broke off: {error}")),
            },
            () = tokio::time::sleep(STAGGER), if rest.len() > 0 => {}
            else => return Err(worst),
        }
    }
}

async fn to(address: SocketAddr) -> Result<TcpStream, ProbeError> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let failed = |errno: Errno| of_connection(&errno.into(), Stage::Here, &format!("connecting to {address}"));
    connect_from(stream_socket(family).map_err(failed)?, address).await
}

async fn connect_from(fd: OwnedFd, address: SocketAddr) -> Result<TcpStream, ProbeError> {
    let doing = format!("connecting to {address}");
    let here = |error: std::io::Error| of_connection(&error, Stage::Here, &doing);
    begin(&fd, &SockaddrStorage::from(address)).map_err(|errno| here(errno.into()))?;
    let stream = std::net::TcpStream::from(fd);
    let stream = TcpStream::from_std(stream).map_err(here)?;
    stream.writable().await.map_err(here)?;
    if let Some(error) = stream.take_error().map_err(here)? {
        return Err(of_connection(&error, Stage::There, &doing));
    }
    // Where nobody listens on a local port within the range for outgoing connections, the kernel may choose that port for
    // this end as well: the socket is then connected to itself (RFC 9293 section 3.5, simultaneous open).
    let peer = stream.peer_addr().map_err(|error| of_connection(&error, Stage::There, &doing))?;
    let own = stream.local_addr().map_err(here)?;
    if (own.ip(), own.port()) == (peer.ip(), peer.port()) {
        // Without TIME-WAIT, which would keep the service from binding its port.
        let _ = setsockopt(&stream, sockopt::Linger, &nix::libc::linger { l_onoff: 1, l_linger: 0 });
        return Err(ProbeError::Refused);
    }
    Ok(stream)
}

/// Connects to a granted socket in the file system.
pub(in crate::probes) async fn unix(
    io: &CheckIo,
    grants: &Grants,
    path: &str,
    deadline: Instant,
) -> Result<UnixStream, ProbeError> {
    loop {
        let (granted, asked) = (grants.clone(), path.to_owned());
        // Connecting opens the file again, which may block.
        let connected = io.at(path, deadline, move || begin_unix(&granted, &asked)).await?;
        if let Some(stream) = connected {
            let doing = format!("connecting to {path}");
            return UnixStream::from_std(stream).map_err(|error| of_connection(&error, Stage::Here, &doing));
        }
        tokio::time::sleep(QUEUE_PAUSE).await;
        if Instant::now() >= deadline {
            return Err(ProbeError::Timeout);
        }
    }
}

/// `None` if the socket's queue is full: the service may still accept in time.
fn begin_unix(grants: &Grants, path: &str) -> Result<Option<StdUnixStream>, ProbeError> {
    let (_socket, by_descriptor) = files::socket(grants, path)?;
    let doing = format!("connecting to {path}");
    let here = |errno: Errno| of_connection(&errno.into(), Stage::Here, &doing);
    let address = UnixAddr::new(by_descriptor.as_str()).map_err(here)?;
    let fd = stream_socket(AddressFamily::Unix).map_err(here)?;
    match begin(&fd, &address) {
        Ok(()) => Ok(Some(StdUnixStream::from(fd))),
        Err(Errno::EAGAIN) => Ok(None),
        Err(errno @ (Errno::EACCES | Errno::EPERM)) => Err(files::unreadable(path, &errno.into())),
        Err(Errno::EPROTOTYPE) => Err(ProbeError::Invalid(format!("{path:?} is not a stream socket"))),
        Err(errno) => Err(here(errno)),
    }
}

fn stream_socket(family: AddressFamily) -> nix::Result<OwnedFd> {
    socket(family, SockType::Stream, SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC, None)
}

fn begin(fd: &OwnedFd, address: &dyn SockaddrLike) -> nix::Result<()> {
    match connect(fd.as_raw_fd(), address) {
        Ok(()) | Err(Errno::EINPROGRESS) => Ok(()),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn silent_address_does_not_keep_the_next_from_being_tried() {
        use nix::sys::socket::{Backlog, bind, listen};
        // With a full queue the kernel drops further connections.
        let full = stream_socket(AddressFamily::Inet).unwrap();
        bind(full.as_raw_fd(), &SockaddrStorage::from(SocketAddr::from(([127, 0, 0, 1], 0)))).unwrap();
        listen(&full, Backlog::new(0).unwrap()).unwrap();
        let full = std::net::TcpListener::from(full);
        let silent = full.local_addr().unwrap();
        let waiting: Vec<_> = (0..8).map(|_| stream_socket(AddressFamily::Inet).unwrap()).collect();
        waiting.iter().for_each(|fd| begin(fd, &SockaddrStorage::from(silent)).unwrap());
        assert!(tokio::time::timeout(STAGGER, to(silent)).await.is_err(), "it is silent");
        let good = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let found = tokio::time::timeout(STAGGER * 40, tcp(&[silent, good.local_addr().unwrap()])).await;
        assert!(found.is_ok_and(|connected| connected.is_ok()));
        let none: Result<_, _> = tcp(&[]).await.map(drop);
        assert_eq!(none, Err(ProbeError::Unresolved));
    }

    /// A socket bound to the port that it connects to, as the kernel makes it by an unlucky choice.
    #[tokio::test]
    async fn connection_to_itself_is_refused() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(free) = std::net::TcpListener::bind(address).and_then(|free| free.local_addr()) else {
                vouchd_skip::skip(&format!("no loopback address for {address}"), "enable IPv6");
                continue;
            };
            let family = if free.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
            let socket = stream_socket(family).unwrap();
            nix::sys::socket::bind(socket.as_raw_fd(), &SockaddrStorage::from(free)).unwrap();
            assert_eq!(connect_from(socket, free).await.map(drop), Err(ProbeError::Refused), "{free}");
            // The port is free again at once.
            std::net::TcpListener::bind(free).unwrap();
        }
    }
}
