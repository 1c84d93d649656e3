//! Core modules that export the contract's `check`, made into components.

use std::borrow::Cow;

use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wit_component::{ComponentEncoder, StringEncoding};
use wit_parser::Resolve;

use super::LoadError;
use super::adapter_memory::with_adapter_memory;
use crate::contract::offered_version;
use crate::text::line;

/// The contract, embedded in modules that have no metadata of their own.
const WIT: &str = include_str!("../../../../sdk/wit/check.wit");

/// Embeds the contract's metadata in a core module that was built against `version`.
pub(super) fn embed_contract(bytes: &[u8], version: &str) -> Result<Vec<u8>, LoadError> {
    let ours = offered_version();
    let wit = WIT.replacen(&format!("package vouchd:check@{ours};"), &format!("package vouchd:check@{version};"), 1);
    let mut resolve = Resolve::default();
    let package = resolve.push_str("check.wit", &wit).map_err(contract_error)?;
    let world = resolve.select_world(&[package], Some("plugin")).map_err(contract_error)?;
    let mut bytes = bytes.to_vec();
    wit_component::embed_component_metadata(&mut bytes, &resolve, world, StringEncoding::UTF8)
        .map_err(contract_error)?;
    Ok(bytes)
}

/// Makes a core module with embedded metadata into a component. `needs_adapter`: it imports WASI preview 1.
pub(super) fn componentize(bytes: &[u8], needs_adapter: bool) -> Result<Vec<u8>, LoadError> {
    if let Err(error) = wit_component::metadata::decode(bytes) {
        let words = line(error);
        // Two descriptions that contradict each other may both be sound. wit-component has no type for that, only this text.
        return Err(match words.starts_with("updating metadata") {
            true => LoadError::Contract(words),
            false => LoadError::Invalid(format!("the description of its interfaces can't be read: {words}")),
        });
    }
    let bytes = if needs_adapter { with_adapter_memory(bytes).map_err(contract_error)? } else { Cow::Borrowed(bytes) };
    let mut encoder = ComponentEncoder::default().validate(true).module(&bytes).map_err(contract_error)?;
    if needs_adapter {
        encoder = encoder
            .adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER)
            .map_err(contract_error)?;
    }
    encoder.encode().map_err(contract_error)
}

fn contract_error(error: impl std::fmt::Display) -> LoadError {
    LoadError::Contract(line(error))
}

#[cfg(test)]
mod tests {
    use wasm_encoder::Section;

    use super::*;

    #[test]
    fn contract_can_be_embedded_in_any_compatible_version() {
        for version in ["0.1.0", "0.1.9"] {
            let bytes = embed_contract(b"\0asm\x01\0\0\0", version).unwrap();
            let name = format!("vouchd:check/checker@{version}");
            assert!(String::from_utf8_lossy(&bytes).contains(&name), "{name}");
        }
    }

    /// Pins the text by which [`componentize`] tells a contradiction from damage.
    #[test]
    fn contradicting_descriptions_do_not_fit_the_contract_and_garbage_is_damage() {
        let resource = |functions: &str| {
            format!("package other:thing@0.1.0; interface i {{ {functions} }} world plugin {{ import i; }}")
        };
        let mut bytes = b"\0asm\x01\0\0\0".to_vec();
        for (name, wit) in [("a", resource("f: func();")), ("b", resource("f: func() -> u32;"))] {
            let mut resolve = Resolve::default();
            let package = resolve.push_str("i.wit", &wit).unwrap();
            let world = resolve.select_world(&[package], Some("plugin")).unwrap();
            let section = wit_component::metadata::encode(&resolve, world, StringEncoding::UTF8, None).unwrap();
            wasm_encoder::CustomSection { name: format!("component-type:{name}").into(), data: section.into() }
                .append_to(&mut bytes);
        }
        assert!(matches!(componentize(&bytes, false), Err(LoadError::Contract(_))));
        let garbage = wat::parse_str("(module (@custom \"component-type\" \"garbage\"))").unwrap();
        assert!(matches!(componentize(&garbage, false), Err(LoadError::Invalid(_))));
    }
}
