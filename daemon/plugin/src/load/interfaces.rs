//! A component's imports and exports against the contract. A mismatch is an error that names the interface and its version.

use wasmtime::component::Component;

use super::LoadError;
use crate::contract::{OFFERED, is_compatible, parse_name};
use crate::text::cut;

/// Longest version that is kept, in bytes.
const MAX_VERSION: usize = 200;

/// The export of a component that a run calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    /// The contract's `checker`.
    Checker,
    /// `wasi:cli/run` of a WASI command.
    Command,
}

/// What a component has in common with the contract.
#[derive(Debug)]
pub(crate) struct Interfaces {
    pub(crate) entry: Entry,
    /// The interfaces of the contract that it imports, without `types`.
    pub(crate) imports: Vec<String>,
    /// The version of the contract that it was built against, if it exports `checker`.
    pub(crate) version: Option<String>,
}

/// Checks the names and versions of a component's imports and exports.
pub(crate) fn check_interfaces(component: &Component) -> Result<Interfaces, LoadError> {
    let ty = component.component_type();
    let mut imports = Vec::new();
    for (name, _) in ty.imports(component.engine()) {
        match parse_name(name) {
            Some((interface, version)) if !is_compatible(version) => {
                return Err(LoadError::Version { interface: interface.to_owned(), found: version.to_owned() });
            }
            Some((interface, _)) if OFFERED.contains(&interface) => {
                if interface != "types" {
                    imports.push(interface.to_owned());
                }
            }
            None if name.starts_with("wasi:") => {}
            Some(_) | None => return Err(LoadError::UnknownImport { name: name.to_owned() }),
        }
    }
    let mut others = Vec::new();
    let mut entry = None;
    let mut built_against = None;
    for (name, _) in ty.exports(component.engine()) {
        match parse_name(name) {
            Some(("checker", version)) if is_compatible(version) => {
                entry = Some(Entry::Checker);
                built_against.get_or_insert_with(|| cut(version, MAX_VERSION));
            }
            Some(("checker", version)) => {
                return Err(LoadError::Version { interface: "checker".to_owned(), found: version.to_owned() });
            }
            None if name.starts_with("wasi:cli/run@0.2.") => entry = entry.or(Some(Entry::Command)),
            Some(_) | None => others.push(name.to_owned()),
        }
    }
    match entry {
        Some(entry) => Ok(Interfaces { entry, imports, version: built_against }),
        None => Err(LoadError::NoChecker { found: list(&others) }),
    }
}

/// Names for an error: the first few, quoted.
pub(super) fn list(names: &[String]) -> String {
    const MOST: usize = 8;
    let shown: Vec<_> = names.iter().take(MOST).map(|name| format!("`{}`", cut(name, 100))).collect();
    match (names.len(), shown.join(", ")) {
        (0, _) => "nothing".to_owned(),
        (n, shown) if n > MOST => format!("{shown} and {} more", n - MOST),
        (_, shown) => shown,
    }
}
