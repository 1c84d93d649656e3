//! Which proposals of WebAssembly a plugin may use, and how messages name the others.
//!
//! The host offers what wasmtime supports at its first two tiers and a run's limits can bound. That is WebAssembly 3.0
//! without threads, since wasmtime does not bound shared memories, and without 64-bit memories, since the contract passes
//! 32-bit addresses.

use wasmparser::{Validator, WasmFeatures};

/// The proposals that the engine accepts. Must agree with [`crate::engine`].
pub(super) fn offered() -> WasmFeatures {
    WasmFeatures::WASM3.difference(WasmFeatures::THREADS | WasmFeatures::MEMORY64)
        | WasmFeatures::CUSTOM_PAGE_SIZES
        | WasmFeatures::WIDE_ARITHMETIC
        | WasmFeatures::COMPONENT_MODEL
}

/// Names the proposals that the file uses and the host does not offer. `None` if there are none, or the file is damaged.
pub(super) fn not_offered(bytes: &[u8]) -> Option<String> {
    let is_valid = |features| Validator::new_with_features(features).validate_all(bytes).is_ok();
    if is_valid(offered()) || !is_valid(WasmFeatures::all()) {
        return None;
    }
    let mut needed = WasmFeatures::all();
    for (_, feature) in WasmFeatures::all().difference(offered()).iter_names() {
        let without = needed.difference(feature);
        if is_valid(without) {
            needed = without;
        }
    }
    let names: Vec<_> = needed.difference(offered()).iter_names().map(|(name, feature)| words(name, feature)).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

fn words(name: &str, feature: WasmFeatures) -> String {
    match feature {
        WasmFeatures::THREADS => "threads (shared memory and atomic operations)".to_owned(),
        WasmFeatures::MEMORY64 => "64-bit memories (memory64)".to_owned(),
        WasmFeatures::LEGACY_EXCEPTIONS => {
            "exceptions in their old form (legacy-exceptions; the new one is offered, which LLVM makes with \
             -wasm-use-legacy-eh=false)"
                .to_owned()
        }
        _ => format!("the proposal {}", name.to_lowercase().replace('_', "-").replace("cm-", "component-model-")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: &str) -> Option<String> {
        not_offered(&wat::parse_str(text).unwrap())
    }

    #[test]
    fn only_proposals_that_are_not_offered_are_named() {
        let table = [
            ("(module (memory 1 1 shared))", Some("threads (shared memory and atomic operations)")),
            ("(module (type $f (func)) (type (cont $f)))", Some("the proposal stack-switching")),
            ("(module (memory i64 1))", Some("64-bit memories (memory64)")),
            ("(module (tag (param i32)))", None),
            ("(module (type (struct (field i32))))", None),
            ("(module (memory 1 (pagesize 1)))", None),
        ];
        for (text, expected) in table {
            assert_eq!(named(text).as_deref(), expected, "{text}");
        }
        let legacy = named("(module (func try catch_all end))").unwrap();
        assert!(legacy.starts_with("exceptions in their old form"), "{legacy}");
    }

    #[test]
    fn damaged_file_uses_no_proposal() {
        let mut bytes = wat::parse_str("(module (memory 1 1 shared))").unwrap();
        bytes.pop();
        assert_eq!(not_offered(&bytes), None);
        assert_eq!(not_offered(b"#!/bin/sh"), None);
    }
}
