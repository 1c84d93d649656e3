//! Of the thousands of plugins that there may be, only those that run keep a descriptor open.

mod common;

use common::{host, report, run};
use vouchd_config::Grants;
use vouchd_tests::guest::with_metadata;

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
async fn a_plugin_keeps_a_descriptor_from_its_first_run_on_and_none_before_or_after() {
    const PLUGINS: usize = 40;
    let host = host();
    // What the first one opens once is not counted.
    let first = host.load(&guest(PLUGINS)).unwrap();
    report(&run(&host, &first, &[], &Grants::default()).await);
    let before = open_descriptors();
    let plugins: Vec<_> = (0..PLUGINS).map(|number| host.load(&guest(number)).unwrap()).collect();
    let loaded = open_descriptors();
    assert!(loaded < before + PLUGINS / 2, "{before} descriptors before {PLUGINS} plugins, {loaded} after");
    for plugin in &plugins {
        report(&run(&host, plugin, &[], &Grants::default()).await);
    }
    let used = open_descriptors();
    assert!(used <= before + PLUGINS + 2, "more than one each: {before}, {used}");
    drop(plugins);
    let dropped = open_descriptors();
    assert!(
        dropped < before + PLUGINS / 2,
        "{before} descriptors before {PLUGINS} plugins, {dropped} when they are gone"
    );
}
