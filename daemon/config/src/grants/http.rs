//! `allow = { http = ["http://127.0.0.1/", "https://*.example.com:8443/health*"] }`

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use url::{Host, Url};

use super::BadPattern;
use super::host::{HostPattern, Network, canonical_name};

/// URLs that a check may fetch: scheme, host (a name, `*.domain` or an address), port (default: that of the scheme), and path
/// with query, which match exactly or, if they end in `*`, as a prefix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HttpPattern {
    /// `http` or `https`.
    scheme: String,
    host: HostPattern,
    port: u16,
    target: Target,
}

/// Path and query, percent-encoded as sent.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Target {
    Exactly(String),
    Prefix(String),
}

impl HttpPattern {
    /// The pattern that matches only this URL, if there is one.
    pub(super) fn exactly(url: &Url) -> Option<Self> {
        let host = match url.host()? {
            Host::Domain(name) => HostPattern::Name(canonical_name(name)?),
            Host::Ipv4(address) => HostPattern::Network(Network::one(IpAddr::V4(address))),
            Host::Ipv6(address) => HostPattern::Network(Network::one(IpAddr::V6(address))),
        };
        let pattern = HttpPattern {
            scheme: url.scheme().to_owned(),
            host,
            port: url.port_or_known_default()?,
            target: Target::Exactly(target(url)),
        };
        // There is none for a path with `*`, which a pattern reads as a wildcard.
        pattern.to_string().parse().ok().filter(|p: &HttpPattern| *p == pattern)
    }

    pub(super) fn matches(&self, url: &Url) -> bool {
        host(url).is_some_and(|host| self.host.matches(&host)) && self.matches_rest(url)
    }

    /// Whether it matches some URL of this server.
    pub(super) fn matches_server(&self, url: &Url) -> bool {
        host(url).is_some_and(|host| self.host.matches(&host)) && self.is_server(url)
    }

    pub(super) fn reaches(&self, url: &Url, address: IpAddr) -> bool {
        host(url).is_some_and(|host| self.host.reaches(&host, address)) && self.matches_rest(url)
    }

    fn is_server(&self, url: &Url) -> bool {
        url.scheme() == self.scheme && url.port_or_known_default() == Some(self.port)
    }

    fn matches_rest(&self, url: &Url) -> bool {
        self.is_server(url)
            && match &self.target {
                Target::Exactly(exact) => target(url) == *exact,
                // Everything on the server is granted, so there is nothing to climb out of.
                Target::Prefix(prefix) if prefix == "/" => true,
                Target::Prefix(prefix) => target(url).starts_with(prefix) && !climbs(url.path()),
            }
    }
}

/// The host without brackets.
fn host(url: &Url) -> Option<String> {
    match url.host()? {
        Host::Domain(name) => Some(name.to_owned()),
        Host::Ipv4(address) => Some(address.to_string()),
        Host::Ipv6(address) => Some(address.to_string()),
    }
}

fn target(url: &Url) -> String {
    match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    }
}

/// Whether a server may resolve the path to a parent directory. A parsed URL has no `..` or `%2e%2e` any more. What is left are
/// forms that some servers decode later: encoded slashes, double encoding, path parameters.
fn climbs(path: &str) -> bool {
    let mut decoded = path.as_bytes().to_vec();
    loop {
        if decoded.split(|b| matches!(b, b'/' | b'\\')).any(|segment| {
            let name = segment.split(|b| *b == b';').next().unwrap_or_default();
            name == b".."
        }) {
            return true;
        }
        let again = percent_decode(&decoded);
        if again == decoded {
            return false;
        }
        decoded = again;
    }
}

fn percent_decode(bytes: &[u8]) -> Vec<u8> {
    let hex = |b: &u8| char::from(*b).to_digit(16);
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, tail @ ..] = rest {
        let escape = match tail {
            [a, b, ..] if *first == b'%' => hex(a).zip(hex(b)),
            _ => None,
        };
        match escape {
            Some((high, low)) => {
                decoded.push((high * 16 + low) as u8);
                rest = &tail[2..];
            }
            None => {
                decoded.push(*first);
                rest = tail;
            }
        }
    }
    decoded
}

/// The URL for a message: without user, password and fragment.
pub(super) fn without_secrets(url: &Url) -> Url {
    let mut bare = url.clone();
    // Both fail only for URLs that can't have a user.
    let _ = bare.set_username("");
    let _ = bare.set_password(None);
    bare.set_fragment(None);
    bare
}

impl FromStr for HttpPattern {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<Self, BadPattern> {
        let bad = |expected: &str| BadPattern::new(text, expected);
        if text.chars().any(|c| c.is_whitespace() || c.is_control() || c == '\\') {
            return Err(bad("a URL without spaces, control characters and backslashes"));
        }
        let (scheme, rest) = text
            .split_once("://")
            .filter(|(scheme, _)| matches!(*scheme, "http" | "https"))
            .ok_or_else(|| bad("a URL that begins with http:// or https://"))?;
        let (below, rest) = match rest.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let (prefix, rest) = match rest.strip_suffix('*') {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        if rest.contains('*') {
            return Err(bad("a * only as the whole first label of the host (*.example.com) or at the end of the path"));
        }
        if !rest.contains('/') {
            return Err(bad("a path after the host: / for the start page, /* for everything"));
        }
        // URL parsers skip further slashes, so that what looks like a path would become the host.
        if rest.starts_with('/') {
            return Err(bad("a host after the //"));
        }
        let url = Url::parse(&format!("{scheme}://{rest}")).map_err(|error| bad(&format!("a URL ({error})")))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(bad("a URL without user and password"));
        }
        if url.fragment().is_some() {
            return Err(bad("a URL without a fragment (#...), which is never sent"));
        }
        let host = match (url.host(), below) {
            (Some(Host::Domain(name)), false) => canonical_name(name).map(HostPattern::Name),
            (Some(Host::Domain(name)), true) => canonical_name(name).map(HostPattern::Below),
            (Some(Host::Ipv4(address)), false) => Some(HostPattern::Network(Network::one(IpAddr::V4(address)))),
            (Some(Host::Ipv6(address)), false) => Some(HostPattern::Network(Network::one(IpAddr::V6(address)))),
            (Some(Host::Ipv4(_) | Host::Ipv6(_)), true) | (None, _) => None,
        };
        let host = host.ok_or_else(|| bad("a host: a name, *.domain or an address"))?;
        let port = url.port_or_known_default().filter(|p| *p != 0).ok_or_else(|| bad("a port from 1 to 65535"))?;
        let target = if prefix { Target::Prefix(target(&url)) } else { Target::Exactly(target(&url)) };
        Ok(HttpPattern { scheme: scheme.to_owned(), host, port, target })
    }
}

impl fmt::Display for HttpPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)?;
        let default = if self.scheme == "https" { 443 } else { 80 };
        if self.port != default {
            write!(f, ":{}", self.port)?;
        }
        match &self.target {
            Target::Exactly(path) => f.write_str(path),
            Target::Prefix(path) => write!(f, "{path}*"),
        }
    }
}

impl TryFrom<String> for HttpPattern {
    type Error = BadPattern;

    fn try_from(text: String) -> Result<Self, BadPattern> {
        text.parse()
    }
}

impl From<HttpPattern> for String {
    fn from(pattern: HttpPattern) -> String {
        pattern.to_string()
    }
}
