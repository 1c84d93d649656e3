//! The interfaces, addresses and users of this machine, for `vouchd config check`.

use std::ffi::CString;
use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::SockaddrStorage;
use nix::unistd::{User, getgrouplist};
use vouchd_config::host::{Account, Host, HostAddress, HostInterface};

/// Examines this machine. `None` if the kernel does not list the interfaces.
pub fn this_host() -> Option<Host> {
    let mut interfaces: Vec<HostInterface> = Vec::new();
    for entry in getifaddrs().ok()? {
        // An address with a label is listed under the label (`eth0:web`).
        let name = entry.interface_name.split(':').next().unwrap_or_default();
        let at = interfaces.iter().position(|interface| interface.name == name).unwrap_or_else(|| {
            interfaces.push(HostInterface { name: name.to_owned(), addresses: Vec::new() });
            interfaces.len() - 1
        });
        let Some(ip) = entry.address.as_ref().and_then(ip_of) else { continue };
        let prefix = match entry.netmask.as_ref().and_then(ip_of) {
            Some(IpAddr::V4(mask)) => mask.to_bits().leading_ones(),
            Some(IpAddr::V6(mask)) => mask.to_bits().leading_ones(),
            None => continue,
        };
        interfaces[at].addresses.push(HostAddress { ip, prefix: u8::try_from(prefix).unwrap_or(128) });
    }
    Some(Host { interfaces, daemon: daemon() })
}

/// The user of the unit in `packaging/`, if it exists.
fn daemon() -> Option<Account> {
    let user = User::from_name("vouchd").ok()??;
    let name = CString::new(user.name.as_str()).ok()?;
    let groups = getgrouplist(&name, user.gid).unwrap_or_else(|_| vec![user.gid]);
    let groups = groups.into_iter().map(nix::unistd::Gid::as_raw).collect();
    Some(Account { name: user.name, user: user.uid.as_raw(), groups })
}

fn ip_of(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
}
