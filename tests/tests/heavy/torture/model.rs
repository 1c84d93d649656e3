//! What `status` may report of a check, given what has been on disk so far.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use serde_json::Value;

use super::version::{self, Version};

/// What was, or was about to be, at a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// This version, whole.
    Version(Version),
    /// No file.
    Absent,
}

/// For each name, the log of what may have been there, in order, and how far the status has got in it. Status never goes
/// back: what it reports next was there at that time or later. The log is written before each operation, so that the status
/// never gets ahead of it.
#[derive(Debug)]
pub struct Model {
    names: BTreeMap<&'static str, Name>,
}

#[derive(Debug, Default)]
struct Name {
    log: Vec<Entry>,
    /// The index of the entry that the status reported last.
    reported: usize,
}

impl Model {
    pub fn new(names: &[&'static str]) -> Self {
        Model { names: names.iter().map(|name| (*name, Name::default())).collect() }
    }

    /// Notes that this may be at the name from now on.
    pub fn may_be(&mut self, name: &str, entry: Entry) {
        self.names.get_mut(name).expect("one of the names").log.push(entry);
    }

    /// Compares a status with the log.
    ///
    /// # Errors
    /// If it reports something that was not there.
    pub fn judge(&mut self, status: &Value) -> anyhow::Result<()> {
        let checks = status["checks"].as_array().context("no checks in status")?;
        for check in checks {
            let verdict = check["verdict"].as_str().unwrap_or_default();
            let name = check["name"].as_str().unwrap_or_default();
            let Some(name) = self.names.get_mut(name) else {
                if verdict != "pass" {
                    bail!("the check whose plugin nobody touches: {check}");
                }
                continue;
            };
            name.judge(verdict, check).with_context(|| format!("a wrong verdict: {check}"))?;
        }
        Ok(())
    }
}

impl Name {
    fn judge(&mut self, verdict: &str, check: &Value) -> anyhow::Result<()> {
        let message = check["message"].as_str().unwrap_or_default();
        let fits = |entry: &Entry| match (entry, verdict) {
            (Entry::Absent, "error") => true,
            (Entry::Version(version), "pass") => version.passes && Some(version.serial) == version::serial(message),
            (Entry::Version(version), "fail") => !version.passes && Some(version.serial) == version::serial(message),
            (Entry::Absent | Entry::Version(_), _) => false,
        };
        match self.log[self.reported..].iter().position(fits) {
            Some(later) => self.reported += later,
            None => bail!("no such entry in the log since {:?}", &self.log[self.reported..]),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(verdict: &str, message: &str) -> Value {
        serde_json::json!({ "checks": [{ "name": "a", "verdict": verdict, "message": message }] })
    }

    #[test]
    fn absent_and_outdated_versions_are_wrong() {
        let mut model = Model::new(&["a"]);
        model.may_be("a", Entry::Version(Version::passing(1)));
        model.may_be("a", Entry::Version(Version::passing(2)));
        assert!(model.judge(&status("pass", "version 0000003")).is_err());
        assert!(model.judge(&status("fail", "version 0000001")).is_err());
        assert!(model.judge(&status("error", "gone")).is_err());
        assert!(model.judge(&status("pass", "version 0000001")).is_ok());
        assert!(model.judge(&status("pass", "version 0000002")).is_ok());
        assert!(model.judge(&status("pass", "version 0000001")).is_err(), "it went back");
        model.may_be("a", Entry::Absent);
        model.may_be("a", Entry::Version(Version { serial: 3, passes: false }));
        assert!(model.judge(&status("error", "gone")).is_ok());
        assert!(model.judge(&status("pass", "version 0000002")).is_err());
        assert!(model.judge(&status("fail", "version 0000003")).is_ok());
    }
}
