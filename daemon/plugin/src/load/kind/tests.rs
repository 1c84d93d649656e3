use super::*;

fn error(bytes: &[u8]) -> String {
    prepare(bytes).err().expect("an error").to_string()
}

#[test]
fn file_that_is_not_webassembly_is_described_by_its_first_bytes() {
    assert!(error(b"#!/bin/sh\nexit 0\n").contains("found \"#!/bin/s\""));
    assert!(error(b"").contains("an empty file"));
}

#[test]
fn module_without_the_contracts_export_is_rejected_with_its_exports() {
    assert!(error(b"\0asm\x01\0\0\0").contains("it exports nothing"));
}

/// The error of `prepare` for a file that may be damaged. Fails if it panics, or takes damage for something else.
fn verdict(bytes: &[u8], what: &str) -> Option<LoadError> {
    // The stack that compiling has.
    let prepared = std::thread::scope(|scope| {
        std::thread::Builder::new().stack_size(16 << 20).spawn_scoped(scope, || prepare(bytes).err()).unwrap().join()
    });
    let error = prepared.unwrap_or_else(|_| panic!("{what}: a panic"));
    if invalidity(bytes).is_some() && bytes.starts_with(b"\0asm") {
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

/// A changed name may make a package depend on itself through another. Reading that overflows the stack, which is why files
/// are compiled by a child.
fn names_a_package(bytes: &[u8], at: usize) -> bool {
    let near = &bytes[at.saturating_sub(40)..bytes.len().min(at + 7)];
    near.windows(7).any(|window| window == b"vouchd:")
}

#[test]
fn cut_off_plugin_is_damaged_wherever_it_is_cut() {
    let Some(plugin) = plugin() else { return };
    assert_eq!(verdict(&plugin, "all of it"), None);
    let mut damaged = 0;
    // The sections that matter most are at the beginning and the end.
    let lengths = (0..plugin.len()).filter(|at| *at < 1000 || plugin.len() - at < 1000 || at % 97 == 0);
    for length in lengths {
        damaged +=
            usize::from(matches!(verdict(&plugin[..length], &format!("{length} bytes")), Some(LoadError::Invalid(_))));
    }
    assert!(damaged > 3000, "{damaged}");
}

#[test]
fn wrong_byte_never_makes_the_loader_panic() {
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
        // Every second one where the interfaces are described: another parser reads that than the one that validates.
        let at = if round % 2 == 0 { next(plugin.len()) } else { plugin.len() - 1 - next(8000) };
        let value = u8::try_from(next(256)).unwrap();
        if names_a_package(&plugin, at) {
            continue;
        }
        bytes[at] = value;
        verdict(&bytes, &format!("byte {at:#x} is {value:#x}"));
    }
}
