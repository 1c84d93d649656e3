//! What this host has of virtual addresses, for a check of a configuration: nothing is changed.

use std::io;

use nix::sys::utsname::uname;

use crate::address::{Claim, HostCopy, InstanceKey, VirtualAddress};
use crate::holdings::Holdings;
use crate::keeper::ignores_others;
use crate::netlink::{Netlink, OUR_PROTOCOL};

/// Something that whoever configures a virtual address should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Whose address.
    pub instance: InstanceKey,
    /// In its configured form.
    pub address: VirtualAddress,
    /// Copies of it that are not vouchd's.
    pub copies: Vec<HostCopy>,
    /// An address of the host in the same subnet, which the kernel could remove together with this one.
    pub endangers: Option<VirtualAddress>,
}

/// What there is to know about these addresses on this host.
///
/// # Errors
/// When links or addresses can't be read.
pub fn examine(claims: Vec<Claim>) -> io::Result<Vec<Finding>> {
    let mut netlink = Netlink::open()?;
    let mut addresses = netlink.addresses()?;
    if !keeps_marks() {
        // Only its lifetime tells an address of a running vouchd from one of the host's.
        addresses.retain(|held| held.permanent || held.protocol == OUR_PROTOCOL);
    }
    let mut holdings = Holdings::default();
    holdings.replace(netlink.links()?, addresses);
    let all = std::fs::read_to_string("/proc/sys/net/ipv4/conf/all/promote_secondaries");
    let promotes = all.is_ok_and(|setting| setting.trim() != "0");
    let mut findings = Vec::new();
    for claim in &claims {
        for address in claim.addresses.iter() {
            let mut copies = holdings.copies(address);
            if !ignores_others(&address.interface) {
                copies.extend(holdings.copies_elsewhere(address));
            }
            let endangers = holdings.endangered_by(address).filter(|_| !promotes);
            if !copies.is_empty() || endangers.is_some() {
                let (instance, address) = (claim.instance.clone(), address.clone());
                findings.push(Finding { instance, address, copies, endangers });
            }
        }
    }
    Ok(findings)
}

/// Whether this kernel keeps IFA_PROTO, by its version.
fn keeps_marks() -> bool {
    let Ok(system) = uname() else { return true };
    is_since_5_18(&system.release().to_string_lossy())
}

fn is_since_5_18(release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse::<u32>().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(major), Some(minor)) => (major, minor) >= (5, 18),
        (Some(_) | None, _) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_that_keep_marks_are_known_by_their_version() {
        for (release, expected) in [
            ("5.17.9-generic", false),
            ("5.4.0", false),
            ("4.19.0-27-amd64", false),
            ("5.18.0", true),
            ("6.1.0-44-amd64", true),
            ("6.18.44-fc-v657", true),
            ("strange", true),
        ] {
            assert_eq!(is_since_5_18(release), expected, "{release}");
        }
    }
}
