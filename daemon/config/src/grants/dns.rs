//! `allow = { dns = ["db.example.com", "*.example.com"] }`

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::BadPattern;
use super::host::HostPattern;

/// Which names a check may look up.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DnsGrant {
    /// No name.
    #[default]
    None,
    /// `dns = true`: every name.
    All,
    /// `dns = ["db.example.com"]`: names that match one of these.
    Names(Vec<DnsPattern>),
}

/// A name, or `*.domain` for the names below it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DnsPattern(HostPattern);

impl DnsPattern {
    pub(super) fn matches(&self, name: &str) -> bool {
        self.0.matches(name)
    }
}

impl FromStr for DnsPattern {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<Self, BadPattern> {
        match HostPattern::parse(text) {
            Some(pattern @ (HostPattern::Name(_) | HostPattern::Below(_))) => Ok(DnsPattern(pattern)),
            Some(HostPattern::Network(_)) | None => {
                Err(BadPattern::new(text, "a name like \"db.example.com\", or \"*.example.com\" for the names below"))
            }
        }
    }
}

impl fmt::Display for DnsPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TryFrom<String> for DnsPattern {
    type Error = BadPattern;

    fn try_from(text: String) -> Result<Self, BadPattern> {
        text.parse()
    }
}

impl From<DnsPattern> for String {
    fn from(pattern: DnsPattern) -> String {
        pattern.to_string()
    }
}
