//! A plugin that is loaded keeps no descriptor open, however often it runs: there may be thousands.

mod common;

use common::{host, report, run};
use vouchd_config::Grants;
use vouchd_tests::corpus::with_metadata;

fn guest(number: usize) -> Vec<u8> {
    with_metadata(&format!(
        r#"(module
            (memory (export "memory") 2)
            (data (i32.const 2048) "what the memory begins with, {number}")
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 4096))
            (func (export "vouchd:check/checker@0.1.0#check") (param i32 i32 i32 i32 i32) (result i32)
                (i32.const 1024)))"#
    ))
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[tokio::test]
async fn a_loaded_plugin_keeps_no_descriptor_open() {
    const PLUGINS: usize = 40;
    let host = host();
    // What the first one opens once is not counted.
    let first = host.load(&guest(PLUGINS)).unwrap();
    report(&run(&host, &first, &[], &Grants::default()).await);
    let before = open_descriptors();
    let mut plugins = Vec::new();
    for number in 0..PLUGINS {
        let plugin = host.load(&guest(number)).unwrap();
        report(&run(&host, &plugin, &[], &Grants::default()).await);
        plugins.push(plugin);
    }
    let after = open_descriptors();
    assert!(after < before + PLUGINS / 2, "{before} descriptors before {PLUGINS} plugins, {after} after");
}
