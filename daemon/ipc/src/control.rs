//! The client of the control socket. It has an answer within a second, or the reason why there is none.

use std::fmt;
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::{Gid, Group, Uid, User};
use serde_json::Value;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::status::Status;

/// The request for the status, the only request so far.
pub const STATUS: &str = "status";

/// The time from the connection to the last byte of the answer. Short, so that a daemon that hangs is reported within a second.
const PATIENCE: Duration = Duration::from_millis(900);

/// Longest answer in bytes, far longer than any status.
const LARGEST: u64 = 64 << 20;

/// The reason why there is no status.
#[derive(Debug)]
pub enum Unanswered {
    /// No process listens at the socket.
    NotRunning(String),
    /// A process may listen, but there is no status.
    Other(String),
}

impl Unanswered {
    /// Adds a reason to doubt that the right daemon was asked.
    pub fn with(self, doubt: Option<String>) -> Self {
        let add = |reason: String| match &doubt {
            Some(doubt) => format!("{reason} ({doubt})"),
            None => reason,
        };
        match self {
            Self::NotRunning(reason) => Self::NotRunning(add(reason)),
            Self::Other(reason) => Self::Other(add(reason)),
        }
    }
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRunning(reason) | Self::Other(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for Unanswered {}

/// Asks the daemon with the control socket `path` for its status.
///
/// # Errors
/// If no daemon answers there within a second, or the answer is not a status.
pub fn status(path: &Path) -> Result<Status, Unanswered> {
    let deadline = Instant::now() + PATIENCE;
    let stream = connect(path).map_err(|error| no_connection(path, &error))?;
    let pid = getsockopt(&stream, PeerCredentials).map(|peer| peer.pid()).ok().filter(|pid| *pid > 0);
    let answer = exchange(&stream, deadline).map_err(|error| match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => silent(path, pid),
        _ => Unanswered::Other(format!("{}: {error}", path.display())),
    })?;
    read(&answer, pid)
}

fn connect(path: &Path) -> io::Result<UnixStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Bounds the connection too, which waits while the accept queue is full.
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(UnixStream::from(OwnedFd::from(socket)))
}

fn exchange(mut stream: &UnixStream, deadline: Instant) -> io::Result<Vec<u8>> {
    match writeln!(stream, "{STATUS}") {
        // The daemon closed without reading; an answer it sent before counts.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        other => other?,
    }
    let mut answer = Vec::new();
    let mut stream = stream.take(LARGEST);
    let mut buffer = vec![0; 64 << 10];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        stream.get_ref().set_read_timeout(Some(left))?;
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(answer),
            Ok(count) => answer.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // The daemon closed without reading; an answer it sent before counts.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(answer),
            Err(error) => return Err(error),
        }
    }
}

fn no_connection(path: &Path, error: &io::Error) -> Unanswered {
    let shown = path.display();
    match error.kind() {
        ErrorKind::NotFound => Unanswered::NotRunning(format!(
            "vouchd is not running: there is no {shown}. Start it (systemctl start vouchd), or name its socket with \
             --control, or its configuration with -c"
        )),
        ErrorKind::ConnectionRefused => match fs::metadata(path) {
            Ok(file) if !file.file_type().is_socket() => {
                Unanswered::Other(format!("{shown} is not a socket: expected the control socket of a running vouchd"))
            }
            Ok(_) | Err(_) => Unanswered::NotRunning(format!(
                "vouchd is not running: nobody listens at {shown}, a socket that a killed vouchd left behind. Start it: \
                 systemctl start vouchd"
            )),
        },
        ErrorKind::PermissionDenied => Unanswered::Other(format!("{shown}: you may not use it: {}", who_may(path))),
        ErrorKind::WouldBlock | ErrorKind::TimedOut => silent(path, None),
        _ => Unanswered::Other(format!("{shown}: {error}")),
    }
}

/// Describes the permissions that deny access to the path, and who has access.
fn who_may(path: &Path) -> String {
    for part in [Some(path), path.parent()].into_iter().flatten() {
        let Ok(file) = fs::metadata(part) else { continue };
        let group = Group::from_gid(Gid::from_raw(file.gid())).ok().flatten();
        let group = group.map_or_else(|| file.gid().to_string(), |group| group.name);
        let user = User::from_uid(Uid::from_raw(file.uid())).ok().flatten();
        let user = user.map_or_else(|| file.uid().to_string(), |user| user.name);
        let mode = file.mode() & 0o7777;
        return format!(
            "{} has the mode {mode:04o} and belongs to {user}:{group}. Run this as root, or as a member of the group \
             {group}",
            part.display()
        );
    }
    "run this as root, or as a member of vouchd's group".to_owned()
}

fn silent(path: &Path, pid: Option<i32>) -> Unanswered {
    let who = pid.map_or("vouchd".to_owned(), |pid| format!("vouchd (pid {pid})"));
    let state = pid.and_then(process_state);
    let what = match (state, pid) {
        (Some('T' | 't'), Some(pid)) => format!("it is stopped; to continue it: kill -CONT {pid}"),
        (Some('D'), _) => "it is blocked in the kernel, perhaps by a disk (state D)".to_owned(),
        _ => "it hangs, or this machine is overloaded; see its log (journalctl -u vouchd)".to_owned(),
    };
    Unanswered::Other(format!(
        "{who} does not answer at {} after {:.1} s: {what}",
        path.display(),
        PATIENCE.as_secs_f64()
    ))
}

/// The state of a process: the letter in `/proc/PID/stat`.
fn process_state(pid: i32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

fn read(answer: &[u8], pid: Option<i32>) -> Result<Status, Unanswered> {
    let who = pid.map_or("vouchd".to_owned(), |pid| format!("vouchd (pid {pid})"));
    if answer.is_empty() {
        return Err(Unanswered::Other(format!("{who} closed the connection without an answer; see its log")));
    }
    let error = match serde_json::from_slice(answer) {
        Ok(status) => return Ok(status),
        Err(error) => error,
    };
    let document: Value = serde_json::from_slice(answer).unwrap_or_default();
    let own = env!("CARGO_PKG_VERSION");
    Err(Unanswered::Other(match (document["error"].as_str(), document["version"].as_str()) {
        (Some(reason), _) => format!("{who} could not report its status: {reason}"),
        (None, Some(version)) if version != own => format!(
            "{who} has version {version}, and this command has version {own} and could not read its answer ({error}): \
             use the command of that version, or restart the daemon after an upgrade"
        ),
        (None, _) => format!("{who} sent an answer that is not a status: {error}"),
    }))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;

    /// The error for a daemon that sends this answer.
    fn error_for(answer: &'static [u8]) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let server = thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            let mut request = [0; 7];
            client.read_exact(&mut request).unwrap();
            client.write_all(answer).unwrap();
        });
        let said = status(&path).unwrap_err().to_string();
        server.join().unwrap();
        said
    }

    #[test]
    fn answer_that_is_not_a_status_is_reported_as_what_it_is() {
        let pid = std::process::id();
        let table: [(&[u8], &str); 5] = [
            (b"", "closed the connection without an answer"),
            (b"{\"version\":", "sent an answer that is not a status: EOF"),
            (b"\0\xff", "sent an answer that is not a status"),
            (b"{\"version\": \"99.1.0\"}", "has version 99.1.0, and this command has version"),
            (
                b"{\"error\": \"the health thread does not answer\"}",
                "could not report its status: the health thread does not",
            ),
        ];
        for (answer, expected) in table {
            let said = error_for(answer);
            assert!(said.contains(expected) && said.contains(&format!("pid {pid}")), "{said}");
        }
    }

    #[test]
    fn connection_closed_without_an_answer_is_reported() {
        let (own, other) = UnixStream::pair().unwrap();
        drop(other);
        let answer = exchange(&own, Instant::now() + PATIENCE).unwrap();
        let said = read(&answer, Some(7)).unwrap_err().to_string();
        assert_eq!(said, "vouchd (pid 7) closed the connection without an answer; see its log");
    }

    #[test]
    fn silent_daemon_is_reported_within_a_second() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        let _listener = UnixListener::bind(&path).unwrap();
        let begun = Instant::now();
        let said = status(&path).unwrap_err().to_string();
        assert!(said.contains(&format!("vouchd (pid {}) does not answer at", std::process::id())), "{said}");
        assert!(begun.elapsed() >= PATIENCE, "{:?}", begun.elapsed());
    }

    #[test]
    fn missing_daemon_and_a_file_that_is_not_a_socket_are_distinguished() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        let none = status(&path).unwrap_err();
        assert!(matches!(&none, Unanswered::NotRunning(reason) if reason.contains("there is no ")), "{none}");
        drop(UnixListener::bind(&path).unwrap());
        let left = status(&path).unwrap_err();
        assert!(matches!(&left, Unanswered::NotRunning(reason) if reason.contains("nobody listens at")), "{left}");
        fs::remove_file(&path).unwrap();
        fs::write(&path, "").unwrap();
        assert!(status(&path).unwrap_err().to_string().contains("is not a socket"));
    }
}
