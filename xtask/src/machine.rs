//! What a fresh machine lacks: Debian packages and cargo tools, installed where we may, named where we may not.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use anyhow::ensure;

/// A command, or a file with its whole path, and the Debian package that has it.
pub type Needed = (&'static str, &'static str);

/// What the whole-system tests call. Tests that miss theirs are skipped, and say so.
pub const FOR_TESTS: &[Needed] = &[
    ("ip", "iproute2"),
    ("unshare", "util-linux"),
    ("curl", "curl"),
    ("nginx", "nginx-light"),
    ("haproxy", "haproxy"),
    ("keepalived", "keepalived"),
    ("/usr/lib/frr/vrrpd", "frr"),
    ("killall", "psmisc"),
    ("systemd-analyze", "systemd"),
    ("mariadbd", "mariadb-server"),
    ("pg_ctlcluster", "postgresql"),
    ("haproxy", "haproxy"),
    ("redis-server", "redis-server"),
    ("dbus-daemon", "dbus"),
    ("/usr/lib/python3/dist-packages/dbus", "python3-dbus"),
    ("/usr/lib/python3/dist-packages/gi", "python3-gi"),
    ("openssl", "openssl"),
    ("strace", "strace"),
];

/// Installs what is missing, if this is Debian and we are root; else says what to install.
pub fn install_packages(needed: &[Needed]) -> anyhow::Result<()> {
    let missing = missing_packages(needed);
    if missing.is_empty() {
        return Ok(());
    }
    if !is_root() || !is_installed("apt-get") {
        println!("xtask: not installed: {}. What needs them is skipped; install them as root.", missing.join(", "));
        return Ok(());
    }
    println!("xtask: installing the Debian packages {}", missing.join(", "));
    apt_get(&["update", "-q"])?;
    let mut install = vec!["install", "-q", "-y", "--no-install-recommends"];
    install.extend(missing);
    apt_get(&install)
}

/// The packages that are not installed, as a list in words; `None` if there are none.
pub fn missing(needed: &[Needed]) -> Option<String> {
    let missing = missing_packages(needed);
    (!missing.is_empty()).then(|| missing.join(", "))
}

fn missing_packages(needed: &[Needed]) -> Vec<&'static str> {
    needed.iter().filter(|(command, _)| !is_installed(command)).map(|(_, package)| *package).collect()
}

/// The test runner.
pub fn install_nextest() -> anyhow::Result<()> {
    if works("cargo", &["nextest", "--version"]) {
        return Ok(());
    }
    println!("xtask: installing cargo-nextest, the test runner (a few minutes)");
    let status = Command::new("cargo").args(["install", "--locked", "cargo-nextest"]).status()?;
    ensure!(status.success(), "cargo install cargo-nextest ended with {status}");
    Ok(())
}

/// Whether this command can be started and succeeds.
pub fn works(program: impl AsRef<OsStr>, args: &[&str]) -> bool {
    Command::new(program).args(args).output().is_ok_and(|output| output.status.success())
}

/// Runs `apt-get` without questions.
pub fn apt_get(args: &[&str]) -> anyhow::Result<()> {
    let status = Command::new("apt-get").args(args).env("DEBIAN_FRONTEND", "noninteractive").status()?;
    ensure!(status.success(), "apt-get {} ended with {status}", args.join(" "));
    Ok(())
}

fn is_installed(command: &str) -> bool {
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
        .iter()
        .any(|directory| Path::new(directory).join(command).exists())
}

/// Whether Debian's package manager has installed it.
pub fn has_package(package: &str) -> bool {
    let status = Command::new("dpkg-query").args(["--show", "--showformat=${db:Status-Status}", package]).output();
    status.is_ok_and(|output| output.stdout == b"installed")
}

pub fn is_root() -> bool {
    // The owner of our own entry in /proc is our effective user.
    std::fs::metadata("/proc/self").is_ok_and(|data| std::os::unix::fs::MetadataExt::uid(&data) == 0)
}
