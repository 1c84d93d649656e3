use super::*;

fn error(bytes: &[u8]) -> String {
    prepare(bytes).err().expect("an error").to_string()
}

#[test]
fn what_is_not_webassembly_is_told_by_its_bytes() {
    assert!(error(b"#!/bin/sh\nexit 0\n").contains("found \"#!/bin/s\""));
    assert!(error(b"").contains("an empty file"));
}

#[test]
fn a_module_without_the_contracts_exports_is_told_what_it_exports() {
    assert!(error(b"\0asm\x01\0\0\0").contains("it exports nothing"));
}

#[test]
fn the_contract_can_be_embedded_in_any_version_that_fits() {
    for version in ["0.1.0", "0.1.9"] {
        let bytes = embed_contract(b"\0asm\x01\0\0\0", version).unwrap();
        let name = format!("vouchd:check/checker@{version}");
        assert!(String::from_utf8_lossy(&bytes).contains(&name), "{name}");
    }
}

/// What `prepare` says of a file that may be damaged: none if nothing is wrong with it. It is not to panic.
fn verdict(bytes: &[u8], what: &str) -> Option<LoadError> {
    // Where a plugin is compiled there is as much stack.
    let prepared = std::thread::scope(|scope| {
        std::thread::Builder::new().stack_size(16 << 20).spawn_scoped(scope, || prepare(bytes).err()).unwrap().join()
    });
    let error = prepared.unwrap_or_else(|_| panic!("{what}: a panic"));
    if broken(bytes).is_some() && bytes.starts_with(b"\0asm") {
        assert!(matches!(error, Some(LoadError::Invalid(_))), "{what}: {error:?}");
    }
    error
}

fn plugin() -> Option<Vec<u8>> {
    let path = vouchd_tests::vouchd::builtin_plugins().join("http.wasm");
    std::fs::read(&path)
        .inspect_err(|error| vouchd_skip::skip(&format!("{}: {error}", path.display()), "run `cargo xtask build`"))
        .ok()
}

/// Another name may make a package need itself by way of another, at which the stack of who reads that ends: what a child is for.
fn names_a_package(bytes: &[u8], at: usize) -> bool {
    let near = &bytes[at.saturating_sub(40)..bytes.len().min(at + 7)];
    near.windows(7).any(|window| window == b"vouchd:")
}

#[test]
fn a_plugin_that_is_cut_off_is_found_to_be_wherever_it_is_cut() {
    let Some(plugin) = plugin() else { return };
    assert_eq!(verdict(&plugin, "all of it"), None);
    let mut damaged = 0;
    // The sections that say most of the plugin are at its beginning and its end.
    let lengths = (0..plugin.len()).filter(|at| *at < 1000 || plugin.len() - at < 1000 || at % 97 == 0);
    for length in lengths {
        damaged +=
            usize::from(matches!(verdict(&plugin[..length], &format!("{length} bytes")), Some(LoadError::Invalid(_))));
    }
    assert!(damaged > 3000, "{damaged}");
}

#[test]
fn a_plugin_with_a_wrong_byte_is_damaged_or_something_else_and_never_ends_the_loader() {
    let Some(plugin) = plugin() else { return };
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random % below as u64).unwrap()
    };
    for round in 0..400 {
        let mut bytes = plugin.clone();
        // Half of them where the interfaces are described: what reads that is not what validates.
        let at = if round % 2 == 0 { next(plugin.len()) } else { plugin.len() - 1 - next(8000) };
        let value = u8::try_from(next(256)).unwrap();
        if names_a_package(&plugin, at) {
            continue;
        }
        bytes[at] = value;
        verdict(&bytes, &format!("byte {at:#x} is {value:#x}"));
    }
}
