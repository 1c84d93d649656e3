//! `ip monitor` as a witness.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::namespace::{ip, until};

/// A running `ip monitor`.
pub struct Monitor(Child);

impl Monitor {
    /// Starts `ip monitor address`, and waits until it listens.
    pub fn start() -> Self {
        Self::of("address")
    }

    /// Starts `ip monitor` for this kind of object, and waits until it listens.
    pub fn of(object: &str) -> Self {
        let mut command = Command::new("ip");
        command.args(["-o", "-4", "monitor", object]).stdout(Stdio::piped());
        let monitor = Self(command.spawn().expect("iproute2 is installed"));
        // It does not report that it is ready.
        let path = format!("/proc/{}/net/netlink", monitor.0.id());
        let pid = monitor.0.id().to_string();
        until("the monitor to listen", || {
            let sockets = std::fs::read_to_string(&path).unwrap_or_default();
            sockets.lines().any(|line| {
                let fields: Vec<_> = line.split_whitespace().collect();
                fields.get(2) == Some(&pid.as_str()) && fields.get(3).is_some_and(|groups| *groups != "00000000")
            })
        });
        monitor
    }

    /// Ends it and returns its lines.
    pub fn end(mut self) -> Vec<String> {
        // The last line to wait for.
        ip("address add 198.51.100.255/32 dev lo");
        let output = self.0.stdout.take().expect("a pipe");
        let mut lines = Vec::new();
        for line in BufReader::new(output).lines() {
            let line = line.unwrap();
            if line.contains("198.51.100.255") {
                break;
            }
            lines.push(line);
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
        lines
    }
}
