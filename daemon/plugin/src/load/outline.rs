//! The exports, imports and custom sections of a core module that decide how it is loaded.

use wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME;
use wasmparser::{BinaryReaderError, Parser, Payload};

use super::LoadError;
use crate::contract::{OFFERED, is_compatible, parse_name};
use crate::text::cut;

/// Longest name in an error, in bytes.
const MAX_NAME: usize = 200;

/// See the [module](self).
#[derive(Default)]
pub(super) struct Outline {
    /// Whether the module describes its interfaces in a custom section.
    pub(super) has_metadata: bool,
    pub(super) has_start: bool,
    /// The version in the name of an exported `vouchd:check/checker@…#check`.
    pub(super) checker: Option<String>,
    pub(super) exports: Vec<String>,
    /// Module and name.
    imports: Vec<(String, String)>,
}

impl Outline {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, LoadError> {
        let invalid = |e: BinaryReaderError| LoadError::Invalid(e.to_string());
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
                            outline.checker = Some(cut(version, MAX_NAME));
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

    /// Whether the module imports WASI preview 1.
    pub(super) fn needs_adapter(&self) -> bool {
        self.imports.iter().any(|(module, _)| module == WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME)
    }

    /// Checks that every import is of WASI preview 1, or of the contract: in a compatible version, and of an interface that
    /// `offered` allows. `otherwise` makes the error for any other import.
    pub(super) fn check_imports(
        &self,
        offered: impl Fn(&str) -> bool,
        otherwise: impl Fn(String) -> LoadError,
    ) -> Result<(), LoadError> {
        for (module, name) in &self.imports {
            match parse_name(module) {
                Some((interface, version)) if !is_compatible(version) => {
                    return Err(LoadError::Version {
                        interface: cut(interface, MAX_NAME),
                        found: cut(version, MAX_NAME),
                    });
                }
                Some((interface, _)) if OFFERED.contains(&interface) && offered(interface) => {}
                None if module == WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME => {}
                Some(_) | None => return Err(otherwise(cut(&format!("{module}#{name}"), MAX_NAME))),
            }
        }
        Ok(())
    }
}
