//! What a check can ask of the world, and the answers.

use std::time::Duration;

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
