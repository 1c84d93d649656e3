//! What `status` has to report about the files in the directory.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use vouchd_tests::vouchd::Vouchd;

use super::NAMES;
use super::directory::{Directory, content};
use super::version::Version;

/// What `status` has to report of a name.
#[derive(Debug)]
enum Expected {
    /// The plugin is gone.
    Gone,
    /// This version of this file runs.
    Loaded(Version, PathBuf),
    /// The plugin has an error with these words.
    Error(&'static str),
}

impl Directory {
    /// What is wrong with the status of the names.
    pub fn complaints(&self, vouchd: &Vouchd) -> Vec<String> {
        match vouchd.status() {
            Ok(status) => NAMES.iter().filter_map(|name| self.complaint(name, &status)).collect(),
            Err(error) => vec![error.to_string()],
        }
    }

    fn complaint(&self, name: &str, status: &Value) -> Option<String> {
        let entry = |list: &str| {
            status[list].as_array().into_iter().flatten().find(|e| e["name"] == name).cloned().unwrap_or_default()
        };
        let (plugin, check) = (entry("plugins"), entry("checks"));
        let error = plugin["error"].as_str();
        let expected = self.expected(name);
        let right = match &expected {
            Expected::Gone => {
                (plugin.is_null() || error.is_some_and(|error| error.contains("gone"))) && check["verdict"] == "error"
            }
            Expected::Error(words) => error.is_some_and(|error| error.contains(words)),
            Expected::Loaded(version, path) => {
                let verdict = if version.passes { "pass" } else { "fail" };
                error.is_none()
                    && plugin["sha256"] == sha256(path)
                    && check["verdict"] == verdict
                    && check["message"] == version.message()
            }
        };
        (!right).then(|| format!("{name}: expected {expected:?}; found {plugin} and {check}"))
    }

    fn expected(&self, name: &str) -> Expected {
        let path = self.path(name);
        match fs::metadata(&path) {
            Ok(data) if data.is_file() && data.mode() & 0o004 == 0 => Expected::Error("can't be read"),
            Ok(data) if data.is_file() && data.size() > 64 << 20 => Expected::Error("too large"),
            Ok(data) if data.is_file() => match content(&path) {
                Some(version) => Expected::Loaded(version, path),
                None => Expected::Error(""),
            },
            Ok(_) => Expected::Error("not a file"),
            Err(_) if path.is_symlink() => Expected::Error("link"),
            Err(_) => Expected::Gone,
        }
    }
}

fn sha256(path: &Path) -> Value {
    let output = Command::new("sha256sum").arg(path).output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).split_whitespace().next().unwrap_or_default().into()
}
