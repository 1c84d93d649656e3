//! What this process or this host has run out of. That says nothing about a plugin or a service.

use std::io;

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit};

/// Part of every message about a lack of file descriptors.
pub(crate) const NO_DESCRIPTOR: &str = "no file descriptor left";

/// Describes the shortage that `errno` reports; `doing` names the work that met it. `None` if it reports something else.
pub(crate) fn lacking(errno: Errno, doing: &str) -> Option<String> {
    Some(match errno {
        Errno::EMFILE => {
            let limit =
                getrlimit(Resource::RLIMIT_NOFILE).map(|(soft, _)| format!(", limit {soft}")).unwrap_or_default();
            format!("the checker has {NO_DESCRIPTOR}{limit}, for {doing}: raise LimitNOFILE= of the service")
        }
        Errno::ENFILE => format!("this host has {NO_DESCRIPTOR}, for {doing}: raise the sysctl fs.file-max"),
        Errno::ENOMEM => format!("this host has no memory left, for {doing}"),
        Errno::ENOBUFS => format!("the kernel has no buffers left, for {doing}"),
        // Of a thread or process; a socket that would block is waited for and never gets here.
        Errno::EAGAIN => format!("this host lacks resources (threads, ports, or entries of a table) for {doing}"),
        Errno::EADDRNOTAVAIL | Errno::EADDRINUSE => format!(
            "this host has no local address or port left, for {doing}: see the sysctl net.ipv4.ip_local_port_range, and \
             whether the addresses that it needs are there"
        ),
        Errno::ENETDOWN | Errno::ENODEV | Errno::ENXIO => format!("this host's interface is down or gone, for {doing}"),
        Errno::ENOSPC => format!("this host has no room left, for {doing}"),
        Errno::ENOSYS => format!("this host's kernel lacks a function that it takes, for {doing}"),
        _ => return None,
    })
}

/// The error of the kernel behind an error of wasmtime, if there is one.
pub(crate) fn errno_behind(error: &wasmtime::Error) -> Option<Errno> {
    error.chain().find_map(|cause| {
        let of_library = cause.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
        let errno =
            of_library.or_else(|| cause.downcast_ref::<rustix::io::Errno>().map(|errno| errno.raw_os_error()))?;
        Some(Errno::from_raw(errno))
    })
}

/// Describes the shortage of this process or host that `error` reports, such as "no file descriptor left"; `doing` names
/// the work that met it ("reading /etc/x"). `None` if the error reports something else.
pub fn lacks(error: &io::Error, doing: &str) -> Option<String> {
    lacking(Errno::from_raw(error.raw_os_error()?), doing)
}
