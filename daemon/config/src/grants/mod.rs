//! What a check may reach: nothing, unless its `allow` grants it.
//!
//! Patterns are parsed with the configuration, so that an invalid one is an error with its place. Matching is pure. The plugin
//! host matches before it sends anything, on what the probe will actually use: a parsed URL, or a host and port as they go to
//! the resolver. A name must be granted as a name, an address as an address or a network. A granted name may resolve to any
//! address, except for guarded ones (see [`Grants::permits_tcp_address`]).

mod dns;
mod host;
mod http;
mod path;
mod tcp;

pub use dns::{DnsGrant, DnsPattern};
pub use http::HttpPattern;
pub use path::{GrantedPath, PathPattern};
pub use tcp::TcpPattern;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use url::Url;
use vouchd_printable::is_unprintable;

/// Everything that one check may reach. The default is nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Grants {
    /// The processes that it may look at.
    pub process: ProcessGrant,
    /// The URLs that it may fetch.
    pub http: Vec<HttpPattern>,
    /// The hosts and ports that it may connect to.
    pub tcp: Vec<TcpPattern>,
    /// The Unix sockets that it may connect to.
    pub unix: Vec<PathPattern>,
    /// The files that it may look at.
    pub files: Vec<PathPattern>,
    /// The names that it may look up.
    pub dns: DnsGrant,
    /// The complete environment of a plugin that asks for one through WASI.
    pub env: BTreeMap<String, String>,
}

/// Which processes a check may look at.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcessGrant {
    /// No process.
    #[default]
    None,
    /// `process = true`: every process.
    All,
    /// `process = ["nginx"]`: processes with exactly these names.
    Names(Vec<String>),
}

/// A probe that is not granted, and what would grant it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The probe, for a message: `connecting to "127.0.0.1:80"`.
    pub wanted: String,
    /// The complete `allow` line of the check with the missing grant, as in the configuration.
    pub line: String,
    /// The grants of that line; the current ones if nothing could grant the probe.
    pub granted: Box<Grants>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not granted to this check; to grant it: {}", self.wanted, self.line)
    }
}

impl std::error::Error for Refusal {}

/// An invalid pattern in `allow`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadPattern {
    /// The pattern as written.
    pub pattern: String,
    /// What was expected instead.
    pub expected: String,
}

impl BadPattern {
    fn new(pattern: &str, expected: impl Into<String>) -> Self {
        BadPattern { pattern: pattern.to_owned(), expected: expected.into() }
    }
}

impl fmt::Display for BadPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: expected {}", self.pattern, self.expected)
    }
}

impl std::error::Error for BadPattern {}

impl Grants {
    /// Whether the check may look for processes of exactly this name.
    ///
    /// # Errors
    /// It may not; the refusal says what to add.
    pub fn permits_process(&self, name: &str) -> Result<(), Refusal> {
        let granted = match &self.process {
            ProcessGrant::None => false,
            ProcessGrant::All => true,
            ProcessGrant::Names(names) => names.iter().any(|n| n == name),
        };
        if granted {
            return Ok(());
        }
        let mut names = match &self.process {
            ProcessGrant::Names(names) => names.clone(),
            ProcessGrant::None | ProcessGrant::All => Vec::new(),
        };
        names.push(name.to_owned());
        let wanted = format!("looking for the process {name:?}");
        Err(self.refusal(wanted, |grants| grants.process = ProcessGrant::Names(names)))
    }

    /// Whether the check may look at processes of any name (to search by command line, say).
    ///
    /// # Errors
    /// It may not; the refusal says what to add.
    pub fn permits_all_processes(&self) -> Result<(), Refusal> {
        match self.process {
            ProcessGrant::All => Ok(()),
            ProcessGrant::None | ProcessGrant::Names(_) => {
                Err(self.refusal("looking at all processes".to_owned(), |grants| grants.process = ProcessGrant::All))
            }
        }
    }

    /// Whether the check may look at some process. A search without a name then finds the granted ones.
    ///
    /// # Errors
    /// It may not; the refusal says what to add.
    pub fn permits_some_process(&self) -> Result<(), Refusal> {
        match self.process {
            ProcessGrant::All | ProcessGrant::Names(_) => Ok(()),
            ProcessGrant::None => self.permits_all_processes(),
        }
    }

    /// Whether the check may fetch anything from this URL's server.
    ///
    /// # Errors
    /// It may not; the refusal says what to add for the URL itself.
    pub fn permits_server(&self, url: &Url) -> Result<(), Refusal> {
        if self.http.iter().any(|pattern| pattern.matches_server(url)) { Ok(()) } else { self.permits_http(url) }
    }

    /// Whether the check may fetch this URL. The target of a redirect needs the same grant.
    ///
    /// # Errors
    /// It may not; the refusal says what to add.
    pub fn permits_http(&self, url: &Url) -> Result<(), Refusal> {
        if self.http.iter().any(|pattern| pattern.matches(url)) {
            return Ok(());
        }
        let bare = http::without_secrets(url);
        Err(self.refusal(format!("fetching {bare}"), |grants| grants.http.extend(HttpPattern::exactly(url))))
    }

    /// Whether the check may connect to `host` (a name or an address, without brackets) and `port`.
    ///
    /// # Errors
    /// It may not; the refusal says what to add.
    pub fn permits_tcp(&self, host: &str, port: u16) -> Result<(), Refusal> {
        let granted = match host.parse::<IpAddr>() {
            Ok(address) => self.permits_tcp_address(host, SocketAddr::new(address, port)).is_ok(),
            Err(_) => self.tcp.iter().any(|pattern| pattern.matches(host, port)),
        };
        if granted {
            return Ok(());
        }
        let shown = shown(host, port);
        let pattern = shown.parse::<TcpPattern>().ok();
        Err(self.refusal(format!("connecting to {shown:?}"), |grants| grants.tcp.extend(pattern)))
    }

    /// Whether the check may connect to this address, to which `host` (as in [`permits_tcp`](Self::permits_tcp)) resolved.
    ///
    /// Guarded addresses, which are link-local ones and those of cloud metadata services, are permitted only if the grant
    /// spells out the address or the name. No network and no `*.domain` grants them.
    ///
    /// # Errors
    /// It may not; the refusal says what to add.
    pub fn permits_tcp_address(&self, host: &str, address: SocketAddr) -> Result<(), Refusal> {
        if self.tcp.iter().any(|pattern| pattern.reaches(host, address)) {
            return Ok(());
        }
        let pattern = shown(host, address.port()).parse::<TcpPattern>().ok();
        Err(self.refusal(format!("connecting to {}", reached(host, address.ip())), |grants| grants.tcp.extend(pattern)))
    }

    /// Whether the check may fetch this URL from this address; see [`permits_tcp_address`](Self::permits_tcp_address).
    ///
    /// # Errors
    /// It may not; the refusal says what to add.
    pub fn permits_http_address(&self, url: &Url, address: IpAddr) -> Result<(), Refusal> {
        if self.http.iter().any(|pattern| pattern.reaches(url, address)) {
            return Ok(());
        }
        let bare = http::without_secrets(url);
        let wanted = format!("fetching {bare} from {}", reached(url.host_str().unwrap_or_default(), address));
        Err(self.refusal(wanted, |grants| grants.http.extend(HttpPattern::exactly(url))))
    }

    /// Whether the check may look at this file. Returns which part of the path the operator spelled out.
    ///
    /// # Errors
    /// It may not; the refusal says what to add.
    pub fn permits_file(&self, path: &str) -> Result<GrantedPath, Refusal> {
        let add = |grants: &mut Grants, pattern| grants.files.extend(pattern);
        self.permits_path(&self.files, path, format!("looking at the file {path:?}"), add)
    }

    /// Whether the check may connect to this Unix socket. Returns which part of the path the operator spelled out.
    ///
    /// # Errors
    /// It may not; the refusal says what to add.
    pub fn permits_unix(&self, path: &str) -> Result<GrantedPath, Refusal> {
        let add = |grants: &mut Grants, pattern| grants.unix.extend(pattern);
        self.permits_path(&self.unix, path, format!("connecting to the socket {path:?}"), add)
    }

    fn permits_path(
        &self,
        granted: &[PathPattern],
        path: &str,
        wanted: String,
        add: fn(&mut Grants, Option<PathPattern>),
    ) -> Result<GrantedPath, Refusal> {
        let canonical = path::canonical_path(path);
        let matching = canonical.iter().flat_map(|path| granted.iter().filter_map(|pattern| pattern.matches(path)));
        // The pattern that spells out most of the path grants most.
        let found = matching.max_by_key(|path| path.trusted.len());
        found.ok_or_else(|| {
            // As a pattern, a path with a wildcard would grant more than this path.
            let exact = canonical.filter(|path| !path.contains(['*', '?']));
            self.refusal(wanted, |grants| add(grants, exact.and_then(|path| path.parse().ok())))
        })
    }

    /// Whether the check may look up this name.
    ///
    /// # Errors
    /// It may not; the refusal says what to add.
    pub fn permits_dns(&self, name: &str) -> Result<(), Refusal> {
        let mut names = match &self.dns {
            DnsGrant::All => return Ok(()),
            DnsGrant::Names(names) if names.iter().any(|pattern| pattern.matches(name)) => return Ok(()),
            DnsGrant::Names(names) => names.clone(),
            DnsGrant::None => Vec::new(),
        };
        let wanted = format!("looking up the name {name:?}");
        Err(self.refusal(wanted, |grants| {
            // As a pattern, a name with `*` would grant more than this name.
            if let Some(pattern) = name.parse().ok().filter(|_| !name.contains('*')) {
                names.push(pattern);
                grants.dns = DnsGrant::Names(names);
            }
        }))
    }

    fn refusal(&self, wanted: String, add: impl FnOnce(&mut Grants)) -> Refusal {
        let mut granted = self.clone();
        add(&mut granted);
        let line = if granted == *self { "nothing could grant it".to_owned() } else { granted.to_string() };
        Refusal { wanted, line, granted: Box::new(granted) }
    }
}

/// The `allow` line of a check, as in the configuration. Values of environment variables are left out.
impl fmt::Display for Grants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |items: Vec<String>| {
            let quoted: Vec<String> = items.iter().map(|item| quote(item)).collect();
            format!("[{}]", quoted.join(", "))
        };
        let mut parts = Vec::new();
        match &self.process {
            ProcessGrant::None => {}
            ProcessGrant::All => parts.push("process = true".to_owned()),
            ProcessGrant::Names(names) => parts.push(format!("process = {}", list(names.clone()))),
        }
        if !self.http.is_empty() {
            parts.push(format!("http = {}", list(self.http.iter().map(ToString::to_string).collect())));
        }
        if !self.tcp.is_empty() {
            parts.push(format!("tcp = {}", list(self.tcp.iter().map(ToString::to_string).collect())));
        }
        if !self.unix.is_empty() {
            parts.push(format!("unix = {}", list(self.unix.iter().map(ToString::to_string).collect())));
        }
        if !self.files.is_empty() {
            parts.push(format!("files = {}", list(self.files.iter().map(ToString::to_string).collect())));
        }
        match &self.dns {
            DnsGrant::None => {}
            DnsGrant::All => parts.push("dns = true".to_owned()),
            DnsGrant::Names(names) => {
                parts.push(format!("dns = {}", list(names.iter().map(ToString::to_string).collect())));
            }
        }
        if !self.env.is_empty() {
            // The values may be secrets, and this goes to logs and `status`.
            let entries: Vec<String> = self.env.keys().map(|name| format!("{} = \"...\"", quote_key(name))).collect();
            parts.push(format!("env = {{ {} }}", entries.join(", ")));
        }
        if parts.is_empty() { f.write_str("allow = {}") } else { write!(f, "allow = {{ {} }}", parts.join(", ")) }
    }
}

fn shown(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// A guarded address and the name that resolved to it, for a message.
fn reached(host: &str, address: IpAddr) -> String {
    if host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
        format!("{host}, a link-local or metadata address,")
    } else {
        format!("{host:?} at {address}, a link-local or metadata address,")
    }
}

/// A key of a TOML table, bare if possible.
fn quote_key(name: &str) -> String {
    let is_bare = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if !name.is_empty() && name.bytes().all(is_bare) { name.to_owned() } else { quote(name) }
}

/// A TOML string that stays on one line, whatever a plugin put into it.
fn quote(text: &str) -> String {
    let escaped = text.chars().map(|c| match c {
        '"' | '\\' => format!("\\{c}"),
        c if is_unprintable(c) && u32::from(c) > 0xffff => format!("\\U{:08X}", u32::from(c)),
        c if is_unprintable(c) => format!("\\u{:04X}", u32::from(c)),
        c => c.to_string(),
    });
    format!("\"{}\"", escaped.collect::<String>())
}

#[cfg(test)]
mod tests;
