//! The name of a unit, its object path on the bus, and its state.

use std::fmt;

use vouchd_check::{Error, Result};

/// The name of a unit, with its suffix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unit(String);

impl Unit {
    /// Parses the parameter `unit`.
    ///
    /// # Errors
    /// If no unit can have that name.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let name = if text.contains('.') { text.to_owned() } else { format!("{text}.service") };
        let is_good = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
        // 255 is systemd's limit.
        if text.is_empty() || name.len() > 255 || name.starts_with('.') || !name.chars().all(is_good) {
            return Err(Error::new(format!(
                "parameter `unit`: expected a name like \"nginx.service\", found {text:?}"
            )));
        }
        Ok(Unit(name))
    }

    /// The object path. Reading it loads the unit if necessary, as `systemctl show` does.
    pub(crate) fn object(&self) -> String {
        let mut path = "/org/freedesktop/systemd1/unit/".to_owned();
        for (n, byte) in self.0.bytes().enumerate() {
            if byte.is_ascii_alphabetic() || (n > 0 && byte.is_ascii_digit()) {
                path.push(char::from(byte));
            } else {
                path += &format!("_{byte:02x}");
            }
        }
        path
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The state of a unit, in systemd's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    /// `loaded`, `not-found`, `masked` …
    pub load: String,
    /// `active`, `failed` …
    pub active: String,
    /// `running`, `exited` … depending on the type of the unit.
    pub sub: String,
}

impl State {
    /// Whether it matches what the operator wrote: `active`, or `active/running`.
    pub(crate) fn is(&self, wanted: &str) -> bool {
        match wanted.split_once('/') {
            Some((active, sub)) => self.active == active && self.sub == sub,
            None => self.active == wanted,
        }
    }

    pub(crate) fn is_loaded(&self) -> bool {
        self.load == "loaded"
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.active, self.sub)
    }
}

/// Whether systemd has such a state. It has few states; the substates are too many to list.
pub(crate) fn is_state(text: &str) -> bool {
    const ACTIVE: [&str; 8] =
        ["active", "reloading", "inactive", "failed", "activating", "deactivating", "maintenance", "refreshing"];
    let (active, sub) = text.split_once('/').unwrap_or((text, "any"));
    ACTIVE.contains(&active) && !sub.is_empty() && sub.chars().all(|c| c.is_ascii_lowercase() || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_without_a_dot_is_a_service() {
        for (text, name, object) in [
            ("nginx", "nginx.service", "nginx_2eservice"),
            ("a@b-c.timer", "a@b-c.timer", "a_40b_2dc_2etimer"),
            ("7z.service", "7z.service", "_37z_2eservice"),
            ("x7_y.mount", "x7_y.mount", "x7_5fy_2emount"),
        ] {
            let unit = Unit::parse(text).unwrap();
            assert_eq!(
                (unit.to_string().as_str(), unit.object()),
                (name, format!("/org/freedesktop/systemd1/unit/{object}"))
            );
        }
        for text in ["", ".service", "a b", "a/b.service", "ü", &"x".repeat(300)] {
            assert!(Unit::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn states_are_those_of_systemd() {
        for text in ["active", "active/running", "failed", "active/start-pre", "refreshing"] {
            assert!(is_state(text), "{text}");
        }
        for text in ["", "running", "Active", "active/", "active/Running", "active/a/b"] {
            assert!(!is_state(text), "{text}");
        }
    }
}
