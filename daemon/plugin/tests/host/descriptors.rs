//! Of possibly thousands of plugins, only those that run keep a descriptor open.

use crate::common::{WIT, checker, host, is_alone, report, run, with_metadata};
use vouchd_config::Grants;

fn guest(number: usize) -> Vec<u8> {
    let data = format!(r#"(data (i32.const 2048) "what the memory begins with, {number}")"#);
    with_metadata(&checker("0.1.0", &data, ""), WIT)
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[tokio::test]
async fn plugin_keeps_a_descriptor_only_from_its_first_run_until_it_is_dropped() {
    const PLUGINS: usize = 40;
    // It counts the descriptors of the process.
    if !is_alone("descriptors::plugin_keeps_a_descriptor_only_from_its_first_run_until_it_is_dropped") {
        return;
    }
    let host = host();
    // Descriptors that the first plugin opens once for all are not counted.
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
