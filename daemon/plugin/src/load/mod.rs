//! A file's bytes to something that can run, or an error that says what is wrong with the file.
//!
//! What kind it is shows in the bytes, never in the name. A component is used as it is. A core module that exports the
//! contract's `check` is made into one, with the metadata that it has embedded (what `cargo build --target
//! wasm32-unknown-unknown` with wit-bindgen gives), or else with the host's own. A WASI command stays a core module.

mod adapter_memory;
pub(crate) mod cache;
pub(crate) mod compile;
pub(crate) mod declared;
mod names;
pub(crate) mod proposals;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wasmparser::{ComponentName, KnownCustom, Name, Parser, Payload};
use wasmtime::component::Component;
use wit_component::{ComponentEncoder, StringEncoding};
use wit_parser::Resolve;

use crate::contract::{OFFERED, PACKAGE, is_compatible, offered_version, parse_name};
use crate::load::adapter_memory::with_room;
use crate::load::declared::broken;
use crate::load::names::without_broken_names;
use crate::text::{cut, line};

/// Longest text of the metadata, and longest name, in bytes.
const MAX_METADATA: usize = 200;

/// What a plugin file was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A component, used as it is.
    Component,
    /// A core module, made into a component.
    Module,
    /// A program.
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

/// Why a file can't be used as a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum LoadError {
    #[error("not a WebAssembly file: expected the bytes `\\0asm` at its beginning, found {found}")]
    NotWasm { found: String },
    #[error("damaged or cut off: {0}")]
    Invalid(String),
    #[error("uses {0}, which this daemon does not offer: build it without")]
    Proposals(String),
    #[error(
        "does not export `vouchd:check/checker@{offered}`, nor is it a program (`wasi:cli/run`, or `_start` of a core \
         module); it exports {found}", offered = offered_version()
    )]
    NoChecker { found: String },
    #[error(
        "built against `{PACKAGE}{interface}` {found}, this daemon offers {offered}: rebuild the plugin with the SDK \
         of this version, or update vouchd", offered = offered_version(),
        found = if found.is_empty() { "without a version" } else { found.as_str() }
    )]
    Version { interface: String, found: String },
    #[error("needs `{name}`, which this daemon does not offer (it offers {PACKAGE}{{{offered}}} and WASI 0.2)", offered = OFFERED.join(","))]
    UnknownImport { name: String },
    #[error(
        "needs `{name}`, which a program is not offered (it is offered WASI preview 1, {PACKAGE}simple and {PACKAGE}log); \
         export `vouchd:check/checker@{offered}` to have more", offered = offered_version()
    )]
    NotForPrograms { name: String },
    #[error("does not fit the contract: {0}")]
    Contract(String),
    #[error("too big: {0}; raise limits.memory of the check that needs most, or fix the plugin")]
    TooBig(String),
    /// Of what no limit of a check can give more.
    #[error("too big: {0}; build it with fewer")]
    TooMany(String),
    #[error("could not be started: {0}")]
    Start(String),
    /// `what` is empty for wall-clock time.
    #[error("compiling took more than {seconds} s{what}: make the plugin smaller, or its functions simpler")]
    TooSlow { seconds: u64, what: String },
    #[error("needs more than {mib} MiB to compile: make the plugin smaller, or its functions simpler")]
    TooHungry { mib: u64 },
    #[error("the compiler failed: {0}")]
    Compiler(String),
    /// By the host: says nothing about the file, which may be tried again.
    #[error("could not be loaded: {0}")]
    Hindered(String),
    #[error("no longer wanted")]
    Abandoned,
}

/// What a plugin says about itself in its custom sections; nothing is executed to read it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    pub name: Option<String>,
    pub version: Option<String>,
    pub description: Option<String>,
}

/// What is compiled of a file.
pub(crate) enum Code {
    Component(Vec<u8>),
    /// A program that runs as the core module that it is.
    Core(Vec<u8>),
}

/// Tells the file's kind, and makes it into what can be compiled.
pub(crate) fn prepare(bytes: &[u8]) -> Result<(Kind, Code), LoadError> {
    if !bytes.starts_with(b"\0asm") {
        let found = match bytes {
            [] => "an empty file".to_owned(),
            _ => format!("{:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(8)])),
        };
        return Err(LoadError::NotWasm { found });
    }
    // First: what makes components of modules stumbles over damage, and what it says then is not about that.
    if let Some(words) = broken(bytes) {
        return Err(LoadError::Invalid(words));
    }
    if Parser::is_component(bytes) {
        return Ok((Kind::Component, Code::Component(bytes.to_vec())));
    }
    let bytes = &*without_broken_names(bytes);
    let outline = outline(bytes)?;
    match &outline.checker {
        Some(version) if !is_compatible(version) => {
            Err(LoadError::Version { interface: "checker".to_owned(), found: version.clone() })
        }
        Some(_) if outline.has_metadata => Ok((Kind::Module, Code::Component(componentize(bytes, &outline)?))),
        Some(version) => {
            outline.check_imports(|_| true, |name| LoadError::UnknownImport { name })?;
            let bytes = embed_contract(bytes, version)?;
            Ok((Kind::Module, Code::Component(componentize(&bytes, &outline)?)))
        }
        None if outline.has_start => {
            let offered = |interface: &str| FOR_PROGRAMS.contains(&interface);
            outline.check_imports(offered, |name| LoadError::NotForPrograms { name })?;
            Ok((Kind::Command, Code::Core(bytes.to_vec())))
        }
        None => Err(LoadError::NoChecker { found: list(&outline.exports) }),
    }
}

/// The interfaces of the contract that core programs may import: their functions take and give plain numbers.
const FOR_PROGRAMS: [&str; 2] = ["simple", "log"];

/// The contract as it is compiled in: what a module is embedded that has no metadata of its own.
const WIT: &str = include_str!("../../../../sdk/wit/check.wit");

/// A core module with the contract's metadata, in the version that it was written for.
fn embed_contract(bytes: &[u8], version: &str) -> Result<Vec<u8>, LoadError> {
    let ours = offered_version();
    let wit = WIT.replacen(&format!("package vouchd:check@{ours};"), &format!("package vouchd:check@{version};"), 1);
    let mut resolve = Resolve::default();
    let package = resolve.push_str("check.wit", &wit).map_err(encoding_error)?;
    let world = resolve.select_world(&[package], Some("plugin")).map_err(encoding_error)?;
    let mut bytes = bytes.to_vec();
    wit_component::embed_component_metadata(&mut bytes, &resolve, world, StringEncoding::UTF8)
        .map_err(encoding_error)?;
    Ok(bytes)
}

fn componentize(bytes: &[u8], outline: &Outline) -> Result<Vec<u8>, LoadError> {
    if let Err(error) = wit_component::metadata::decode(bytes) {
        let words = line(error);
        // Two that contradict each other may both be sound.
        return Err(match words.starts_with("updating metadata") {
            true => LoadError::Contract(words),
            false => LoadError::Invalid(format!("the description of its interfaces can't be read: {words}")),
        });
    }
    let needs_adapter = outline.imports.iter().any(|(module, _)| module == WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME);
    let bytes = if needs_adapter { &with_room(bytes).map_err(encoding_error)? } else { bytes };
    let mut encoder = ComponentEncoder::default().validate(true).module(bytes).map_err(encoding_error)?;
    if needs_adapter {
        encoder = encoder
            .adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER)
            .map_err(encoding_error)?;
    }
    encoder.encode().map_err(encoding_error)
}

/// Names as an error shows them.
fn list(names: &[String]) -> String {
    const MOST: usize = 8;
    let shown: Vec<_> = names.iter().take(MOST).map(|name| format!("`{}`", cut(name, 100))).collect();
    match (names.len(), shown.join(", ")) {
        (0, _) => "nothing".to_owned(),
        (n, shown) if n > MOST => format!("{shown} and {} more", n - MOST),
        (_, shown) => shown,
    }
}

fn encoding_error(error: impl std::fmt::Display) -> LoadError {
    LoadError::Contract(line(error))
}

/// What a core module's sections show.
#[derive(Default)]
struct Outline {
    has_metadata: bool,
    has_start: bool,
    /// The version in the name of an exported `vouchd:check/checker@…#check`.
    checker: Option<String>,
    exports: Vec<String>,
    imports: Vec<(String, String)>,
}

impl Outline {
    /// Every import is of preview 1, or of the contract in a version that fits and of an interface that is offered.
    fn check_imports(
        &self,
        offered: impl Fn(&str) -> bool,
        otherwise: impl Fn(String) -> LoadError,
    ) -> Result<(), LoadError> {
        for (module, name) in &self.imports {
            match parse_name(module) {
                Some((interface, version)) if !is_compatible(version) => {
                    return Err(LoadError::Version {
                        interface: cut(interface, MAX_METADATA),
                        found: cut(version, MAX_METADATA),
                    });
                }
                Some((interface, _)) if OFFERED.contains(&interface) && offered(interface) => {}
                None if module == WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME => {}
                Some(_) | None => return Err(otherwise(cut(&format!("{module}#{name}"), MAX_METADATA))),
            }
        }
        Ok(())
    }
}

fn outline(bytes: &[u8]) -> Result<Outline, LoadError> {
    let invalid = |e: wasmparser::BinaryReaderError| LoadError::Invalid(e.to_string());
    let mut outline = Outline::default();
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(invalid)? {
            Payload::CustomSection(section) => {
                outline.has_metadata |= section.name().starts_with("component-type");
            }
            Payload::ExportSection(exports) => {
                for export in exports {
                    let name = export.map_err(invalid)?.name;
                    outline.has_start |= name == "_start";
                    if let Some(("checker", version)) = name.strip_suffix("#check").and_then(parse_name) {
                        outline.checker = Some(cut(version, MAX_METADATA));
                    }
                    outline.exports.push(name.to_owned());
                }
            }
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    let import = import.map_err(invalid)?;
                    outline.imports.push((import.module.to_owned(), import.name.to_owned()));
                }
            }
            _ => {}
        }
    }
    Ok(outline)
}

/// What a component is called by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    Checker,
    /// `wasi:cli/run`
    Program,
}

/// Checks names and versions, so that a mismatch is told in words. The probes that the plugin imports.
pub(crate) fn check_contract(component: &Component) -> Result<(Entry, Vec<String>), LoadError> {
    let ty = component.component_type();
    let mut probes = Vec::new();
    for (name, _) in ty.imports(component.engine()) {
        match parse_name(name) {
            Some((interface, version)) if !is_compatible(version) => {
                return Err(LoadError::Version { interface: interface.to_owned(), found: version.to_owned() });
            }
            Some((interface, _)) if OFFERED.contains(&interface) => {
                if interface != "types" {
                    probes.push(interface.to_owned());
                }
            }
            None if name.starts_with("wasi:") => {}
            Some(_) | None => return Err(LoadError::UnknownImport { name: name.to_owned() }),
        }
    }
    let mut found = Vec::new();
    let mut entry = None;
    for (name, _) in ty.exports(component.engine()) {
        match parse_name(name) {
            Some(("checker", version)) if is_compatible(version) => entry = Some(Entry::Checker),
            Some(("checker", version)) => {
                return Err(LoadError::Version { interface: "checker".to_owned(), found: version.to_owned() });
            }
            None if name.starts_with("wasi:cli/run@0.2.") => entry = entry.or(Some(Entry::Program)),
            Some(_) | None => found.push(name.to_owned()),
        }
    }
    entry.map(|entry| (entry, probes)).ok_or_else(|| LoadError::NoChecker { found: list(&found) })
}

/// The version in the name of the interface that it exports.
pub(crate) fn built_against(component: &Component) -> Option<String> {
    component.component_type().exports(component.engine()).find_map(|(name, _)| match parse_name(name) {
        Some(("checker", version)) => Some(cut(version, MAX_METADATA)),
        Some(_) | None => None,
    })
}

/// Name, version and description as far as they are there, the outermost first.
pub(crate) fn metadata(bytes: &[u8]) -> Metadata {
    let mut metadata = Metadata::default();
    let text = |data: &[u8]| std::str::from_utf8(data).ok().map(|t| cut(t, MAX_METADATA)).filter(|t| !t.is_empty());
    for payload in Parser::new(0).parse_all(bytes) {
        let Ok(payload) = payload else { break };
        let Payload::CustomSection(section) = payload else { continue };
        match section.name() {
            "version" if metadata.version.is_none() => metadata.version = text(section.data()),
            "description" if metadata.description.is_none() => metadata.description = text(section.data()),
            "name" | "component-name" if metadata.name.is_none() => {
                metadata.name = own_name(&section).and_then(|name| text(name.as_bytes()));
            }
            _ => {}
        }
    }
    metadata
}

fn own_name<'a>(section: &wasmparser::CustomSectionReader<'a>) -> Option<&'a str> {
    match section.as_known() {
        KnownCustom::Name(names) => names.into_iter().find_map(|name| match name {
            Ok(Name::Module { name, .. }) => Some(name),
            _ => None,
        }),
        KnownCustom::ComponentName(names) => names.into_iter().find_map(|name| match name {
            Ok(ComponentName::Component { name, .. }) => Some(name),
            _ => None,
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
