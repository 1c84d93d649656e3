//! The probes: requests, answers, and connections.

use std::time::{Duration, SystemTime};

use crate::error::{ProbeError, Result};

/// Which processes to find. All given conditions must hold; give at least one of `name`, `cmdline`, `pid_file`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProcessQuery {
    /// The exact name, as `ps -e` shows it.
    pub name: Option<String>,
    /// A regular expression that matches somewhere in the command line, whose words are joined by single spaces.
    pub cmdline: Option<String>,
    /// A file whose first word is the process id. It needs a grant as `files`.
    pub pid_file: Option<String>,
    /// The effective owner: a name or a number.
    pub user: Option<String>,
}

impl ProcessQuery {
    /// Finds processes by their exact name.
    pub fn named(name: impl Into<String>) -> Self {
        ProcessQuery { name: Some(name.into()), ..Self::default() }
    }
}

/// A running process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// The process id.
    pub pid: u32,
    /// The name, as `ps -e` shows it.
    pub name: String,
    /// The time since the process started.
    pub age: Duration,
}

/// One exchange over TCP: connect, send, receive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpRequest {
    /// `host:port`, IPv6 in brackets.
    pub address: String,
    /// Sent after connecting; may be empty.
    pub send: Vec<u8>,
    /// Receives until this arrives. With `None` it receives until `max_bytes` arrived, the peer closed, or the time is up.
    pub until: Option<Vec<u8>>,
    /// The most bytes to receive; 0 without `until` receives nothing.
    pub max_bytes: u32,
    /// For connecting and receiving together; `None` takes what the run has left.
    pub timeout: Option<Duration>,
}

impl TcpRequest {
    /// Connects, and neither sends nor receives.
    pub fn connect(address: impl Into<String>) -> Self {
        TcpRequest { address: address.into(), send: Vec::new(), until: None, max_bytes: 0, timeout: None }
    }
}

/// The answer to a [`TcpRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpReply {
    /// The time that connecting took.
    pub connect: Duration,
    /// The received bytes, up to and including `until` where that was given.
    pub data: Vec<u8>,
}

/// One HTTP/1.1 request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRequest {
    /// The method, in capitals.
    pub method: String,
    /// `http://` or `https://`.
    pub url: String,
    /// Names and values. A `host` header replaces the one from the URL.
    pub headers: Vec<(String, String)>,
    /// The body; may be empty.
    pub body: Vec<u8>,
    /// For everything: resolving, connecting, redirects, the body. `None` takes what the run has left.
    pub timeout: Option<Duration>,
    /// The most bytes of the response's body to read; 0 reads none of it. Ask for `u32::MAX` for all of it: a body longer than
    /// `limits.probe_bytes` is then denied, never cut.
    pub max_body_bytes: u32,
    /// Whether a certificate that cannot be verified is an error. True by default.
    pub tls_verify: bool,
    /// The server name for TLS, if it is not the host of the URL.
    pub sni: Option<String>,
    /// How many redirects to follow; with 0 the first response is the answer. Each address needs a grant.
    pub follow_redirects: u8,
    /// Whether to keep the connection for the next run. A reused connection says less about the listener. False by default.
    pub reuse_connection: bool,
}

impl HttpRequest {
    /// A request without headers and body, which reads no body.
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Self {
        HttpRequest {
            method: method.into(),
            url: url.into(),
            headers: Vec::new(),
            body: Vec::new(),
            timeout: None,
            max_body_bytes: 0,
            tls_verify: true,
            sni: None,
            follow_redirects: 0,
            reuse_connection: false,
        }
    }

    /// A GET request; see [`new`](Self::new).
    pub fn get(url: impl Into<String>) -> Self {
        Self::new("GET", url)
    }
}

/// The response to an [`HttpRequest`]. Any status is a response, not an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpResponse {
    /// The status code.
    pub status: u16,
    /// Names, in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body, up to `max_body_bytes`.
    pub body: Vec<u8>,
    /// The time from the start to the last byte that was read.
    pub total: Duration,
}

/// A file, a directory, or something else at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileInfo {
    /// What it is.
    pub kind: FileKind,
    /// In bytes.
    pub size: u64,
    /// The time since the last modification; zero if that lies in the future.
    pub age: Duration,
}

/// The kind of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A socket, a device, a pipe, …
    Other,
}

/// The size of a file system and the room left on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// The size in bytes.
    pub total: u64,
    /// The bytes that a program without privileges can still write.
    pub available: u64,
    /// The most files it can hold; 0 if it has no such bound.
    pub inodes: u64,
    /// The files that a program without privileges can still create.
    pub inodes_available: u64,
}

/// A network link of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The name, such as `eth0`.
    pub name: String,
    /// Whether the administrator has set it up.
    pub up: bool,
    /// Whether it has a carrier: the cable is plugged in and the other end is up.
    pub carrier: bool,
}

/// An address of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The name of the link that has it.
    pub link: String,
    /// The address.
    pub ip: std::net::IpAddr,
    /// The prefix length in bits.
    pub prefix: u8,
}

/// The certificate that a server presented in a TLS handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The subject, such as `CN=www.example.com, O=Example`.
    pub subject: String,
    /// The issuer, in the same form.
    pub issuer: String,
    /// The names and addresses that the certificate is for.
    pub names: Vec<String>,
    /// The start of its validity, in whole seconds.
    pub not_before: SystemTime,
    /// The end of its validity, in whole seconds.
    pub not_after: SystemTime,
    /// Why it could not be verified; `None` if it was.
    pub problem: Option<String>,
    /// `TLSv1.3` or `TLSv1.2`.
    pub protocol: String,
}

/// The transport of a [`Connection`]: the daemon, or a [`Script`](crate::testing::Script) in tests. Each method is described at
/// the method of [`Connection`] with the same name.
#[expect(missing_docs, reason = "documented on Connection")]
pub trait Wire {
    fn send(&mut self, data: &[u8]) -> Result<(), ProbeError>;
    fn receive(
        &mut self,
        until: Option<&[u8]>,
        max_bytes: u32,
        timeout: Option<Duration>,
    ) -> Result<Vec<u8>, ProbeError>;
    fn start_tls(
        &mut self,
        server_name: &str,
        verify: bool,
        timeout: Option<Duration>,
    ) -> Result<Certificate, ProbeError>;
}

/// A connection to a peer. It closes when it is dropped, and at the end of the run. It carries at most `limits.probe_bytes` each
/// way, and a check may have `limits.connections` of them open at once.
pub struct Connection(Box<dyn Wire>);

impl Connection {
    /// Makes a connection over a transport. Plugins get theirs from [`Context::connect_tcp`](crate::Context::connect_tcp).
    pub fn new(wire: impl Wire + 'static) -> Self {
        Connection(Box::new(wire))
    }

    /// Sends all of `data`.
    ///
    /// # Errors
    /// If the peer closed, or the run has no time left.
    pub fn send(&mut self, data: impl AsRef<[u8]>) -> Result<(), ProbeError> {
        self.0.send(data.as_ref())
    }

    /// Receives until `max_bytes` arrived, the peer closed, or the time is up, and returns what has arrived: less than
    /// `max_bytes`, or nothing, if the peer closed.
    ///
    /// # Errors
    /// If nothing arrived in time.
    pub fn receive(&mut self, max_bytes: u32, timeout: Option<Duration>) -> Result<Vec<u8>, ProbeError> {
        self.0.receive(None, max_bytes, timeout)
    }

    /// Receives up to and including `until`. Bytes after it are kept for the next call. Returns less if `max_bytes` arrived first,
    /// or the peer closed.
    ///
    /// # Errors
    /// If `until` did not arrive in time.
    pub fn receive_until(
        &mut self,
        until: impl AsRef<[u8]>,
        max_bytes: u32,
        timeout: Option<Duration>,
    ) -> Result<Vec<u8>, ProbeError> {
        self.0.receive(Some(until.as_ref()), max_bytes, timeout)
    }

    /// Continues with TLS. A certificate that cannot be verified is an error with `verify`; without it,
    /// [`Certificate::problem`] says why.
    ///
    /// # Errors
    /// If the handshake fails, or with `verify` the certificate cannot be verified.
    pub fn start_tls(
        &mut self,
        server_name: &str,
        verify: bool,
        timeout: Option<Duration>,
    ) -> Result<Certificate, ProbeError> {
        self.0.start_tls(server_name, verify, timeout)
    }
}
