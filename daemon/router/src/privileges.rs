//! Drops the privileges that the router does not need.

use anyhow::Context;
use caps::{CapSet, Capability, CapsHashSet};
use nix::sys::prctl;

/// Drops all capabilities but those that the router needs: the two for the network, real-time priority and locked memory, and
/// if it was started as root, those to start a checker under another user and to kill it.
///
/// Capabilities belong to threads, so call this before there is a second thread.
///
/// # Errors
/// If one of the network's two capabilities is missing.
pub(crate) fn limit_router() -> anyhow::Result<()> {
    use Capability::{CAP_KILL, CAP_NET_ADMIN, CAP_NET_RAW, CAP_SETGID, CAP_SETPCAP, CAP_SETUID, CAP_SYS_NICE};
    let wanted = [
        CAP_NET_ADMIN,
        CAP_NET_RAW,
        CAP_SETUID,
        CAP_SETGID,
        CAP_SETPCAP,
        CAP_KILL,
        CAP_SYS_NICE,
        Capability::CAP_IPC_LOCK,
    ];
    let has = caps::read(None, CapSet::Permitted).context("reading capabilities")?;
    for needed in [CAP_NET_ADMIN, CAP_NET_RAW] {
        anyhow::ensure!(
            has.contains(&needed),
            "{needed} is missing: start vouchd as root, or like the systemd unit with AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW"
        );
    }
    let keep: CapsHashSet = wanted.into_iter().filter(|capability| has.contains(capability)).collect();
    for set in [CapSet::Effective, CapSet::Permitted] {
        caps::set(None, set, &keep).with_context(|| format!("limiting {set:?} capabilities"))?;
    }
    prctl::set_no_new_privs().context("setting no_new_privs")?;
    Ok(())
}
