//! Whether the plugins that a configuration names exist and are what it expects. The existing plugins are an argument.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::declared::{self, Param};
use crate::errors::{Errors, Problem};
use crate::model::Check;
use crate::{Config, hints};

/// The name of the plugin in the file at `path`: the file's name without `.wasm`. `None` for other files, and for those
/// whose name begins with a dot.
pub fn plugin_name_of(path: &Path) -> Option<&str> {
    let file = path.file_name()?.to_str()?;
    if file.starts_with('.') { None } else { file.strip_suffix(".wasm") }
}

/// The file of a plugin.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PluginFile {
    /// For messages.
    pub path: PathBuf,
    /// The SHA-256 of its content, in lower-case hex.
    pub sha256: String,
    /// Why its content can't be a plugin.
    pub damage: Option<String>,
    /// Its parameters. `None`: it declares none.
    pub declared: Option<Vec<Param>>,
}

impl Config {
    /// Checks that the plugin of every check is one of `available` (file names without `.wasm`).
    ///
    /// # Errors
    /// The checks whose plugin is missing, each with its place.
    pub fn check_plugins(&self, available: &[String]) -> Result<(), Errors> {
        let missing = self.checks.iter().filter(|check| !available.contains(&check.plugin));
        let problems: Vec<Problem> = missing.map(|check| self.missing_plugin(check, available)).collect();
        if problems.is_empty() { Ok(()) } else { Err(Errors::new(problems)) }
    }

    /// Checks that the `params` of every check match what its plugin declares. Plugins that are not in `declared` accept all.
    ///
    /// # Errors
    /// All parameters that don't match, each with its place.
    pub fn check_params(&self, declared: &BTreeMap<String, Vec<Param>>) -> Result<(), Errors> {
        let problems: Vec<Problem> = self
            .checks
            .iter()
            .filter_map(|check| Some((check, declared.get(&check.plugin)?, self.checks_at.get(&check.name)?)))
            .flat_map(|(check, params, at)| declared::mismatches(check, params, at))
            .collect();
        if problems.is_empty() { Ok(()) } else { Err(Errors::new(problems)) }
    }

    /// Checks the plugin files of all checks: content, `sha256` and declared parameters. Plugins that are not in `files` are
    /// left out.
    pub fn check_plugin_files(&self, files: &BTreeMap<String, PluginFile>) -> Vec<Problem> {
        let mut problems = Vec::new();
        for check in &self.checks {
            let (Some(file), Some(at)) = (files.get(&check.plugin), self.checks_at.get(&check.name)) else { continue };
            if let Some(damage) = &file.damage {
                problems.push(Problem {
                    place: Some(at.plugin.clone()),
                    subject: format!("check.{}.plugin = {:?}", check.name, check.plugin),
                    message: format!("{}: {damage}; expected a complete plugin file", file.path.display()),
                });
            }
            if let (Some(wanted), Some(place)) = (&check.sha256, &at.sha256)
                && *wanted != file.sha256
            {
                problems.push(Problem {
                    place: Some(place.clone()),
                    subject: format!("check.{}.sha256", check.name),
                    message: format!(
                        "{} has SHA-256 {}; set sha256 to that, or install the expected file",
                        file.path.display(),
                        file.sha256
                    ),
                });
            }
            if let Some(declared) = &file.declared {
                problems.extend(declared::mismatches(check, declared, at));
            }
        }
        problems
    }

    fn missing_plugin(&self, check: &Check, available: &[String]) -> Problem {
        let dirs = format!("{} or {}", self.daemon.plugin_dir.display(), self.daemon.builtin_plugin_dir.display());
        let message = if available.is_empty() {
            format!("no plugin is installed; expected {}.wasm in {dirs}", check.plugin)
        } else {
            let meant = hints::nearest(&check.plugin, available.iter().map(String::as_str));
            let meant = meant.map(|plugin| format!(" (did you mean {plugin:?}?)")).unwrap_or_default();
            let mut names = available.to_vec();
            names.sort();
            names.dedup();
            format!(
                "there is no such plugin{meant}; expected one of {}, or a file {}.wasm in {dirs}",
                names.join(", "),
                check.plugin
            )
        };
        Problem {
            place: self.checks_at.get(&check.name).map(|at| at.plugin.clone()),
            subject: format!("check.{}.plugin = {:?}", check.name, check.plugin),
            message,
        }
    }
}
