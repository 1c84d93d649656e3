//! The configuration files, `vouchd.toml` and its drop-ins: from text to a [`Config`] that is typed, in range and complete, or
//! to [`Errors`] that name file, line and column, what was found and what was expected.
//!
//! * [`load`] reads the files. [`resolve`] does the rest and is pure.
//! * [`model`]: the configuration as the daemon uses it. [`grants`]: what a check may reach, and the matching.
//! * [`script`]: test scripts for `vouchd plugin test`, written with the keys of a check.
//! * Inside, `syntax` explains what is not TOML, `reader` walks the parsed document and collects problems, `resolve` knows the
//!   keys, and `hints` guesses what was meant.
//!
//! The crate looks nothing up on the machine. What the machine has (plugins, interfaces, addresses, users) is an argument of
//! [`Config::check_plugins`], [`Config::check_host`] and their like. `clippy.toml` forbids clocks, sockets, processes, threads
//! and locks, and files outside `load`.
#![forbid(unsafe_code)]
#![warn(missing_docs, unreachable_pub)]

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
    AddressFlags, Check, CheckUse, DEFAULT_CONTROL, DEFAULT_FILE, Daemon, ExitCodes, Garp, Group, Hmac, HmacMode,
    Instance, Limits, Multicast, Peer, Track, Unicast, VirtualAddress, VirtualMac,
};
pub use partial::{PartialConfig, sort_by_place};
pub use plugins::{PluginFile, plugin_name_of};
pub use quantity::{format_duration, parse_duration};
pub use resolve::resolve;
pub use resolve::script;
pub use source::Place;
pub use vouchd_iproute::{Route, Rule};
pub use vouchd_wire::hmac::HmacKey;

/// A complete, valid configuration.
///
/// To compare two configurations, compare `daemon`, `checks` and `instances`: they are equal by value, wherever they stand in
/// the files.
#[derive(Debug, Clone)]
pub struct Config {
    /// `[daemon]`
    pub daemon: Daemon,
    /// In the order of the files. Names are unique.
    pub checks: Vec<Check>,
    /// In the order of the files. Names are unique.
    pub instances: Vec<Instance>,
    /// In the order of the files. Names are unique.
    pub groups: Vec<Group>,
    /// The files that were read, the main file first.
    pub files: Vec<PathBuf>,
    /// What is allowed but probably not intended.
    pub warnings: Vec<Problem>,
    /// What is a mistake only if an assumption about the other routers holds.
    pub notes: Vec<Problem>,
    /// The value of `daemon.user`.
    user_at: Option<Place>,
    /// By the check's name.
    checks_at: BTreeMap<String, CheckPlaces>,
    /// By the instance's name.
    instances_at: BTreeMap<String, InstancePlaces>,
    /// Who may read the files, where that is known.
    access: Vec<(PathBuf, Access)>,
    /// The same of the files with HMAC keys.
    key_access: Vec<(PathBuf, Access)>,
}

/// The places of an instance's values.
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
    auth: Option<Place>,
    /// Whether `auth` has a password or a key, not only the names of files with keys.
    has_secret: bool,
}

/// The places of a check's values.
#[derive(Debug, Clone)]
struct CheckPlaces {
    /// The name of its table.
    named: Place,
    plugin: Place,
    sha256: Option<Place>,
    /// The key `params`, if present.
    params: Option<Place>,
    /// As many as the check has `params`.
    given: Vec<ParamPlaces>,
}
