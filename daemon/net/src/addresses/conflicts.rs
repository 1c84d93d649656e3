//! The check of configured virtual addresses against this host. It changes nothing.

use std::io;

use nix::sys::utsname::uname;

use crate::addresses::command::{Claim, InstanceKey, VirtualAddress};
use crate::addresses::reconciler::Reconciler;
use crate::addresses::report::HostCopy;
use crate::addresses::worker::ignores_others;
use crate::netlink::{OUR_PROTOCOL, RequestSocket};

/// A conflict of a configured virtual address with the addresses of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The instance.
    pub instance: InstanceKey,
    /// The address as it is configured.
    pub address: VirtualAddress,
    /// Copies of it that are not vouchd's.
    pub copies: Vec<HostCopy>,
    /// An address of the host in the same subnet, which the kernel could remove together with this one.
    pub endangers: Option<VirtualAddress>,
}

/// Finds the conflicts of these claims with the addresses that the host has.
///
/// # Errors
/// When links or addresses cannot be read.
pub fn examine(claims: Vec<Claim>) -> io::Result<Vec<Finding>> {
    let mut requests = RequestSocket::open()?;
    let mut addresses = requests.addresses()?;
    if !keeps_marks() {
        // Without marks, only its lifetime tells an address of a running vouchd from the host's.
        addresses.retain(|held| held.permanent || held.protocol == OUR_PROTOCOL);
    }
    let mut reconciler = Reconciler::default();
    reconciler.replace(requests.links()?, addresses);
    let all = std::fs::read_to_string("/proc/sys/net/ipv4/conf/all/promote_secondaries");
    let promotes = all.is_ok_and(|setting| setting.trim() != "0");
    let mut findings = Vec::new();
    for claim in &claims {
        for address in claim.addresses.iter() {
            let mut copies = reconciler.copies(address);
            if !ignores_others(&address.interface) {
                copies.extend(reconciler.copies_elsewhere(claim, address));
            }
            let endangers = reconciler.endangered_by(address).filter(|_| !promotes);
            if !copies.is_empty() || endangers.is_some() {
                let (instance, address) = (claim.instance.clone(), address.clone());
                findings.push(Finding { instance, address, copies, endangers });
            }
        }
    }
    Ok(findings)
}

/// Whether this kernel keeps IFA_PROTO, judged by its version. An unreadable version counts as new.
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
    fn kernel_that_keeps_marks_is_known_by_its_version() {
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
