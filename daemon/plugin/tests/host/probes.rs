//! Probes as a guest calls them: the bounds, records and refusals of whole runs.

use std::os::unix::net::UnixListener;
use std::thread;
use std::time::Duration;

use crate::common::{host, reason, reporting, run, run_with};
use vouchd_config::{Grants, Limits};
use vouchd_health::RunResult;

const PATH_AT: usize = 2000;

/// A guest that imports a function which takes a path, with the path as its data.
fn calling(import: &str, path: &str, body: &str) -> Vec<u8> {
    let top = format!("{import} (data (i32.const {PATH_AT}) \"{path}\")");
    let body = body.replace("PATH", &format!("(i32.const {PATH_AT}) (i32.const {})", path.len()));
    reporting(0, "went on", &top, &body)
}

const READ: &str = r#"(import "vouchd:check/files@0.1.0" "read" (func $read (param i32 i32 i32 i32)))"#;
const CONNECT: &str = r#"(import "vouchd:check/stream@0.1.0" "connect-unix" (func $connect (param i32 i32 i32 i32)))
    (import "vouchd:check/stream@0.1.0" "[resource-drop]connection" (func $close (param i32)))"#;

/// Accepts connections and keeps them open.
fn keep_connections(listener: UnixListener) {
    thread::spawn(move || {
        let mut kept = Vec::new();
        // Not `collect`: the iterator claims usize::MAX connections, for which there is no room.
        for connection in listener.incoming() {
            kept.push(connection);
        }
    });
}

#[tokio::test]
async fn file_is_read_as_granted_and_recorded() {
    let host = host();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("flag").to_str().unwrap().to_owned();
    let plugin = host.load(&calling(READ, &path, "(call $read PATH (i32.const 100) (i32.const 4000))")).unwrap();
    assert_eq!(plugin.imports(), ["files"]);
    let grants = Grants { files: vec![path.parse().unwrap()], ..Grants::default() };
    for (content, answer) in [(None, "no such file"), (Some("up"), "2 bytes")] {
        if let Some(content) = content {
            std::fs::write(&path, content).unwrap();
        }
        let outcome = run(&host, &plugin, &[], &grants).await;
        assert!(matches!(outcome.result, RunResult::Report(_)), "{:?}", outcome.result);
        assert_eq!(
            (outcome.probes[0].what.as_str(), outcome.probes[0].answer.as_str()),
            (&*format!("read {path}"), answer)
        );
    }
    let outcome = run(&host, &plugin, &[], &Grants::default()).await;
    assert!(reason(&outcome).contains(&format!("allow = {{ files = [\"{path}\"] }}")), "{}", reason(&outcome));
}

#[tokio::test]
async fn connection_carries_no_more_than_the_limit_of_its_check() {
    let host = host();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.sock").to_str().unwrap().to_owned();
    let listener = UnixListener::bind(&path).unwrap();
    keep_connections(listener);
    let top = format!(
        r#"{CONNECT} (import "vouchd:check/stream@0.1.0" "[method]connection.send" (func $send (param i32 i32 i32 i32)))"#
    );
    let body = "(call $connect PATH (i32.const 0) (i32.const 4000))
        (call $send (i32.load (i32.const 4004)) (i32.const 8192) (i32.const 1025) (i32.const 4100))";
    let plugin = host.load(&calling(&top, &path, body)).unwrap();
    let grants = Grants { unix: vec![path.parse().unwrap()], ..Grants::default() };
    let outcome = run(&host, &plugin, &[], &grants).await;
    assert!(matches!(outcome.result, RunResult::Report(_)), "{:?}", outcome.result);
    let limits = Limits { probe_bytes: 1024, ..Limits::default() };
    let outcome = run_with(&host, &plugin, &[], &grants, &limits, Duration::from_secs(2)).await;
    assert!(reason(&outcome).contains("limits.probe_bytes of this check lets a probe carry at most 1024 bytes"));
}

#[tokio::test]
async fn open_connections_are_limited() {
    let host = host();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.sock").to_str().unwrap().to_owned();
    let listener = UnixListener::bind(&path).unwrap();
    keep_connections(listener);
    let grants = Grants { unix: vec![path.parse().unwrap()], ..Grants::default() };
    let connect = "(call $connect PATH (i32.const 0) (i32.const 4000))";
    let close = "(call $close (i32.load (i32.const 4004)))";

    let closing = host.load(&calling(CONNECT, &path, &[connect, close].concat().repeat(9))).unwrap();
    let outcome = run(&host, &closing, &[], &grants).await;
    assert!(matches!(outcome.result, RunResult::Report(_)), "{:?}", outcome.result);
    assert_eq!(outcome.probes.len(), 9);

    let keeping = host.load(&calling(CONNECT, &path, &connect.repeat(5))).unwrap();
    let outcome = run(&host, &keeping, &[], &grants).await;
    assert!(reason(&outcome).contains("limits.connections = 4"), "{}", reason(&outcome));

    let outcome = run(&host, &keeping, &[], &Grants::default()).await;
    assert!(reason(&outcome).contains(&format!("allow = {{ unix = [\"{path}\"] }}")), "{}", reason(&outcome));
}

#[tokio::test]
async fn links_addresses_and_the_clock_need_no_grant() {
    let host = host();
    let top = r#"(import "vouchd:check/network@0.1.0" "addresses" (func $addresses (param i32)))
        (import "vouchd:check/clock@0.1.0" "now" (func $now (result i64)))"#;
    let body = "(call $addresses (i32.const 4000))
        (if (i64.lt_u (call $now) (i64.const 1700000000000)) (then unreachable))";
    let plugin = host.load(&reporting(0, "fine", top, body)).unwrap();
    let outcome = run(&host, &plugin, &[], &Grants::default()).await;
    assert!(matches!(outcome.result, RunResult::Report(_)), "{:?}", outcome.result);
    assert_eq!(outcome.probes[0].what, "addresses");
}

#[tokio::test]
async fn guest_sees_only_the_granted_environment() {
    let host = host();
    // Traps unless there is exactly one variable of the length of `A=bcd`, with its zero.
    let top = r#"(import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))"#;
    let body = "(drop (call $sizes (i32.const 4000) (i32.const 4004)))
        (if (i32.ne (i32.load (i32.const 4000)) (i32.const 1)) (then unreachable))
        (if (i32.ne (i32.load (i32.const 4004)) (i32.const 6)) (then unreachable))";
    let plugin = host.load(&reporting(0, "fine", top, body)).unwrap();
    let env = [("A".to_owned(), "bcd".to_owned())].into();
    let outcome = run(&host, &plugin, &[], &Grants { env, ..Grants::default() }).await;
    assert!(matches!(outcome.result, RunResult::Report(_)), "{:?}", outcome.result);
    let outcome = run(&host, &plugin, &[], &Grants::default()).await;
    assert!(reason(&outcome).contains("unreachable"), "{}", reason(&outcome));
}
