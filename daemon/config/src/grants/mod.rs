//! What a check may reach: nothing, unless its `allow` says so.
//!
//! Patterns are parsed with the configuration, so that a bad one is an error with its place. Matching is pure and is done
//! by the plugin host before anything is sent, on what the probe is really going to use: a parsed URL, or a host and port
//! as they go to the resolver. A name must be granted as a name, an address as an address or network; what a granted name
//! resolves to is the operator's DNS, except for addresses that have to be meant (see [`Grants::permits_tcp_address`]).

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
use vouchd_text::is_unprintable;

/// Everything that one check may reach. The default is nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Grants {
    pub process: ProcessGrant,
    pub http: Vec<HttpPattern>,
    pub tcp: Vec<TcpPattern>,
    pub unix: Vec<PathPattern>,
    pub files: Vec<PathPattern>,
    pub dns: DnsGrant,
    /// The whole environment of guests that ask for one by WASI.
    pub env: BTreeMap<String, String>,
}

/// Which processes a check may look up.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcessGrant {
    #[default]
    None,
    /// `process = true`
    All,
    /// `process = ["nginx"]`: exactly these names.
    Names(Vec<String>),
}

/// A probe that is not granted, and what would grant it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What was asked for.
    pub wanted: String,
    /// The check's whole `allow` line with the missing grant, as it would stand in the configuration.
    pub line: String,
    /// What would be granted by that line; what is granted now, where nothing could grant it.
    pub granted: Box<Grants>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not granted to this check; to grant it: {}", self.wanted, self.line)
    }
}

impl std::error::Error for Refusal {}

/// A grant that can't be understood: what was expected of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadPattern {
    pub pattern: String,
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
    /// May the check look for processes of exactly this name?
    ///
    /// # Errors
    /// If not: what to add.
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

    /// May the check look at processes whatever their name (a search by command line, say)?
    ///
    /// # Errors
    /// If not: what to add.
    pub fn permits_all_processes(&self) -> Result<(), Refusal> {
        match self.process {
            ProcessGrant::All => Ok(()),
            ProcessGrant::None | ProcessGrant::Names(_) => {
                Err(self.refusal("looking at all processes".to_owned(), |grants| grants.process = ProcessGrant::All))
            }
        }
    }

    /// May the check look at any process? A search that names none sees those that are granted.
    ///
    /// # Errors
    /// If not: what to add.
    pub fn permits_some_process(&self) -> Result<(), Refusal> {
        match self.process {
            ProcessGrant::All | ProcessGrant::Names(_) => Ok(()),
            ProcessGrant::None => self.permits_all_processes(),
        }
    }

    /// May the check fetch anything of this URL's server?
    ///
    /// # Errors
    /// If not: what to add for the URL itself.
    pub fn permits_server(&self, url: &Url) -> Result<(), Refusal> {
        if self.http.iter().any(|pattern| pattern.matches_server(url)) { Ok(()) } else { self.permits_http(url) }
    }

    /// May the check fetch this URL? A redirect's target has to be asked about like the first.
    ///
    /// # Errors
    /// If not: what to add.
    pub fn permits_http(&self, url: &Url) -> Result<(), Refusal> {
        if self.http.iter().any(|pattern| pattern.matches(url)) {
            return Ok(());
        }
        let bare = http::without_secrets(url);
        Err(self.refusal(format!("fetching {bare}"), |grants| grants.http.extend(HttpPattern::exactly(url))))
    }

    /// May the check connect to `host` (a name or an address, without brackets) and `port`?
    ///
    /// # Errors
    /// If not: what to add.
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

    /// May the check connect to this address, which `host` (as in [`permits_tcp`](Self::permits_tcp)) stands for?
    ///
    /// Link-local addresses and those of cloud metadata services are permitted only where the grant spells out the address
    /// or the name: no network and no `*.domain` reaches them.
    ///
    /// # Errors
    /// If not: what to add.
    pub fn permits_tcp_address(&self, host: &str, address: SocketAddr) -> Result<(), Refusal> {
        if self.tcp.iter().any(|pattern| pattern.reaches(host, address)) {
            return Ok(());
        }
        let pattern = shown(host, address.port()).parse::<TcpPattern>().ok();
        Err(self.refusal(format!("connecting to {}", reached(host, address.ip())), |grants| grants.tcp.extend(pattern)))
    }

    /// May the check fetch this URL from this address? See [`permits_tcp_address`](Self::permits_tcp_address).
    ///
    /// # Errors
    /// If not: what to add.
    pub fn permits_http_address(&self, url: &Url, address: IpAddr) -> Result<(), Refusal> {
        if self.http.iter().any(|pattern| pattern.reaches(url, address)) {
            return Ok(());
        }
        let bare = http::without_secrets(url);
        let wanted = format!("fetching {bare} from {}", reached(url.host_str().unwrap_or_default(), address));
        Err(self.refusal(wanted, |grants| grants.http.extend(HttpPattern::exactly(url))))
    }

    /// May the check look at this file? If so: how far the path is the operator's word.
    ///
    /// # Errors
    /// If not: what to add.
    pub fn permits_file(&self, path: &str) -> Result<GrantedPath, Refusal> {
        let add = |grants: &mut Grants, pattern| grants.files.extend(pattern);
        self.permits_path(&self.files, path, format!("looking at the file {path:?}"), add)
    }

    /// May the check connect to this socket? If so: how far the path is the operator's word.
    ///
    /// # Errors
    /// If not: what to add.
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
        // The one that spells out most permits most.
        let found = matching.max_by_key(|path| path.trusted.len());
        found.ok_or_else(|| {
            // With a wildcard in it, it would grant more than this.
            let exact = canonical.filter(|path| !path.contains(['*', '?']));
            self.refusal(wanted, |grants| add(grants, exact.and_then(|path| path.parse().ok())))
        })
    }

    /// May the check look up this name?
    ///
    /// # Errors
    /// If not: what to add.
    pub fn permits_dns(&self, name: &str) -> Result<(), Refusal> {
        let mut names = match &self.dns {
            DnsGrant::All => return Ok(()),
            DnsGrant::Names(names) if names.iter().any(|pattern| pattern.matches(name)) => return Ok(()),
            DnsGrant::Names(names) => names.clone(),
            DnsGrant::None => Vec::new(),
        };
        let wanted = format!("looking up the name {name:?}");
        Err(self.refusal(wanted, |grants| {
            // A `*` would grant more than this.
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

/// The `allow` line of a check, as it would stand in the configuration.
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
            // Values may be secrets, and this is for logs and `status`.
            let entries: Vec<String> = self.env.keys().map(|name| format!("{} = \"...\"", quote_key(name))).collect();
            parts.push(format!("env = {{ {} }}", entries.join(", ")));
        }
        if parts.is_empty() { f.write_str("allow = {}") } else { write!(f, "allow = {{ {} }}", parts.join(", ")) }
    }
}

fn shown(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// The address of a name, for a message.
fn reached(host: &str, address: IpAddr) -> String {
    if host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
        format!("{host}, a link-local or metadata address,")
    } else {
        format!("{host:?} at {address}, a link-local or metadata address,")
    }
}

/// A key of a TOML table: bare where that is possible.
fn quote_key(name: &str) -> String {
    let is_bare = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if !name.is_empty() && name.bytes().all(is_bare) { name.to_owned() } else { quote(name) }
}

/// A TOML string that stays on one line whatever a plugin put into it.
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
