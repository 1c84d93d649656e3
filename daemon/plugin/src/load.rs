//! A file's bytes to something that can run, or an error that says what is wrong with the file.
//!
//! What kind it is shows in the bytes, never in the name: a component is used as it is; a core module with embedded
//! contract metadata (what `cargo build --target wasm32-unknown-unknown` with wit-bindgen gives) is made into one.

use thiserror::Error;
use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wasmparser::{ComponentName, KnownCustom, Name, Parser, Payload};
use wasmtime::component::Component;
use wit_component::ComponentEncoder;

use crate::contract::{OFFERED, PACKAGE, is_compatible, offered_version, parse_name};
use crate::text::cut;

/// Longest text of the metadata in bytes.
const MAX_METADATA: usize = 200;

/// What a plugin file was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A component, used as it is.
    Component,
    /// A core module with contract metadata, made into a component.
    Module,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Kind::Component => "component",
            Kind::Module => "module",
        })
    }
}

/// Why a file can't be used as a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LoadError {
    #[error("not a WebAssembly file: expected the bytes `\\0asm` at its beginning, found {found}")]
    NotWasm { found: String },
    #[error("damaged or cut off: {0}")]
    Invalid(String),
    #[error(
        "a core module that has no embedded contract metadata (a custom section `component-type`): build it with \
         bindings for `vouchd:check`, or make it into a component (`wasm-tools component embed` and `new`)"
    )]
    NoMetadata,
    #[error(
        "a WASI command (it exports `_start`): programs can't be checks in this version; export \
         `vouchd:check/checker@{offered}` instead", offered = offered_version()
    )]
    Command,
    #[error("does not export `vouchd:check/checker@{offered}`; it exports {found}", offered = offered_version())]
    NoChecker { found: String },
    #[error(
        "built against `{PACKAGE}{interface}` {found}, this daemon offers {offered}: rebuild the plugin with the SDK \
         of this version, or update vouchd", offered = offered_version()
    )]
    Version { interface: String, found: String },
    #[error("needs `{name}`, which this daemon does not offer (it offers {PACKAGE}{{{offered}}} and WASI 0.2)", offered = OFFERED.join(","))]
    UnknownImport { name: String },
    #[error("does not fit the contract: {0}")]
    Contract(String),
    #[error("too big: {0}; raise limits.memory of the check that needs most, or fix the plugin")]
    TooBig(String),
    #[error("could not be started: {0}")]
    Start(String),
}

/// What a plugin says about itself in its custom sections; nothing is executed to read it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    pub name: Option<String>,
    pub version: Option<String>,
    pub description: Option<String>,
}

/// The bytes as a component.
pub(crate) fn componentize(bytes: &[u8]) -> Result<(Kind, Vec<u8>), LoadError> {
    if !bytes.starts_with(b"\0asm") {
        let found = match bytes {
            [] => "an empty file".to_owned(),
            _ => format!("{:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(8)])),
        };
        return Err(LoadError::NotWasm { found });
    }
    if Parser::is_component(bytes) {
        return Ok((Kind::Component, bytes.to_vec()));
    }
    let outline = outline(bytes)?;
    if !outline.has_metadata {
        return Err(if outline.has_start { LoadError::Command } else { LoadError::NoMetadata });
    }
    let mut encoder = ComponentEncoder::default().validate(true).module(bytes).map_err(encoding_error)?;
    if outline.imports_preview1 {
        encoder = encoder
            .adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER)
            .map_err(encoding_error)?;
    }
    Ok((Kind::Module, encoder.encode().map_err(encoding_error)?))
}

fn encoding_error(error: impl std::fmt::Display) -> LoadError {
    LoadError::Contract(format!("{error:#}"))
}

/// What a core module's sections show.
#[derive(Default)]
struct Outline {
    has_metadata: bool,
    has_start: bool,
    imports_preview1: bool,
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
                    outline.has_start |= export.map_err(invalid)?.name == "_start";
                }
            }
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    outline.imports_preview1 |= import.map_err(invalid)?.module == WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME;
                }
            }
            _ => {}
        }
    }
    Ok(outline)
}

/// Checks names and versions, so that a mismatch is told in words. The probes that the plugin imports.
pub(crate) fn check_contract(component: &Component) -> Result<Vec<String>, LoadError> {
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
    for (name, _) in ty.exports(component.engine()) {
        match parse_name(name) {
            Some(("checker", version)) if is_compatible(version) => return Ok(probes),
            Some(("checker", version)) => {
                return Err(LoadError::Version { interface: "checker".to_owned(), found: version.to_owned() });
            }
            Some(_) | None => found.push(format!("`{name}`")),
        }
    }
    let found = if found.is_empty() { "nothing".to_owned() } else { found.join(", ") };
    Err(LoadError::NoChecker { found })
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
mod tests {
    use super::*;

    #[test]
    fn what_is_not_webassembly_is_told_by_its_bytes() {
        let error = componentize(b"#!/bin/sh\nexit 0\n").unwrap_err();
        assert!(error.to_string().contains("found \"#!/bin/s\""), "{error}");
        assert!(componentize(b"").unwrap_err().to_string().contains("an empty file"));
    }

    #[test]
    fn a_core_module_without_metadata_is_told_apart_from_a_command() {
        let plain = b"\0asm\x01\0\0\0";
        assert_eq!(componentize(plain).unwrap_err(), LoadError::NoMetadata);
    }
}
