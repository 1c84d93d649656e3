//! `allow = { tcp = ["127.0.0.1:3306", "10.0.0.0/8:5432", "db.local:*"] }`

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::BadPattern;
use super::host::HostPattern;

/// Hosts and ports that a check may connect to, written `host:port`. The host is a name, `*.domain`, an address or a network
/// (IPv6 in brackets), the port a number from 1 to 65535 or `*`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TcpPattern {
    host: HostPattern,
    /// `None`: any port.
    port: Option<u16>,
}

const EXPECTED: &str = "host:port, where the host is a name, *.domain, an address or a network (10.0.0.0/8, [fd00::/8]) \
                        and the port a number from 1 to 65535 or *";

impl TcpPattern {
    pub(super) fn matches(&self, host: &str, port: u16) -> bool {
        self.port.is_none_or(|p| p == port) && self.host.matches(host)
    }

    pub(super) fn reaches(&self, host: &str, address: SocketAddr) -> bool {
        self.port.is_none_or(|p| p == address.port()) && self.host.reaches(host, address.ip())
    }
}

impl FromStr for TcpPattern {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<Self, BadPattern> {
        let bad = || BadPattern::new(text, EXPECTED);
        let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
        let bracketed = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        // Only an IPv6 address has colons, and it needs brackets to tell them from the port's colon.
        if host.contains(':') != bracketed.is_some() {
            return Err(bad());
        }
        let host = HostPattern::parse(bracketed.unwrap_or(host)).ok_or_else(bad)?;
        let port = match port {
            "*" => None,
            digits if digits.bytes().all(|b| b.is_ascii_digit()) => {
                Some(digits.parse().ok().filter(|p| *p != 0).ok_or_else(bad)?)
            }
            _ => return Err(bad()),
        };
        Ok(TcpPattern { host, port })
    }
}

impl fmt::Display for TcpPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.host),
            None => write!(f, "{}:*", self.host),
        }
    }
}

impl TryFrom<String> for TcpPattern {
    type Error = BadPattern;

    fn try_from(text: String) -> Result<Self, BadPattern> {
        text.parse()
    }
}

impl From<TcpPattern> for String {
    fn from(pattern: TcpPattern) -> String {
        pattern.to_string()
    }
}
