//! Gives up all privileges of the checker.

use anyhow::Context;
use caps::CapSet;
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid, setgid, setgroups, setresuid};

/// Changes to an unprivileged user, gives up all groups and capabilities for good, and makes the process die with the router.
///
/// Returns a warning if the user cannot be changed because the user namespace has no other user. If vouchd runs as an
/// unprivileged user already, as under systemd, the checker keeps that user.
///
/// # Errors
/// When a step fails: the checker must not run with privileges.
pub(crate) fn become_checker(uid: u32, gid: u32) -> anyhow::Result<Option<String>> {
    let warning = change_user(Uid::from_raw(uid), Gid::from_raw(gid))?;
    for set in [CapSet::Ambient, CapSet::Inheritable, CapSet::Effective, CapSet::Permitted] {
        caps::clear(None, set).with_context(|| format!("clearing {set:?} capabilities"))?;
    }
    prctl::set_no_new_privs().context("no_new_privs")?;
    prctl::set_dumpable(false).context("PR_SET_DUMPABLE")?;
    // Must come after the change of user, which clears it.
    prctl::set_pdeathsig(Signal::SIGKILL).context("PR_SET_PDEATHSIG")?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0).context("RLIMIT_CORE")?;
    Ok(warning)
}

fn change_user(uid: Uid, gid: Gid) -> anyhow::Result<Option<String>> {
    let was = Uid::effective();
    match setgroups(&[]).and_then(|()| setgid(gid)).and_then(|()| setresuid(uid, uid, uid)) {
        Ok(()) => Ok(None),
        // The router is not root: the checker shares its user, but has none of its capabilities.
        Err(_) if !was.is_root() => Ok(None),
        // Root of a user namespace is an unprivileged user outside of it, and the namespace may have no other user.
        Err(error) if in_user_namespace()? => Ok(Some(format!(
            "the checker can't change to user {uid} in this user namespace, and keeps its user without capabilities: {error}"
        ))),
        Err(error) => Err(error).with_context(|| format!("changing to user {uid}; the checker never runs as root")),
    }
}

fn in_user_namespace() -> anyhow::Result<bool> {
    let map = std::fs::read_to_string("/proc/self/uid_map").context("reading /proc/self/uid_map")?;
    Ok(map.split_whitespace().collect::<Vec<_>>() != ["0", "0", "4294967295"])
}
