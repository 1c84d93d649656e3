//! From texts to a [`Config`]. Pure: reads nothing and looks nothing up on the machine.

pub(crate) mod address;
mod check;
mod daemon;
mod group;
mod instance;
mod key;
mod lint;
mod needs;
mod routing;
pub mod script;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeTable;
use vouchd_wire::Family;

use crate::errors::{Errors, Problem};
use crate::model::{Check, Daemon, Instance};
use crate::partial::PartialConfig;
use crate::reader::{Problems, Table, Value};
use crate::source::Source;
use crate::syntax::parse;
use crate::{CheckPlaces, Config, hints};

use instance::Placed;
pub(crate) use key::key_files;

/// Makes a configuration from the main file and its drop-ins: the path of each, for messages, and its text.
///
/// # Errors
/// All errors, in the order of files and lines.
pub fn resolve(files: Vec<(PathBuf, String)>) -> Result<Config, Errors> {
    let main = files.first().map(|(path, _)| path.clone()).unwrap_or_default();
    let sources = files.into_iter().map(|(path, text)| Source { path, text }).collect();
    examine(&main, sources, Vec::new(), &KeyFiles::new()).finish()
}

/// The contents of the files with HMAC keys, or why one can't be read.
pub(crate) type KeyFiles = BTreeMap<PathBuf, Result<Vec<u8>, String>>;

/// Makes as much of a configuration as possible from the files that were read. `unread` are the errors of the others.
pub(crate) fn examine(main: &Path, sources: Vec<Source>, unread: Vec<Problem>, keys: &KeyFiles) -> PartialConfig {
    let sources: Vec<Arc<Source>> = sources.into_iter().map(Arc::new).collect();
    let mut problems = Problems { errors: unread, warnings: Vec::new(), has_more: false };
    let documents: Vec<(&Arc<Source>, Spanned<DeTable<'_>>)> =
        sources.iter().filter_map(|source| Some((source, parse(source, &mut problems)?))).collect();
    // A file that can't be read may define what the others refer to, so missing names are no errors then.
    let all_read = problems.errors.is_empty();

    let mut daemon = Daemon::default();
    let mut user_at = None;
    let mut check_tables = Named::new("check");
    let mut instance_tables = Named::new("instance");
    let mut group_tables = Named::new("group");
    for (source, document) in &documents {
        let mut root = Table::root(source, document.get_ref());
        if let Some(value) = root.take("daemon") {
            if source.path == main {
                let table = value.table("a table, [daemon]", &mut problems);
                user_at = table.as_ref().and_then(|table| table.peek("user")).map(Value::place);
                daemon = table.map(|table| daemon::daemon(table, &mut problems)).unwrap_or_default();
            } else {
                let message = format!("allowed only in the main file, {}; move it there", main.display());
                problems.error(value.key_place(), "daemon", message);
            }
        }
        check_tables.collect(root.take("check"), &mut problems);
        instance_tables.collect(root.take("instance"), &mut problems);
        group_tables.collect(root.take("group"), &mut problems);
        root.finish(&mut problems);
    }

    let known: Vec<String> = check_tables.tables.iter().map(|(name, _)| name.clone()).collect();
    let known = Known { checks: known.iter().map(String::as_str).collect(), all_read, keys };
    let (checks, checks_at) = checks(check_tables, &mut problems);
    let names: Vec<String> = instance_tables.tables.iter().map(|(name, _)| name.clone()).collect();
    let mut placed = instances(instance_tables, &checks, &known, daemon.startup_delay, &mut problems);
    let groups = group::groups(group_tables.tables, &mut placed, &names, &checks, &known, &mut problems);
    let mut instances = Vec::new();
    let mut instances_at = BTreeMap::new();
    for Placed { instance, at } in placed {
        instances_at.insert(instance.name.clone(), at);
        instances.push(instance);
    }
    let mut notes = Vec::new();
    // A check that seems unused may be used by an instance with errors.
    if problems.errors.is_empty() {
        lint::empty_configuration(main, &checks, &instances, &mut problems);
        lint::unused_checks(&checks, &instances, &checks_at, &mut problems);
        lint::files_in_runtime_dir(&checks, &daemon, &checks_at, &mut problems);
        lint::same_address_elsewhere(&instances, &instances_at, &mut problems);
        notes = lint::weights(&instances, &instances_at);
        notes.extend(lint::authentication(&instances, &instances_at));
    }
    let Problems { errors, warnings, has_more } = problems;
    let files = sources.iter().map(|source| source.path.clone()).collect();
    let config = Config {
        daemon,
        checks,
        instances,
        groups,
        files,
        warnings,
        notes,
        user_at,
        checks_at,
        instances_at,
        access: Vec::new(),
        key_access: Vec::new(),
    };
    PartialConfig { config, errors, has_more, daemon_is_known: documents.iter().any(|(source, _)| source.path == main) }
}

/// The tables `[kind.NAME]` of all files.
struct Named<'a> {
    kind: &'static str,
    tables: Vec<(String, Table<'a>)>,
}

impl<'a> Named<'a> {
    fn new(kind: &'static str) -> Self {
        Named { kind, tables: Vec::new() }
    }

    fn collect(&mut self, value: Option<Value<'a>>, problems: &mut Problems) {
        let expected = format!("tables with names, [{}.NAME]", self.kind);
        let Some(table) = value.and_then(|v| v.table(&expected, problems)) else { return };
        let place = table.place();
        let entries = table.into_entries();
        // `[instance]` with the keys of an instance: the name is missing. One error is enough.
        let is_key = |name: &str| hints::table_of(name).is_some();
        let key = entries.iter().find(|(name, value)| is_key(name) && !value.get().is_table()).map(|(name, _)| *name);
        if let Some(key) = key {
            let message = format!("`{key}` must be in a table with a name of your choice, [{}.NAME]", self.kind);
            problems.error(place, self.kind, message);
        }
        for (name, value) in entries.into_iter().filter(|(name, _)| key.is_none() || !is_key(name)) {
            let Some(table) = value.table(&format!("a table, [{}.{name}]", self.kind), problems) else { continue };
            if !is_name(name) {
                problems.error(value.key_place(), table.path(), format!("expected {NAME}"));
            } else if let Some((_, first)) = self.tables.iter().find(|(other, _)| other == name) {
                let message =
                    format!("this {} is defined twice, first at {}; rename or remove one", self.kind, first.place());
                problems.error(value.key_place(), table.path(), message);
            } else {
                self.tables.push((name.to_owned(), table));
            }
        }
    }
}

fn checks(tables: Named<'_>, problems: &mut Problems) -> (Vec<Check>, BTreeMap<String, CheckPlaces>) {
    let mut checks = Vec::new();
    let mut places = BTreeMap::new();
    for (name, table) in tables.tables {
        let named = table.place();
        let plugin = table.peek("plugin").map(|value| value.place());
        let params = table.peek("params").map(|value| value.key_place());
        let sha256 = table.peek("sha256").map(|value| value.place());
        if let Some((check, given)) = check::check(&name, table, problems) {
            let plugin = plugin.unwrap_or_else(|| named.clone());
            places.insert(name, CheckPlaces { named, plugin, sha256, params, given });
            checks.push(check);
        }
    }
    (checks, places)
}

/// The names of all checks, including those with errors.
struct Known<'a> {
    checks: Vec<&'a str>,
    /// All files were read, so there are no other checks.
    all_read: bool,
    keys: &'a KeyFiles,
}

fn instances(
    tables: Named<'_>,
    checks: &[Check],
    known: &Known<'_>,
    startup_delay: Duration,
    problems: &mut Problems,
) -> Vec<Placed> {
    let mut placed: Vec<Placed> = Vec::new();
    for (name, table) in tables.tables {
        let Some(new) = instance::instance(&name, table, checks, known, startup_delay, problems) else { continue };
        for old in placed.iter().filter(|old| old.instance.interface == new.instance.interface) {
            conflicts(old, &new, problems);
        }
        placed.push(new);
    }
    placed
}

/// Reports what two instances on the same interface must not share.
fn conflicts(old: &Placed, new: &Placed, problems: &mut Problems) {
    let (other, interface) = (&old.instance.name, &old.instance.interface);
    if old.instance.vrid == new.instance.vrid && !are_apart(&old.instance, &new.instance) {
        let subject = format!("instance.{}.virtual_router_id = {}", new.instance.name, new.instance.vrid);
        let message = format!(
            "instance {other} on {interface} already has it (at {}); expected a different number on the same interface, or \
             other unicast peers or another multicast group",
            old.at.vrid
        );
        problems.error(new.at.vrid.clone(), subject, message);
    }
    for (address, place) in new.instance.addresses.iter().zip(&new.at.addresses) {
        let same = old.instance.addresses.iter().zip(&old.at.addresses).find(|(a, _)| a.ip == address.ip);
        if let Some((_, first)) = same {
            let subject = format!("instance.{}.addresses: {}", new.instance.name, address.ip);
            let message =
                format!("instance {other} on {interface} already has this address (at {first}); remove one of the two");
            problems.error(place.clone(), subject, message);
        }
    }
}

/// Whether two instances with the same VRID on one interface never hear each other's routers: they differ in family, in
/// their unicast peers, or in their multicast groups.
fn are_apart(old: &Instance, new: &Instance) -> bool {
    let common = |family: &&Family| old.families.contains(family) && new.families.contains(family);
    new.families.iter().filter(common).all(|family| {
        let (old, new) = (old.of_family(*family), new.of_family(*family));
        match (&old.unicast, &new.unicast) {
            (Some(old), Some(new)) => {
                !new.peers.iter().any(|peer| old.peers.iter().any(|other| other.address == peer.address))
            }
            (None, None) => old.multicast.groups != new.multicast.groups,
            (Some(_), None) | (None, Some(_)) => false,
        }
    })
}

const NAME: &str = "a name of 1 to 64 letters, digits and the characters _ - . :";

fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b':'))
}

fn name(value: &Value<'_>, problems: &mut Problems) -> Option<String> {
    let text = value.string(NAME, problems)?;
    if !is_name(text) {
        value.error(format!("expected {NAME}"), problems);
        return None;
    }
    Some(text.to_owned())
}
