//! The checker with the real plugin host.

use std::fs;
use std::path::{Path, PathBuf};

use vouchd_config::ProcessGrant;

use super::*;

/// A WASI command that does nothing. Each number gives different bytes.
fn program(number: u8) -> Vec<u8> {
    let mut bytes =
        b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x07\x0a\x01\x06_start\0\0\x0a\x04\x01\x02\0\x0b".to_vec();
    bytes.extend([0, 3, 1, b'n', number]);
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn second_start_compiles_none_of_a_hundred_plugins() {
    let scene = tempfile::tempdir().unwrap();
    let plugin_dir = scene.path().join("plugins");
    fs::create_dir(&plugin_dir).unwrap();
    for number in 0..100 {
        fs::write(plugin_dir.join(format!("p{number}.wasm")), program(number)).unwrap();
    }
    let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    let cache = vouchd_ipc::cache::prepare(&scene.path().join("cache"), uid, gid).unwrap();
    for is_cached in [false, true] {
        let (channel, socket) = Router::connect();
        let start =
            |init: &Init, checks: &[Check]| host_runner::start_with(vouchd_plugin::Compiler::Here, init, checks);
        let checker = tokio::spawn(serve(channel, start));
        let router = Router { socket, checker, directory: tempfile::tempdir().unwrap() };
        let begun = std::time::Instant::now();
        router.send(&ToChecker::Init(Init {
            plugin_dir: plugin_dir.clone(),
            builtin_plugin_dir: scene.path().join("none"),
            plugin_keys: Vec::new(),
            cache: Some(cache.clone()),
        }));
        router.send(&ToChecker::Start);
        for _ in 0..100 {
            let state = router.plugin().await;
            let loaded = state.loaded.unwrap_or_else(|| panic!("{:?}", state.error));
            assert_eq!(loaded.compiled_in.is_none(), is_cached, "{}", state.name);
        }
        println!("100 plugins, compiled before: {is_cached}: {:?}", begun.elapsed());
        router.ended().await.unwrap();
    }
}

/// A built plugin. `None`, and the test is skipped, unless `cargo xtask build` was run.
fn built(file: &str) -> Option<PathBuf> {
    let directory = std::env::var_os("VOUCHD_PLUGINS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/plugins"), PathBuf::from);
    let found = Some(directory.join(file)).filter(|path| path.is_file());
    if found.is_none() {
        vouchd_skip::skip(&format!("no {file} in target/plugins or $VOUCHD_PLUGINS"), "run `cargo xtask build`");
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn process_plugin_reports_at_once_that_its_process_has_died() {
    let Some(plugin) = built("process.wasm") else {
        return;
    };
    let programs = tempfile::tempdir().unwrap();
    let program = programs.path().join("vouchd-watched");
    fs::copy("/bin/sleep", &program).unwrap();
    let mut child = std::process::Command::new(&program).arg("60").spawn().unwrap();

    let mut watched = check("c", "process", HOUR);
    watched.params.push(("name".to_owned(), "vouchd-watched".to_owned()));
    watched.grants.process = ProcessGrant::All;
    let mut denied = check("denied", "process", HOUR);
    denied.params = watched.params.clone();
    let router = Router::start_real(&plugin, vec![watched, denied]).await;

    for _ in 0..2 {
        let done = router.run().await;
        match (done.check.as_str(), &done.result) {
            ("c", RunResult::Report(report)) => assert_eq!(report.verdict, Verdict::Pass, "{done:?}"),
            ("denied", RunResult::Error { reason }) => assert!(reason.contains("allow"), "{done:?}"),
            _ => panic!("{done:?}"),
        }
    }
    child.kill().unwrap();
    let died = std::time::Instant::now();
    let done = router.run().await;
    let took = died.elapsed();
    assert!(matches!(&done.result, RunResult::Report(report) if report.verdict == Verdict::Fail), "{done:?}");
    assert!(took < Duration::from_millis(500), "reported after {took:?}");
    child.wait().unwrap();
    router.ended().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn file_plugin_reports_at_once_that_its_file_exists() {
    let Some(plugin) = built("file.wasm") else { return };
    let directory = tempfile::tempdir().unwrap();
    let flag = directory.path().join("flag").to_str().unwrap().to_owned();
    let mut check = check("c", "file", HOUR);
    check.params.push(("path".to_owned(), flag.clone()));
    check.grants.files.push(flag.parse().unwrap());
    let router = Router::start_real(&plugin, vec![check]).await;
    let verdict = |done: &RunDone| match &done.result {
        RunResult::Report(report) => report.verdict,
        other => panic!("{other:?}"),
    };
    assert_eq!(verdict(&router.run().await), Verdict::Fail);
    router.silent_for(Duration::from_millis(150)).await;
    fs::write(&flag, "x").unwrap();
    let made = std::time::Instant::now();
    let mut done = router.run().await;
    // The first run may come between the creation of the file and the write.
    while verdict(&done) != Verdict::Pass {
        done = router.run().await;
    }
    assert!(made.elapsed() < Duration::from_secs(60), "a run because of the change rather than the interval");
    fs::remove_file(&flag).unwrap();
    while verdict(&done) != Verdict::Fail {
        done = router.run().await;
    }
    router.ended().await.unwrap();
}
