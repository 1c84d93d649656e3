//! Whether the plugins that a configuration names are there and are what it wants. What there is, is an argument.

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
    pub path: PathBuf,
    /// Of its bytes, in lower-case hex.
    pub sha256: String,
    /// Why it can't be a plugin, as far as a look at it tells.
    pub damage: Option<String>,
    /// None: it declares nothing.
    pub declared: Option<Vec<Param>>,
}

impl Config {
    /// Checks that every check's plugin is one of `available` (file names without `.wasm`).
    ///
    /// # Errors
    /// The checks whose plugin is not there, each with its place.
    pub fn check_plugins(&self, available: &[String]) -> Result<(), Errors> {
        let missing = self.checks.iter().filter(|check| !available.contains(&check.plugin));
        let problems: Vec<Problem> = missing.map(|check| self.missing_plugin(check, available)).collect();
        if problems.is_empty() { Ok(()) } else { Err(Errors::new(problems)) }
    }

    /// Checks that every check's `params` are those that its plugin declares. A plugin that is not among `declared` is left
    /// out: it says nothing about its parameters.
    ///
    /// # Errors
    /// All that do not fit, each with its place.
    pub fn check_params(&self, declared: &BTreeMap<String, Vec<Param>>) -> Result<(), Errors> {
        let problems: Vec<Problem> = self
            .checks
            .iter()
            .filter_map(|check| Some((check, declared.get(&check.plugin)?, self.checks_at.get(&check.name)?)))
            .flat_map(|(check, params, at)| declared::mismatches(check, params, at))
            .collect();
        if problems.is_empty() { Ok(()) } else { Err(Errors::new(problems)) }
    }

    /// Checks that the files of the checks' plugins are those that are wanted; what is not among `files` is left out.
    pub fn check_plugin_files(&self, files: &BTreeMap<String, PluginFile>) -> Vec<Problem> {
        let mut problems = Vec::new();
        for check in &self.checks {
            let (Some(file), Some(at)) = (files.get(&check.plugin), self.checks_at.get(&check.name)) else { continue };
            if let Some(damage) = &file.damage {
                problems.push(Problem {
                    place: Some(at.plugin.clone()),
                    subject: format!("check.{}.plugin = {:?}", check.name, check.plugin),
                    message: format!("{}: {damage}; expected a plugin, copied as a whole", file.path.display()),
                });
            }
            if let (Some(wanted), Some(place)) = (&check.sha256, &at.sha256)
                && *wanted != file.sha256
            {
                problems.push(Problem {
                    place: Some(place.clone()),
                    subject: format!("check.{}.sha256", check.name),
                    message: format!("{} has {}; expected that, or another file", file.path.display(), file.sha256),
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
            format!("there is no plugin at all; expected {}.wasm in {dirs}", check.plugin)
        } else {
            let meant = hints::nearest(&check.plugin, available.iter().map(String::as_str));
            let meant = meant.map(|plugin| format!(" (did you mean {plugin:?}?)")).unwrap_or_default();
            let mut names = available.to_vec();
            names.sort();
            names.dedup();
            format!(
                "there is no such plugin{meant}; expected one of {}, or a new {}.wasm in {dirs}",
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
