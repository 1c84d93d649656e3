//! The configuration files: `vouchd.toml` and the drop-ins beside it, from text to a [`Config`] with everything typed, in
//! range and filled in, or to [`Errors`] that name file, line, column, what stands there and what is allowed.
//!
//! * [`load`] reads the files, [`resolve`] does the rest and is pure.
//! * [`model`]: what the daemon works with. [`grants`]: what a check may reach, and the matching.
//! * [`script`]: runs of a plugin and what is expected of each, for those who write plugins.
//! * Inside: `reader` walks the parsed TOML and collects problems, `resolve` knows the keys.
//!
//! Nothing is looked up on the machine: what it has (plugins, interfaces, addresses) is handed to
//! [`Config::check_plugins`] and [`Config::check_host`].

pub mod declared;
mod errors;
pub mod grants;
mod hints;
pub mod host;
mod load;
pub mod model;
mod quantity;
mod reader;
mod resolve;
mod source;
mod syntax;

use std::collections::BTreeMap;
use std::path::PathBuf;

use declared::Given;
pub use declared::{Param, ParamType};
pub use errors::{Errors, Problem};
pub use grants::{Grants, ProcessGrant};
pub use host::{Findings, Host};
pub use load::{DropIns, FileText, Files, drop_in_dir, is_drop_in, list_drop_ins, load, read_drop_in, read_main};
pub use model::{Check, CheckUse, DEFAULT_CONTROL, Daemon, ExitCodes, Garp, Instance, Limits, Unicast, VirtualAddress};
pub use quantity::{format_duration, parse_duration};
pub use resolve::resolve;
pub use resolve::script;
pub use source::Place;

/// A whole, valid configuration.
///
/// Two configurations are compared part by part: `daemon`, `checks` and `instances` have equality by value, wherever in
/// the files they stand.
#[derive(Debug, Clone)]
pub struct Config {
    pub daemon: Daemon,
    /// In the order of the files. Names are unique.
    pub checks: Vec<Check>,
    /// In the order of the files. Names are unique.
    pub instances: Vec<Instance>,
    /// What was read, the main file first.
    pub files: Vec<PathBuf>,
    /// What is allowed and probably not meant.
    pub warnings: Vec<Problem>,
    /// By the check's name.
    plugins: BTreeMap<String, PluginUse>,
    /// By the instance's name.
    instances_at: BTreeMap<String, InstancePlaces>,
}

/// Where the parts of an instance stand.
#[derive(Debug, Clone)]
struct InstancePlaces {
    interface: Place,
    vrid: Place,
    /// As many as the instance has addresses.
    addresses: Vec<Place>,
    /// `unicast.source`
    source: Option<Place>,
    /// As many as there are unicast peers.
    peers: Vec<Place>,
}

/// Where a check stands, where it names its plugin, and what it gives it.
#[derive(Debug, Clone)]
struct PluginUse {
    named: Place,
    plugin: Place,
    /// The key `params`, if it is there.
    params: Option<Place>,
    /// One for each of the check's `params`.
    given: Vec<Given>,
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
            .filter_map(|check| Some((check, declared.get(&check.plugin)?, self.plugins.get(&check.name)?)))
            .flat_map(|(check, params, at)| declared::misfits(check, params, at))
            .collect();
        if problems.is_empty() { Ok(()) } else { Err(Errors::new(problems)) }
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
            place: self.plugins.get(&check.name).map(|at| at.plugin.clone()),
            subject: format!("check.{}.plugin = {:?}", check.name, check.plugin),
            message,
        }
    }
}
