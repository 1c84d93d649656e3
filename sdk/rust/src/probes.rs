//! What a check can ask of the world, and the answers.

use std::time::{Duration, SystemTime};

use crate::error::{ProbeError, Result};

/// Which processes to find. All that is given must hold; give at least one of `name`, `cmdline`, `pid_file`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProcessQuery {
    /// The exact name, as `ps -e` shows it.
    pub name: Option<String>,
    /// A regular expression found somewhere in the command line.
    pub cmdline: Option<String>,
    /// A file whose first word is the process id.
    pub pid_file: Option<String>,
    /// Effective owner: a name or a number.
    pub user: Option<String>,
}

impl ProcessQuery {
    pub fn named(name: impl Into<String>) -> Self {
        ProcessQuery { name: Some(name.into()), ..Self::default() }
    }
}

/// A running process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    pub pid: u32,
    pub name: String,
    pub age: Duration,
}

/// Connect, say something, read the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpRequest {
    /// `host:port`, IPv6 in brackets.
    pub addr: String,
    pub send: Vec<u8>,
    /// Stop reading when this was seen.
    pub until: Option<Vec<u8>>,
    /// Stop reading after this many; 0 reads nothing.
    pub max_bytes: u32,
    /// None: what is left of the run.
    pub timeout: Option<Duration>,
}

impl TcpRequest {
    /// Connects only.
    pub fn connect(addr: impl Into<String>) -> Self {
        TcpRequest { addr: addr.into(), send: Vec::new(), until: None, max_bytes: 0, timeout: None }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpReply {
    /// How long the connect took.
    pub connect: Duration,
    pub data: Vec<u8>,
}

/// One HTTP/1.1 request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRequest {
    pub method: String,
    pub url: String,
    /// A `host` header replaces the one from the URL.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// For everything; none: what is left of the run.
    pub timeout: Option<Duration>,
    /// The body is cut there; 0 reads none of it.
    pub max_body: u32,
    /// Whether an invalid or foreign certificate is an error. True by default.
    pub tls_verify: bool,
    /// The server name for TLS, where it is not the URL's.
    pub sni: Option<String>,
    /// How many redirects to follow.
    pub follow_redirects: u8,
    /// Keep the connection for the next run.
    pub reuse_connection: bool,
}

impl HttpRequest {
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Self {
        HttpRequest {
            method: method.into(),
            url: url.into(),
            headers: Vec::new(),
            body: Vec::new(),
            timeout: None,
            max_body: 0,
            tls_verify: true,
            sni: None,
            follow_redirects: 0,
            reuse_connection: false,
        }
    }

    pub fn get(url: impl Into<String>) -> Self {
        Self::new("GET", url)
    }
}

/// Any status is a response, not an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpResponse {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Until the last byte that was read.
    pub total: Duration,
}

/// What there is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileInfo {
    pub kind: FileKind,
    /// In bytes.
    pub size: u64,
    /// Since the last modification.
    pub age: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    File,
    Directory,
    Other,
}

/// How full a file system is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskUsage {
    /// In bytes.
    pub total: u64,
    /// What programs without privileges can still write, in bytes.
    pub available: u64,
    /// Files that it can hold; 0 where there is no such bound.
    pub inodes: u64,
    pub inodes_available: u64,
}

/// A network link of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    pub name: String,
    /// Set up by the administrator.
    pub up: bool,
    /// The cable is plugged in and the other side is there.
    pub carrier: bool,
}

/// An address of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    pub link: String,
    pub ip: std::net::IpAddr,
    pub prefix: u8,
}

/// What a server showed in a TLS handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Like `CN=www.example.com, O=Example`.
    pub subject: String,
    pub issuer: String,
    /// The names and addresses that it is for.
    pub names: Vec<String>,
    pub not_before: SystemTime,
    pub not_after: SystemTime,
    /// None: verified; else why not.
    pub problem: Option<String>,
    /// `TLSv1.3` or `TLSv1.2`.
    pub protocol: String,
}

/// What carries a [`Connection`]: the daemon, or a test.
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

/// A conversation. Closed when it is dropped.
pub struct Connection(Box<dyn Wire>);

impl Connection {
    pub fn new(wire: impl Wire + 'static) -> Self {
        Connection(Box::new(wire))
    }

    /// # Errors
    /// If not all of it could be sent in the time that the run has left.
    pub fn send(&mut self, data: impl AsRef<[u8]>) -> Result<(), ProbeError> {
        self.0.send(data.as_ref())
    }

    /// Until the peer closes, `max_bytes` came or the `timeout` is over: then what has come is the answer.
    ///
    /// # Errors
    /// If nothing came in time.
    pub fn receive(&mut self, max_bytes: u32, timeout: Option<Duration>) -> Result<Vec<u8>, ProbeError> {
        self.0.receive(None, max_bytes, timeout)
    }

    /// Up to and with `until`; less where `max_bytes` came before or the peer closed. What follows is for the next call.
    ///
    /// # Errors
    /// If it did not come in time.
    pub fn receive_until(
        &mut self,
        until: impl AsRef<[u8]>,
        max_bytes: u32,
        timeout: Option<Duration>,
    ) -> Result<Vec<u8>, ProbeError> {
        self.0.receive(Some(until.as_ref()), max_bytes, timeout)
    }

    /// Goes on with TLS. With `verify` a bad certificate is an error, else it is told in [`Certificate::problem`].
    ///
    /// # Errors
    /// If the handshake failed.
    pub fn start_tls(
        &mut self,
        server_name: &str,
        verify: bool,
        timeout: Option<Duration>,
    ) -> Result<Certificate, ProbeError> {
        self.0.start_tls(server_name, verify, timeout)
    }
}
