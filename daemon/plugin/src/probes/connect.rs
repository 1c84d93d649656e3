//! Connections, made step by step to tell this host's own failures from those of the peer.

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
use vouchd_config::grants::Refusal;

use super::error::{Stage, of_connection, of_file};
use super::wire::Portions;
use super::{Looks, files, network, resolve};
use crate::contract::ProbeError;

/// How long an address is waited for before the next is tried as well (RFC 8305 section 5).
const STAGGER: Duration = Duration::from_millis(250);

/// How often a unix socket is asked whose queue is full.
const QUEUE_PAUSE: Duration = Duration::from_millis(5);

/// The addresses of `host` that `permits` lets through. A name server that does not answer in time is no finding about the
/// service.
pub(crate) async fn addresses(
    host: &str,
    port: u16,
    permits: impl Fn(SocketAddr) -> Result<(), Refusal>,
    deadline: Instant,
) -> Result<Vec<SocketAddr>, ProbeError> {
    match tokio::time::timeout_at(deadline, resolve::permitted(host, port, permits)).await {
        Ok(found) => found,
        Err(_) => Err(unanswered(host)),
    }
}

/// No name server answered.
pub(crate) fn unanswered(name: &str) -> ProbeError {
    ProbeError::Unable(format!(
        "no name server of this host answered for {name:?} in time: see /etc/resolv.conf, or give an address"
    ))
}

/// To the first of the addresses that accepts. One that says nothing keeps the next waiting for a moment only.
pub(crate) async fn tcp(addresses: &[SocketAddr]) -> Result<Portions<TcpStream>, ProbeError> {
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
                // Of two families this host may lack one: what a peer said counts for more.
                Ok(Err(error)) if error.is_the_peers() || !worst.is_the_peers() => worst = error,
                Ok(Err(_)) => {}
                Err(error) => worst = ProbeError::Unable(format!("connecting broke off: {error}")),
            },
            () = tokio::time::sleep(STAGGER), if rest.len() > 0 => {}
            else => return Err(worst),
        }
    }
}

/// Silence, or a next hop that does not answer, says nothing about the service where this host's own interface has no carrier.
pub(crate) fn unless_unplugged(error: ProbeError, addresses: &[SocketAddr]) -> ProbeError {
    if !matches!(error, ProbeError::Timeout | ProbeError::Other(_)) {
        return error;
    }
    let links: Option<Vec<_>> = addresses.iter().map(|address| network::without_carrier(*address)).collect();
    match (links.as_ref().and_then(|links| links.first()), addresses) {
        (Some(link), [address, ..]) => ProbeError::Unable(format!(
            "{link} has no carrier, and {address} is reached by it: look at its cable, switch port, or virtual switch"
        )),
        _ => error,
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
    // Where nobody listens on a port of this host that is also one of those for outgoing connections, the kernel may choose
    // it for this end, too: then both ends are one socket (RFC 9293 3.5, simultaneous open).
    let peer = stream.peer_addr().map_err(|error| of_connection(&error, Stage::There, &doing))?;
    let own = stream.local_addr().map_err(here)?;
    if (own.ip(), own.port()) == (peer.ip(), peer.port()) {
        // Without a TIME-WAIT, which would keep the service from its port.
        let _ = setsockopt(&stream, sockopt::Linger, &nix::libc::linger { l_onoff: 1, l_linger: 0 });
        return Err(ProbeError::Refused);
    }
    Ok(stream)
}

/// To a granted socket in the file system.
pub(crate) async fn unix(
    looks: &Looks,
    grants: &Grants,
    path: &str,
    deadline: Instant,
) -> Result<UnixStream, ProbeError> {
    loop {
        let (granted, asked) = (grants.clone(), path.to_owned());
        // The kernel looks at the file once more when it connects.
        let connected = looks.at(path, deadline, move || begin_unix(&granted, &asked)).await?;
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

/// None where the queue of the socket is full: it may be served in time.
fn begin_unix(grants: &Grants, path: &str) -> Result<Option<StdUnixStream>, ProbeError> {
    let (_socket, by_descriptor) = files::socket(grants, path)?;
    let doing = format!("connecting to {path}");
    let here = |errno: Errno| of_connection(&errno.into(), Stage::Here, &doing);
    let address = UnixAddr::new(by_descriptor.as_str()).map_err(here)?;
    let fd = stream_socket(AddressFamily::Unix).map_err(here)?;
    match begin(&fd, &address) {
        Ok(()) => Ok(Some(StdUnixStream::from(fd))),
        Err(Errno::EAGAIN) => Ok(None),
        Err(errno @ (Errno::EACCES | Errno::EPERM)) => Err(of_file(&errno.into(), path)),
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
    async fn an_address_that_says_nothing_does_not_keep_the_next_from_being_tried() {
        use nix::sys::socket::{Backlog, bind, listen};
        // A queue that is full: the kernel drops what else comes.
        let full = stream_socket(AddressFamily::Inet).unwrap();
        bind(full.as_raw_fd(), &SockaddrStorage::from(SocketAddr::from(([127, 0, 0, 1], 0)))).unwrap();
        listen(&full, Backlog::new(0).unwrap()).unwrap();
        let full = std::net::TcpListener::from(full);
        let silent = full.local_addr().unwrap();
        let waiting: Vec<_> = (0..8).map(|_| stream_socket(AddressFamily::Inet).unwrap()).collect();
        waiting.iter().for_each(|fd| begin(fd, &SockaddrStorage::from(silent)).unwrap());
        assert!(tokio::time::timeout(STAGGER, to(silent)).await.is_err(), "it says nothing");
        let good = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let found = tokio::time::timeout(STAGGER * 40, tcp(&[silent, good.local_addr().unwrap()])).await;
        assert!(found.is_ok_and(|connected| connected.is_ok()));
        let none: Result<_, _> = tcp(&[]).await.map(drop);
        assert_eq!(none, Err(ProbeError::Unresolved));
    }

    /// A socket that is bound to the port that it connects to: what the kernel makes of an unlucky choice.
    #[tokio::test]
    async fn a_connection_with_oneself_is_refused() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(free) = std::net::TcpListener::bind(address).and_then(|free| free.local_addr()) else { continue };
            let family = if free.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
            let socket = stream_socket(family).unwrap();
            nix::sys::socket::bind(socket.as_raw_fd(), &SockaddrStorage::from(free)).unwrap();
            assert_eq!(connect_from(socket, free).await.map(drop), Err(ProbeError::Refused), "{free}");
            // The port is free again at once.
            std::net::TcpListener::bind(free).unwrap();
        }
    }
}
