//! The attempts, and how each has to end.

use std::path::Path;

use vouchd_tests::Node;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// It is granted, and passes. This shows that the others fail only because they are not granted.
    Granted,
    /// An error with these words of the missing grant.
    Refused(&'static str),
    /// It makes no sense, or finds nothing: anything but a pass.
    Senseless,
    /// What it finds changes all the time. Only the packets and system calls count.
    Changing,
}

use Expected::*;

#[derive(Debug)]
pub struct Attempt {
    /// The name of the check.
    pub name: String,
    /// The name of the plugin.
    pub by: &'static str,
    /// The contents of the `allow` table.
    pub allow: String,
    /// The target.
    pub to: String,
    pub expected: Expected,
}

const FILES: &str = "files = [";
const LINK: &str = "leads through a symbolic link";
const UNIX: &str = "unix = [";
const TCP: &str = "tcp = [";
const HTTP: &str = "http = [";
const DNS: &str = "dns = [";
const NEVER: &str = "nothing could grant it";

type Row = (&'static str, &'static str, &'static str, Expected);

/// Plugin, grants, target. `R` stands for the directory of the scene.
const ROWS: [Row; 95] = [
    ("by-file", "files = ['R/d/*']", "R/d/ready", Granted),
    ("by-file", "", "R/d/ready", Refused(FILES)),
    ("by-file", "files = ['R/d/*']", "R/forbidden", Refused(FILES)),
    ("by-file", "files = ['R/d/*']", "R/d/sub/file", Refused(FILES)),
    ("by-file", "files = ['R/d/*']", "/proc/self/rootR/forbidden", Refused(FILES)),
    ("by-file", "files = ['R/d/*']", "/etc/shadow", Refused(FILES)),
    ("by-file", "files = ['R/d/*']", "/proc/self/environ", Refused(FILES)),
    ("by-file", "files = ['R/d/*']", "/dev/fd/0", Refused(FILES)),
    ("by-file", "files = ['R/d/**']", "R/d/../forbidden", Senseless),
    ("by-file", "files = ['R/d/**']", "R/d/sub/../../forbidden", Senseless),
    ("by-file", "files = ['R/d/**']", "R/forbidden\0/d/ready", Senseless),
    ("by-file", "files = ['R/d/**']", "R/d/pipe", Senseless),
    ("by-file", "files = ['R/d/**']", "R/d/sub", Senseless),
    ("by-file", "files = ['R/d/*']", "R/d/up", Refused(LINK)),
    ("by-file", "files = ['R/d/up']", "R/d/up", Refused(LINK)),
    ("by-file", "files = ['R/d/*']", "R/d/absolute", Refused(LINK)),
    ("by-file", "files = ['R/d/**']", "R/d/linked/file", Refused(LINK)),
    ("by-file", "files = ['R/d/**']", "R/d/root/etc/hostname", Refused(LINK)),
    ("by-file", "files = ['R/d/**']", "R/d/cwd/ready", Refused(LINK)),
    ("by-file", "files = ['R/d/**']", "R/d/fds/0", Refused(LINK)),
    ("by-file", "files = ['/proc/self/fd/*']", "/proc/self/fd/0", Refused(LINK)),
    ("by-file", "files = ['R/d/*']", "R/d/swapped", Changing),
    ("by-unix", "unix = ['R/d/*']", "R/d/s.sock", Granted),
    ("by-unix", "", "R/d/s.sock", Refused(UNIX)),
    ("by-unix", "files = ['R/d/*']", "R/d/s.sock", Refused(UNIX)),
    ("by-unix", "unix = ['R/d/*']", "R/forbidden.sock", Refused(UNIX)),
    ("by-unix", "unix = ['R/d/*']", "/proc/self/rootR/forbidden.sock", Refused(UNIX)),
    ("by-unix", "unix = ['R/d/*']", "R/d/up.sock", Refused(LINK)),
    ("by-unix", "unix = ['R/d/**']", "R/d/linked/s.sock", Refused(LINK)),
    ("by-unix", "unix = ['R/d/**']", "R/d/../forbidden.sock", Senseless),
    ("by-unix", "unix = ['/**']", "@forbidden", Senseless),
    ("by-unix", "unix = ['/**']", "\0forbidden", Senseless),
    ("by-unix", "unix = ['R/d/*']", "R/d/ready", Senseless),
    ("by-unix", "unix = ['R/d/*']", "R/d/pipe", Senseless),
    ("by-unix", "unix = ['R/d/*']", "R/d/swapped.sock", Changing),
    ("by-tcp", "tcp = ['127.0.0.1:8080']", "127.0.0.1:8080", Granted),
    ("by-tcp", "", "127.0.0.1:8080", Refused(TCP)),
    ("by-tcp", "tcp = ['127.0.0.1:8080']", "127.0.0.1:8081", Refused(TCP)),
    ("by-tcp", "tcp = ['127.0.0.1:8080']", "[::ffff:127.0.0.1]:8081", Refused(TCP)),
    ("by-tcp", "tcp = ['127.0.0.1:8080']", "[::1]:8081", Refused(TCP)),
    ("by-tcp", "tcp = ['127.0.0.1:8080']", "0.0.0.0:8081", Refused(TCP)),
    ("by-tcp", "tcp = ['127.0.0.1:8080']", "localhost:8081", Refused(TCP)),
    ("by-tcp", "tcp = ['127.0.0.1:8080']", "2130706433:8081", Refused(NEVER)),
    ("by-tcp", "tcp = ['127.0.0.1:8080']", "0x7f.1:8081", Refused(NEVER)),
    ("by-tcp", "tcp = ['127.0.0.1:8080']", "192.168.175.66:8080", Refused(TCP)),
    ("by-tcp", "tcp = ['0.0.0.0/0:*']", "169.254.169.254:80", Refused(TCP)),
    ("by-tcp", "tcp = ['[::/0]:*', '0.0.0.0/0:*']", "[::ffff:169.254.169.254]:80", Refused(TCP)),
    ("by-tcp", "tcp = ['[::/0]:*']", "[64:ff9b::169.254.169.254]:80", Refused(TCP)),
    ("by-tcp", "tcp = ['[::/0]:*']", "[2002:a9fe:a9fe::]:80", Refused(TCP)),
    ("by-tcp", "tcp = ['[::/0]:*']", "[fd00:ec2::254]:80", Refused(TCP)),
    // The grant of a name grants no address, and the grant of an address no name.
    ("by-tcp", "tcp = ['192.168.175.0/24:8080']", "web.secret:8080", Refused(TCP)),
    ("by-tcp", "tcp = ['web.test:8080']", "192.168.175.66:8080", Refused(TCP)),
    ("by-tcp", "tcp = ['web.test:8080']", "web.test.secret:8080", Refused(TCP)),
    ("by-stream", "tcp = ['web.test:8080']", "web.test:8080", Granted),
    ("by-stream", "", "web.test:8080", Refused(TCP)),
    ("by-stream", "tcp = ['web.test:8080']", "web.test:8081", Refused(TCP)),
    ("by-stream", "tcp = ['*.test:8080']", "meta.test:8080", Refused(TCP)),
    ("by-stream", "tcp = ['*.test:8080']", "mapped.test:8080", Refused(TCP)),
    ("by-stream", "tcp = ['*.test:8080']", "nat.test:8080", Refused(TCP)),
    ("by-stream", "tcp = ['*.test:8080']", "six.test:8080", Refused(TCP)),
    ("by-stream", "tcp = ['*.test:8080']", "local.test:8080", Refused(TCP)),
    ("by-stream", "tcp = ['*.test:8080']", "secret:8080", Refused(TCP)),
    // One of its two addresses is not special.
    ("by-stream", "tcp = ['*.test:8080']", "two.test:8080", Granted),
    ("by-stream", "tcp = ['*.test:8080']", "rebind.test:8080", Changing),
    ("by-stream", "tcp = ['web.test:8080']", "web.test:8080\0", Senseless),
    ("by-stream", "unix = ['R/d/*']", "R/forbidden.sock", Senseless),
    ("by-http", "http = ['http://127.0.0.1:8080/*']", "http://127.0.0.1:8080/", Granted),
    ("by-http", "", "http://127.0.0.1:8080/", Refused(HTTP)),
    ("by-http", "http = ['http://127.0.0.1:8080/*']", "http://127.0.0.1:8081/", Refused(HTTP)),
    ("by-http", "http = ['http://127.0.0.1:8080/public/*']", "http://127.0.0.1:8080/public/../x", Refused(HTTP)),
    ("by-http", "http = ['http://127.0.0.1:8080/*']", "http://127.0.0.1:8080@192.168.175.66/", Refused(HTTP)),
    ("by-http", "http = ['http://127.0.0.1:8080/*']", "https://127.0.0.1:8080/", Refused(HTTP)),
    ("by-http", "http = ['http://127.0.0.1:8080/*']", "http://localhost:8080/", Refused(HTTP)),
    ("by-http", "http = ['http://127.0.0.1:8080/*']", "http://[::ffff:127.0.0.1]:8081/", Refused(HTTP)),
    ("by-http", "http = ['http://*.test:8080/*']", "http://meta.test:8080/", Refused(HTTP)),
    ("by-http", "http = ['http://*.test:8080/*']", "http://nat.test:8080/", Refused(HTTP)),
    ("by-http", "http = ['http://*.test:8080/*']", "http://rebind.test:8080/", Changing),
    ("by-http", "http = ['http://*.test/*']", "http://169.254.169.254/", Refused(HTTP)),
    ("by-http", "http = ['http://127.0.0.1:8080/*']", "file:///etc/shadow", Senseless),
    ("by-http", "http = ['http://127.0.0.1:8080/*']", "gopher://127.0.0.1:8081/", Senseless),
    ("http", "http = ['http://127.0.0.1:8080/*']", "http://127.0.0.1:8080/x", Granted),
    ("http", "http = ['http://127.0.0.1:8080/*']", "http://127.0.0.1:8080/public/to/http://[::1]:8081/", Refused(HTTP)),
    (
        "http",
        "http = ['http://127.0.0.1:8080/*']",
        "http://127.0.0.1:8080/public/to/http://169.254.169.254/",
        Refused(HTTP),
    ),
    ("http", "http = ['http://127.0.0.1:8080/*']", "http://127.0.0.1:8080/public/to///192.168.175.66/", Refused(HTTP)),
    ("http", "http = ['http://127.0.0.1:8080/*']", "http://127.0.0.1:8080/public/to/file:///etc/shadow", Senseless),
    ("by-name", "dns = ['web.test']", "web.test", Granted),
    ("by-name", "", "web.test", Refused(DNS)),
    ("by-name", "tcp = ['web.test:8080']", "web.test", Refused(DNS)),
    ("by-name", "dns = ['web.test']", "secret.test", Refused(DNS)),
    ("by-name", "dns = ['web.test']", "web.test.secret", Refused(DNS)),
    ("by-name", "dns = ['web.test']", "secret.web.test", Refused(DNS)),
    ("by-name", "dns = ['*.test']", "test", Refused(DNS)),
    ("by-name", "dns = ['web.test']", "secret\0.web.test", Refused(NEVER)),
    ("by-name", "dns = ['web.test']", "127.0.0.1", Senseless),
    ("by-program", "", "", Senseless),
];

pub fn all(root: &Path) -> Vec<Attempt> {
    assert_eq!(Node::Intruder.address().to_string(), "192.168.175.66", "as in the table");
    let root = root.to_str().expect("a plain path");
    let attempt = |(number, (by, allow, to, expected)): (usize, Row)| Attempt {
        name: format!("a{number:03}"),
        by,
        allow: allow.replace('R', root),
        to: to.replace('R', root),
        expected,
    };
    ROWS.into_iter().enumerate().map(attempt).collect()
}
