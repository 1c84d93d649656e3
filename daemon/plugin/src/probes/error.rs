//! Why a probe failed, and who caused it: the plugin, the service, or this host.
//!
//! A failure of this host says nothing about the service. A plugin never sees it as something that the service did, and the
//! run in which it happened is an error, whatever the plugin reports.

use std::io::{self, ErrorKind};

use nix::errno::Errno;

use crate::contract::ProbeError;
use crate::shortage::{self, NO_DESCRIPTOR};

impl ProbeError {
    /// Whether a free descriptor would have helped.
    pub(crate) fn is_lack_of_descriptors(&self) -> bool {
        matches!(self, ProbeError::Unable(why) if why.contains(NO_DESCRIPTOR))
    }
}

/// Where an error of a connection occurred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// In the call itself, before anything left this host: making a socket, the kernel's look for a route.
    Here,
    /// Afterwards: on the way, from the peer, or from a router in between.
    There,
}

/// Translates a kernel error of a probe that was `doing` something, such as "connecting to 192.0.2.1:80".
pub(super) fn of_connection(error: &io::Error, stage: Stage, doing: &str) -> ProbeError {
    let Some(errno) = error.raw_os_error().map(Errno::from_raw) else { return of_kind(error) };
    if let Some(text) = shortage::lacking(errno, doing) {
        return ProbeError::Unable(text);
    }
    match (errno, stage) {
        (Errno::ECONNREFUSED | Errno::ECONNRESET | Errno::ECONNABORTED | Errno::EPIPE, _) => ProbeError::Refused,
        (Errno::ETIMEDOUT, _) => ProbeError::Timeout,
        (_, Stage::There) => ProbeError::Other(errno.desc().to_owned()),
        (Errno::ENETUNREACH, Stage::Here) => {
            ProbeError::Unable(format!("this host has no route for {doing}: is its interface up, with its addresses?"))
        }
        (Errno::EHOSTUNREACH, Stage::Here) => {
            ProbeError::Unable(format!("this host's own routing table says `unreachable` for {doing}"))
        }
        (Errno::EACCES | Errno::EPERM, Stage::Here) => ProbeError::Unable(format!(
            "this host does not permit {doing} ({errno}): look for a local firewall, a route of type `prohibit`, or a \
             security module"
        )),
        (Errno::EAFNOSUPPORT | Errno::EPROTONOSUPPORT, Stage::Here) => ProbeError::Unable(format!(
            "this host does not speak the protocol for {doing} ({errno}): is IPv6 switched off, or left out of \
             RestrictAddressFamilies=?"
        )),
        (_, Stage::Here) => ProbeError::Unable(format!("this host failed at {doing}: {}", errno.desc())),
    }
}

/// The kernel refused something that is no matter of a service, while this host was `doing` something.
pub(super) fn of_host(errno: Errno, doing: &str) -> ProbeError {
    let text = shortage::lacking(errno, doing);
    ProbeError::Unable(text.unwrap_or_else(|| format!("this host failed at {doing}: {errno}")))
}

/// Translates errors that are not the kernel's: of TLS streams, or of data that ended too early.
fn of_kind(error: &io::Error) -> ProbeError {
    match error.kind() {
        ErrorKind::ConnectionRefused
        | ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::BrokenPipe => ProbeError::Refused,
        ErrorKind::TimedOut => ProbeError::Timeout,
        ErrorKind::OutOfMemory => ProbeError::Unable("this host has no memory left".to_owned()),
        _ => ProbeError::Other(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Eq)]
    enum Whose {
        Hosts,
        Services,
    }

    fn whose(error: &ProbeError) -> Whose {
        if error.rules_out_a_verdict().is_some() { Whose::Hosts } else { Whose::Services }
    }

    #[test]
    fn kernel_error_is_blamed_on_host_or_service() {
        use Stage::{Here, There};
        use Whose::{Hosts, Services};
        let table = [
            (Errno::EMFILE, Here, Hosts),
            (Errno::EMFILE, There, Hosts),
            (Errno::ENFILE, Here, Hosts),
            (Errno::ENOMEM, Here, Hosts),
            (Errno::ENOMEM, There, Hosts),
            (Errno::ENOBUFS, There, Hosts),
            (Errno::EAGAIN, Here, Hosts),
            (Errno::EADDRNOTAVAIL, Here, Hosts),
            (Errno::EADDRINUSE, Here, Hosts),
            (Errno::ENETUNREACH, Here, Hosts),
            (Errno::EHOSTUNREACH, Here, Hosts),
            (Errno::ENETDOWN, Here, Hosts),
            (Errno::ENETDOWN, There, Hosts),
            (Errno::ENODEV, Here, Hosts),
            (Errno::EACCES, Here, Hosts),
            (Errno::EPERM, Here, Hosts),
            (Errno::EAFNOSUPPORT, Here, Hosts),
            (Errno::EINVAL, Here, Hosts),
            (Errno::ENOSYS, Here, Hosts),
            (Errno::ECONNREFUSED, Here, Services),
            (Errno::ECONNREFUSED, There, Services),
            (Errno::ECONNRESET, There, Services),
            (Errno::EPIPE, There, Services),
            (Errno::ETIMEDOUT, There, Services),
            (Errno::EHOSTUNREACH, There, Services),
            // A router's, or a firewall's in front of the service.
            (Errno::ENETUNREACH, There, Services),
            (Errno::EACCES, There, Services),
        ];
        for (errno, stage, expected) in table {
            let error = of_connection(&errno.into(), stage, "connecting to 192.0.2.1:80");
            assert_eq!(whose(&error), expected, "{errno} {stage:?}: {error:?}");
            assert_eq!(error.is_lack_of_descriptors(), matches!(errno, Errno::EMFILE | Errno::ENFILE), "{error:?}");
            if expected == Hosts {
                assert!(error.words().contains("connecting to 192.0.2.1:80"), "{}", error.words());
            }
        }
    }

    #[test]
    fn descriptor_shortage_names_the_limit() {
        let error = of_connection(&Errno::EMFILE.into(), Stage::Here, "connecting to [::1]:80");
        use nix::sys::resource::{Resource, getrlimit};
        let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert!(error.words().contains(&format!("no file descriptor left, limit {soft}")), "{}", error.words());
    }
}
