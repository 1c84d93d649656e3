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
mod partial;
mod plugins;
mod quantity;
mod reader;
mod resolve;
mod secrets;
mod source;
mod syntax;

use std::collections::BTreeMap;
use std::path::PathBuf;

use declared::ParamPlaces;
pub use declared::{Param, ParamType};
pub use errors::{Errors, Problem};
pub use grants::{Grants, ProcessGrant};
pub use host::{Findings, Host};
pub use load::{
    Access, DropIns, FileText, Files, drop_in_dir, is_drop_in, list_drop_ins, load, read_drop_in, read_main,
};
pub use model::{
    Check, CheckUse, DEFAULT_CONTROL, DEFAULT_FILE, Daemon, ExitCodes, Garp, Instance, Limits, Unicast, VirtualAddress,
};
pub use partial::{PartialConfig, sort_by_place};
pub use plugins::{PluginFile, plugin_name_of};
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
    /// What would not be meant if the other routers were as assumed.
    pub notes: Vec<Problem>,
    /// `daemon.user`
    user_at: Option<Place>,
    /// By the check's name.
    checks_at: BTreeMap<String, CheckPlaces>,
    /// By the instance's name.
    instances_at: BTreeMap<String, InstancePlaces>,
    /// Who may read the files, as far as known.
    access: Vec<(PathBuf, Access)>,
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
    checks: Option<Place>,
    /// `auth`
    password: Option<Place>,
}

/// Where a check stands, where it names its plugin, and what it gives it.
#[derive(Debug, Clone)]
struct CheckPlaces {
    named: Place,
    plugin: Place,
    sha256: Option<Place>,
    /// The key `params`, if it is there.
    params: Option<Place>,
    /// One for each of the check's `params`.
    given: Vec<ParamPlaces>,
}
