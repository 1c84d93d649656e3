//! Namespaces for the demo. Without root's rights, they are inside a user namespace in which the user is root.

use std::fs;

use anyhow::Context;
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};

const ADVICE: &str = "the demo creates network, PID and mount namespaces, which needs root or unprivileged user namespaces; \
     run it as root, or allow them (`sysctl user.max_user_namespaces`, \
     `sysctl kernel.apparmor_restrict_unprivileged_userns=0` on Ubuntu; containers need `--privileged`)";

/// Moves this process, which must have a single thread, into a new network namespace that it may change.
pub(crate) fn enter_own_network() -> anyhow::Result<()> {
    match unshare(CloneFlags::CLONE_NEWNET) {
        Err(Errno::EPERM) => become_root_in_user_namespace(),
        result => result.context("unshare(CLONE_NEWNET)"),
    }
    .context(ADVICE)
}

/// Moves this thread into new network, mount and host name namespaces. Its next child is the first process of a new PID
/// namespace. The thread cannot start threads afterwards.
pub(crate) fn separate_node() -> anyhow::Result<()> {
    unshare(
        CloneFlags::CLONE_NEWNET
            | CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWPID
            | CloneFlags::CLONE_NEWUTS
            | CloneFlags::CLONE_NEWIPC,
    )
    .context("unshare for a node")
    .context(ADVICE)
}

fn become_root_in_user_namespace() -> anyhow::Result<()> {
    let user = nix::unistd::geteuid();
    let group = nix::unistd::getegid();
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET).context("unshare(CLONE_NEWUSER | CLONE_NEWNET)")?;
    // The kernel accepts a group map from an unprivileged process only after this.
    write("/proc/self/setgroups", "deny")?;
    write("/proc/self/uid_map", &format!("0 {user} 1"))?;
    write("/proc/self/gid_map", &format!("0 {group} 1"))
}

fn write(path: &str, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("writing `{text}` to {path}"))
}
