//! What a plugin says about itself in its custom sections. Nothing is executed to read it.

use serde::{Deserialize, Serialize};
use wasmparser::{ComponentName, CustomSectionReader, KnownCustom, Name, Parser, Payload};

use crate::text::cut;

/// Longest text of the metadata, in bytes.
const MAX_TEXT: usize = 200;

/// What a plugin says about itself in its custom sections. Each text is one line of at most 200 bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// From the name section.
    pub name: Option<String>,
    /// From the custom section `version`.
    pub version: Option<String>,
    /// From the custom section `description`.
    pub description: Option<String>,
}

/// Reads the metadata. Of several sections of a kind the outermost counts.
pub(crate) fn metadata(bytes: &[u8]) -> Metadata {
    let mut metadata = Metadata::default();
    let text = |data: &[u8]| std::str::from_utf8(data).ok().map(|t| cut(t, MAX_TEXT)).filter(|t| !t.is_empty());
    for payload in Parser::new(0).parse_all(bytes) {
        let Ok(payload) = payload else { break };
        let Payload::CustomSection(section) = payload else { continue };
        match section.name() {
            "version" if metadata.version.is_none() => metadata.version = text(section.data()),
            "description" if metadata.description.is_none() => metadata.description = text(section.data()),
            "name" | "component-name" if metadata.name.is_none() => {
                metadata.name = name_in(&section).and_then(|name| text(name.as_bytes()));
            }
            _ => {}
        }
    }
    metadata
}

/// The name that a name section gives to the module or component itself.
fn name_in<'a>(section: &CustomSectionReader<'a>) -> Option<&'a str> {
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
