//! Namespaces for the demo: with root's rights plain ones, otherwise inside a user namespace in which the user is root.

use std::fs;

use anyhow::Context;
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};

const ADVICE: &str = "the demo makes network, PID and mount namespaces of its own, which takes root or unprivileged user \
     namespaces; run it as root, or allow them (`sysctl user.max_user_namespaces`, \
     `sysctl kernel.apparmor_restrict_unprivileged_userns=0` on Ubuntu; containers need `--privileged`)";

/// Moves this process, which must have a single thread, into a network of its own, with the right to change it.
pub fn enter_own_network() -> anyhow::Result<()> {
    match unshare(CloneFlags::CLONE_NEWNET) {
        Err(Errno::EPERM) => become_root_in_user_namespace(),
        result => result.context("unshare(CLONE_NEWNET)"),
    }
    .context(ADVICE)
}

/// Gives this thread a network, mounts and a host name of its own; its next child is the first process of a new PID
/// namespace. The thread can't start threads afterwards.
pub fn separate_node() -> anyhow::Result<()> {
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
