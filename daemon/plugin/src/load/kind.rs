//! What kind of plugin a file is, and what has to be compiled of it.
//!
//! The bytes decide, never the file's name. A component is compiled unchanged. A core module that exports the contract's
//! `check` is made into a component, with the metadata embedded in it (`cargo build --target wasm32-unknown-unknown` with
//! wit-bindgen embeds it) or else with the host's own. A WASI command stays a core module: an adapter to a component would
//! lose its exit status.

use serde::{Deserialize, Serialize};

use super::LoadError;
use super::componentize::{componentize, embed_contract};
use super::interfaces::list;
use super::name_section::without_malformed_names;
use super::outline::Outline;
use super::validate::invalidity;
use crate::contract::is_compatible;

/// The kind of a plugin file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A component that exports the contract's `checker`.
    Component,
    /// A core module that exports the contract's `check`.
    Module,
    /// A WASI command: a core module with `_start`, or a component with `wasi:cli/run`.
    Command,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Kind::Component => "component",
            Kind::Module => "module",
            Kind::Command => "command",
        })
    }
}

/// What the compiler takes.
pub(super) enum Code {
    Component(Vec<u8>),
    Module(Vec<u8>),
}

/// The interfaces of the contract that a WASI command may import as a core module: their functions take and return plain
/// numbers.
const FOR_COMMANDS: [&str; 2] = ["simple", "log"];

/// Finds out the file's kind, and turns it into what can be compiled. A component's exports are checked later: until then
/// its kind is [`Kind::Component`].
pub(super) fn prepare(bytes: &[u8]) -> Result<(Kind, Code), LoadError> {
    if !bytes.starts_with(b"\0asm") {
        let found = match bytes {
            [] => "an empty file".to_owned(),
            _ => format!("{:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(8)])),
        };
        return Err(LoadError::NotWasm { found });
    }
    // Before anything else: `wit-component` fails on damaged files too, with messages about something else.
    if let Some(words) = invalidity(bytes) {
        return Err(LoadError::Invalid(words));
    }
    if wasmparser::Parser::is_component(bytes) {
        return Ok((Kind::Component, Code::Component(bytes.to_vec())));
    }
    let bytes = &*without_malformed_names(bytes);
    let outline = Outline::read(bytes)?;
    match &outline.checker {
        Some(version) if !is_compatible(version) => {
            Err(LoadError::Version { interface: "checker".to_owned(), found: version.clone() })
        }
        Some(_) if outline.has_metadata => {
            Ok((Kind::Module, Code::Component(componentize(bytes, outline.needs_adapter())?)))
        }
        Some(version) => {
            outline.check_imports(|_| true, |name| LoadError::UnknownImport { name })?;
            let bytes = embed_contract(bytes, version)?;
            Ok((Kind::Module, Code::Component(componentize(&bytes, outline.needs_adapter())?)))
        }
        None if outline.has_start => {
            let offered = |interface: &str| FOR_COMMANDS.contains(&interface);
            outline.check_imports(offered, |name| LoadError::NotForCommands { name })?;
            Ok((Kind::Command, Code::Module(bytes.to_vec())))
        }
        None => Err(LoadError::NoChecker { found: list(&outline.exports) }),
    }
}

#[cfg(test)]
mod tests;
