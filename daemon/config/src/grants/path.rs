//! `allow = { files = ["/var/lib/vouchd/*.flag"], unix = ["/run/haproxy/admin.sock"] }`

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::BadPattern;

/// Absolute paths: `*` and `?` stand for characters within one name, `**` for any number of directories.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PathPattern {
    /// The names between the slashes; empty for `/`.
    names: Vec<String>,
}

const EXPECTED: &str = "an absolute path without . and .. like \"/run/app/ready\", in which * and ? stand for characters \
                        within one name and ** for any number of directories";

/// A granted path, split into what the operator spelled out and what a wildcard matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantedPath {
    /// The directory that the pattern spells out. The operator vouches for it, including its symbolic links.
    pub trusted: String,
    /// The rest, relative to `trusted`. No symbolic link may be followed there. Empty for `/` itself.
    pub rest: String,
}

impl PathPattern {
    /// Matches a path in the form of [`canonical_path`]. `None` if it does not match.
    pub(super) fn matches(&self, path: &str) -> Option<GrantedPath> {
        let names: Vec<&str> = split(path).collect();
        if !matches_names(&self.names, &names) {
            return None;
        }
        // The last name never counts as spelled out: it is the file itself.
        let spelled = self.names.iter().take_while(|name| !name.contains(['*', '?'])).count();
        let trusted = spelled.min(names.len().saturating_sub(1));
        Some(GrantedPath { trusted: format!("/{}", names[..trusted].join("/")), rest: names[trusted..].join("/") })
    }
}

/// The path without trailing or doubled slashes. `None` if it is not absolute, or contains `.`, `..` or a NUL.
pub(super) fn canonical_path(path: &str) -> Option<String> {
    let names: Vec<&str> = split(path.strip_prefix('/')?).collect();
    let fits = |name: &&str| *name != "." && *name != ".." && !name.contains('\0');
    names.iter().all(fits).then(|| format!("/{}", names.join("/")))
}

fn split(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|name| !name.is_empty())
}

fn matches_names(pattern: &[String], names: &[&str]) -> bool {
    match (pattern.split_first(), names.split_first()) {
        (None, None) => true,
        (None, Some(_)) => false,
        (Some((first, rest)), _) if first == "**" => {
            // At the end, `**` matches what is in the directory, not the directory itself.
            let least = usize::from(rest.is_empty());
            (least..=names.len()).any(|skipped| matches_names(rest, &names[skipped..]))
        }
        (Some(_), None) => false,
        (Some((first, rest)), Some((name, others))) => {
            matches_name(first.as_bytes(), name.as_bytes()) && matches_names(rest, others)
        }
    }
}

/// Backtracks only to the last `*`, so that no pattern takes long.
fn matches_name(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(b'?') => (p, n) = (p + 1, n + 1),
            Some(byte) if *byte == name[n] => (p, n) = (p + 1, n + 1),
            Some(_) | None => {
                let Some((at, from)) = star else { return false };
                star = Some((at, from + 1));
                (p, n) = (at + 1, from + 1);
            }
        }
    }
    pattern[p..].iter().all(|b| *b == b'*')
}

impl FromStr for PathPattern {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<Self, BadPattern> {
        let bad = || BadPattern::new(text, EXPECTED);
        let canonical = canonical_path(text).ok_or_else(bad)?;
        let names: Vec<String> = split(&canonical).map(str::to_owned).collect();
        let misused = |name: &String| name.contains("**") && name != "**";
        // Each `**` multiplies the number of ways in which a path can match.
        let deep = names.iter().filter(|name| *name == "**").count();
        if names.iter().any(misused) || deep > 2 || text.chars().any(char::is_control) {
            return Err(bad());
        }
        Ok(PathPattern { names })
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", self.names.join("/"))
    }
}

impl TryFrom<String> for PathPattern {
    type Error = BadPattern;

    fn try_from(text: String) -> Result<Self, BadPattern> {
        text.parse()
    }
}

impl From<PathPattern> for String {
    fn from(pattern: PathPattern) -> String {
        pattern.to_string()
    }
}
