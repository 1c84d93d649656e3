//! The system calls of a process that name a file or an address, as strace prints them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use vouchd_tests::wait::until;

/// strace, attached to a process.
pub struct Trace {
    strace: Child,
    output: PathBuf,
}

impl Trace {
    /// Attaches to all threads of a process.
    ///
    /// # Errors
    /// If strace cannot attach.
    pub fn start(pid: i32, dir: &Path) -> anyhow::Result<Self> {
        let (output, words) = (dir.join("strace.out"), dir.join("strace.words"));
        let strace = Command::new("strace")
            .args(["-f", "-yy", "-s", "200", "-e", "trace=%file,connect,bind,listen,sendto,sendmsg,sendmmsg", "-o"])
            .arg(&output)
            .args(["-p", &pid.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&words)?)
            .spawn()?;
        let trace = Trace { strace, output };
        let attached = || fs::read_to_string(&words).is_ok_and(|words| words.contains("attached"));
        until("strace to attach", Duration::from_secs(10), attached)?;
        Ok(trace)
    }

    /// Detaches, and returns the calls, one per line.
    ///
    /// # Errors
    /// If strace does not end.
    pub fn end(mut self) -> anyhow::Result<Vec<String>> {
        kill(Pid::from_raw(i32::try_from(self.strace.id())?), Signal::SIGINT)?;
        until("strace to detach", Duration::from_secs(10), || matches!(self.strace.try_wait(), Ok(Some(_))))?;
        let text = String::from_utf8_lossy(&fs::read(&self.output)?).into_owned();
        Ok(text.lines().map(str::to_owned).collect())
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        let _ = self.strace.kill();
        let _ = self.strace.wait();
    }
}

/// What is wrong with a call, if anything. No call may contain a text of `forbidden`. `granted` lists the addresses to which
/// it may connect, as strace prints them.
pub fn complaint(line: &str, forbidden: &[&str], granted: &[String]) -> Option<String> {
    // The checker's messages to the router name the targets of the attempts.
    let is_send = line.contains(" sendto(") || line.contains(" sendmsg(") || line.contains(" sendmmsg(");
    if is_send && line.contains("<UNIX") {
        return None;
    }
    // A request to the granted server for a redirect to a forbidden target. Following it would be another connection.
    if is_send && line.contains("<TCP") && line.contains("\"GET /public/to/") {
        return None;
    }
    // Connecting a datagram socket sends nothing. The resolver does it to choose between addresses.
    if line.contains(" connect(") && (line.contains("<UDP") || line.contains("<NETLINK")) {
        return None;
    }
    if let Some(word) = forbidden.iter().find(|word| line.contains(**word)) {
        return Some(format!("{word:?} in: {line}"));
    }
    if line.contains(" bind(") && !line.contains("AF_NETLINK") || line.contains(" listen(") {
        return Some(format!("offers a service: {line}"));
    }
    if line.contains(" connect(") && !granted.iter().any(|granted| line.contains(granted)) {
        return Some(format!("connects: {line}"));
    }
    let opens = line.contains(" open(") || line.contains(" openat(") || line.contains(" openat2(");
    (opens && line.contains("pipe") && !line.contains("O_PATH")).then(|| format!("opens a pipe: {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_beyond_the_grants_are_found() {
        let granted = ["htons(8080), sin_addr=inet_addr(\"127.0.0.1\")".to_owned()];
        let wrong = |line: &str| complaint(line, &["forbidden"], &granted).is_some();
        assert!(wrong(r#"7 openat(AT_FDCWD</>, "/tmp/forbidden", O_RDONLY|O_CLOEXEC) = 3"#));
        assert!(wrong(
            r#"7 connect(3<TCP:[1]>, {sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("127.0.0.1")}, 16) = 0"#
        ));
        assert!(wrong(r#"7 openat2(3</d>, "pipe", {flags=O_RDONLY, resolve=0}, 24) = 4"#));
        assert!(wrong(r#"7 bind(3<TCP:[1]>, {sa_family=AF_INET, sin_port=htons(80)}, 16) = 0"#));
        assert!(!wrong(
            r#"7 connect(3<TCP:[1]>, {sa_family=AF_INET, sin_port=htons(8080), sin_addr=inet_addr("127.0.0.1")}, 16) = 0"#
        ));
        assert!(!wrong(r#"7 sendmsg(3<UNIX-SEQPACKET:[1]>, {msg_iov=[{iov_base="forbidden"}]}, 0) = 9"#));
        assert!(!wrong(r#"7 sendto(3<TCP:[1]>, "GET /public/to/forbidden HTTP/1.1\r\n", 9, 0, NULL, 0) = 9"#));
        assert!(wrong(r#"7 sendto(3<TCP:[1]>, "GET /forbidden HTTP/1.1\r\n", 9, 0, NULL, 0) = 9"#));
        assert!(!wrong(r#"7 openat2(3</d>, "pipe", {flags=O_PATH, resolve=0}, 24) = 4"#));
    }
}
