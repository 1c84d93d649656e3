//! What a check may reach: nothing, unless its `allow` says so.
//!
//! Patterns are parsed with the configuration, so that a bad one is an error with its place. Matching is pure and is done
//! by the plugin host before anything is sent, on what the probe is really going to use: a parsed URL, or a host and port
//! as they go to the resolver. A name must be granted as a name, an address as an address or network; what a granted name
//! resolves to is the operator's DNS.

mod host;
mod http;
mod tcp;

pub use http::HttpPattern;
pub use tcp::TcpPattern;

use std::fmt;

use serde::{Deserialize, Serialize};
use url::Url;

/// Everything that one check may reach. The default is nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Grants {
    pub process: ProcessGrant,
    pub http: Vec<HttpPattern>,
    pub tcp: Vec<TcpPattern>,
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
        if self.tcp.iter().any(|pattern| pattern.matches(host, port)) {
            return Ok(());
        }
        let shown = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let pattern = shown.parse::<TcpPattern>().ok();
        Err(self.refusal(format!("connecting to {shown:?}"), |grants| grants.tcp.extend(pattern)))
    }

    fn refusal(&self, wanted: String, add: impl FnOnce(&mut Grants)) -> Refusal {
        let mut granted = self.clone();
        add(&mut granted);
        let line = if granted == *self { "nothing could grant it".to_owned() } else { granted.to_string() };
        Refusal { wanted, line }
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
        if parts.is_empty() { f.write_str("allow = {}") } else { write!(f, "allow = {{ {} }}", parts.join(", ")) }
    }
}

/// A TOML string that stays on one line whatever a plugin put into it.
fn quote(text: &str) -> String {
    let escaped = text.chars().map(|c| match c {
        '"' | '\\' => format!("\\{c}"),
        c if c.is_control() => format!("\\u{:04X}", u32::from(c)),
        c => c.to_string(),
    });
    format!("\"{}\"", escaped.collect::<String>())
}

#[cfg(test)]
mod tests;
