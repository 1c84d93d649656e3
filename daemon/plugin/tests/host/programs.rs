//! WASI programs and modules without metadata as checks, which any language can produce.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::{WIT, checker, host, program as guest_program, reason, report, run, run_with};
use vouchd_config::{ExitCodes, Grants, Limits, grants::ProcessGrant};
use vouchd_health::{RunResult, Verdict};
use vouchd_plugin::{Host, Kind, Outcome, Plugin, Run};

const PREVIEW1: &str = r#"
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "args_get" (func $args (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "environ_sizes_get" (func $env_sizes (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "environ_get" (func $env (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_open"
        (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "sock_send" (func $send (param i32 i32 i32 i32 i32) (result i32)))"#;

const PRINT: &str = "
    (func $print (param $fd i32) (param $at i32) (param $len i32)
        (i32.store (i32.const 0) (local.get $at))
        (i32.store (i32.const 4) (local.get $len))
        (drop (call $write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8))))";

/// A program with the imports of [`PREVIEW1`] and these, and the function `$print`.
fn program(imports: &str, data: &str, body: &str) -> Vec<u8> {
    guest_program(&[PREVIEW1, imports, data, PRINT].concat(), body)
}

/// Prints a text and exits.
fn exiting(status: i32, printed: &str) -> Vec<u8> {
    let escaped: String = printed.bytes().map(|b| format!("\\{b:02x}")).collect();
    let body = format!(
        "(call $print (i32.const 1) (i32.const 1000) (i32.const {})) (call $exit (i32.const {status}))",
        printed.len()
    );
    program("", &format!("(data (i32.const 1000) \"{escaped}\")"), &body)
}

async fn run_coded(host: &Host, plugin: &Plugin, exit_codes: ExitCodes) -> Outcome {
    let (grants, limits) = (Grants::default(), Limits::default());
    let timeout = Duration::from_secs(2);
    host.run(
        plugin,
        Run { check: "test", params: &[], grants: &grants, limits: &limits, timeout, memo: Vec::new(), exit_codes },
    )
    .await
}

#[tokio::test]
async fn exit_status_is_the_verdict() {
    let host = host();
    let table = [
        (0, Verdict::Pass, Some(Verdict::Pass)),
        (1, Verdict::Fail, Some(Verdict::Warn)),
        (2, Verdict::Fail, Some(Verdict::Fail)),
        (3, Verdict::Fail, None),
        (125, Verdict::Fail, Some(Verdict::Fail)),
        (126, Verdict::Fail, Some(Verdict::Fail)),
        (134, Verdict::Fail, Some(Verdict::Fail)),
        (255, Verdict::Fail, Some(Verdict::Fail)),
    ];
    for (status, plain, nagios) in table {
        let plugin = host.load(&exiting(status, "DISK ok - 3 GB free | free=3GB;1;2\nmore\n")).unwrap();
        assert_eq!(plugin.kind(), Kind::Command);
        let outcome = run_coded(&host, &plugin, ExitCodes::Plain).await;
        let found = report(&outcome);
        assert_eq!((found.verdict, found.message.as_str()), (plain, "DISK ok - 3 GB free"), "{status}");
        assert_eq!((found.metrics[0].value, found.metrics[0].unit.as_str()), (3.0 * 1073741824.0, "B"));
        let outcome = run_coded(&host, &plugin, ExitCodes::Nagios).await;
        match nagios {
            Some(verdict) => assert_eq!(report(&outcome).verdict, verdict, "{status}"),
            None => assert_eq!(reason(&outcome), "DISK ok - 3 GB free"),
        }
    }
}

#[tokio::test]
async fn program_that_returns_passes() {
    let host = host();
    let plugin = host.load(&program("", "", "")).unwrap();
    let outcome = run(&host, &plugin, &[], &Grants::default()).await;
    assert_eq!((report(&outcome).verdict, report(&outcome).message.as_str()), (Verdict::Pass, "exit status 0"));
}

#[tokio::test]
async fn json_object_is_the_report() {
    let host = host();
    let plugin = host.load(&exiting(0, r#"{"verdict": "fault", "message": "split brain"}"#)).unwrap();
    let outcome = run(&host, &plugin, &[], &Grants::default()).await;
    assert_eq!((report(&outcome).verdict, report(&outcome).message.as_str()), (Verdict::Fault, "split brain"));
    let plugin = host.load(&exiting(0, "{\"verdict\": ")).unwrap();
    let outcome = run(&host, &plugin, &[], &Grants::default()).await;
    assert!(reason(&outcome).contains("report in JSON"), "{}", reason(&outcome));
}

#[tokio::test]
async fn parameters_are_arguments_and_environment() {
    let host = host();
    // Prints both buffers one after the other, with blanks for the zero bytes between words.
    let body = r"
        (local $len i32) (local $at i32)
        (drop (call $args_sizes (i32.const 16) (i32.const 20)))
        (drop (call $args (i32.const 100) (i32.const 1000)))
        (local.set $len (i32.load (i32.const 20)))
        (drop (call $env_sizes (i32.const 24) (i32.const 28)))
        (drop (call $env (i32.const 200) (i32.add (i32.const 1000) (local.get $len))))
        (local.set $len (i32.add (local.get $len) (i32.load (i32.const 28))))
        (loop
            (if (i32.eqz (i32.load8_u (i32.add (i32.const 1000) (local.get $at))))
                (then (i32.store8 (i32.add (i32.const 1000) (local.get $at)) (i32.const 32))))
            (local.set $at (i32.add (local.get $at) (i32.const 1)))
            (br_if 0 (i32.lt_u (local.get $at) (local.get $len))))
        (call $print (i32.const 1) (i32.const 1000) (local.get $len))";
    let plugin = host.load(&program("", "", body)).unwrap();
    let outcome = run(&host, &plugin, &[("port", "80"), ("odd", "a\0b")], &Grants::default()).await;
    assert_eq!(report(&outcome).message, "test port=80 odd=ab port=80 odd=ab");
}

#[tokio::test]
async fn program_reaches_nothing_of_the_host() {
    let host = host();
    let body = r#"
        (if (i32.eqz (call $open (i32.const 3) (i32.const 0) (i32.const 1000) (i32.const 6)
                (i32.const 0) (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 8))) (then unreachable))
        (if (i32.eqz (call $send (i32.const 3) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 8)))
            (then unreachable))"#;
    let plugin = host.load(&program("", "(data (i32.const 1000) \"passwd\")", body)).unwrap();
    let outcome = run(&host, &plugin, &[], &Grants::default()).await;
    assert_eq!(report(&outcome).verdict, Verdict::Pass);
}

const SIMPLE: &str = r#"
    (import "vouchd:check/simple@0.1.0" "process-count" (func $count (param i32 i32) (result i32)))
    (import "vouchd:check/simple@0.1.4" "tcp-connect" (func $connect (param i32 i32 i32) (result i32)))
    (import "vouchd:check/simple@0.1.0" "http-get" (func $get (param i32 i32 i32) (result i32)))
    (import "vouchd:check/log@0.1.0" "log" (func $log (param i32 i32 i32)))"#;

#[tokio::test]
async fn program_probes_only_what_was_granted() {
    let host = host();
    let data = r#"(data (i32.const 1000) "127.0.0.1:1") (data (i32.const 1100) "no-such-process") (data (i32.const 1200) "\ff")"#;
    let body = r#"
        (call $log (i32.const 2) (i32.const 1100) (i32.const 15))
        (if (i32.ne (call $count (i32.const 1100) (i32.const 15)) (i32.const 0)) (then unreachable))
        (if (i32.ne (call $connect (i32.const 1000) (i32.const 11) (i32.const 500)) (i32.const -3)) (then unreachable))
        (if (i32.ne (call $get (i32.const 1200) (i32.const 1) (i32.const 500)) (i32.const -7)) (then unreachable))"#;
    let plugin = host.load(&program(SIMPLE, data, body)).unwrap();
    assert_eq!(plugin.imports(), ["simple", "log"]);
    let mut grants = Grants { process: ProcessGrant::All, ..Grants::default() };
    grants.tcp.push("127.0.0.1:1".parse().unwrap());
    let outcome = run(&host, &plugin, &[], &grants).await;
    assert_eq!(report(&outcome).verdict, Verdict::Pass);
    assert_eq!(outcome.log[0].message, "no-such-process");

    let body = "(drop (call $connect (i32.const 1000) (i32.const 11) (i32.const 500)))";
    let plugin = host.load(&program(SIMPLE, data, body)).unwrap();
    let outcome = run(&host, &plugin, &[], &Grants::default()).await;
    assert!(reason(&outcome).contains(r#"allow = { tcp = ["127.0.0.1:1"] }"#), "{}", reason(&outcome));

    for (at, len) in [(-1, 2), (262_140, 100), (0, -1)] {
        let body = format!("(drop (call $connect (i32.const {at}) (i32.const {len}) (i32.const 5)))");
        let plugin = host.load(&program(SIMPLE, data, &body)).unwrap();
        let outcome = run(&host, &plugin, &[], &grants).await;
        assert!(reason(&outcome).contains("outside of the command's memory"), "{}", reason(&outcome));
    }
}

#[tokio::test]
async fn program_has_the_limits_of_every_plugin() {
    let host = host();
    let (grants, limits) = (Grants::default(), Limits { cpu: Duration::from_secs(5), ..Limits::default() });
    let timeout = Duration::from_millis(100);
    let poll = r#"(import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))"#;
    let sleep = "(i64.store (i32.const 1024) (i64.const 3600000000000))
        (drop (call $poll (i32.const 1000) (i32.const 2000) (i32.const 1) (i32.const 8)))";
    for (imports, body) in [("", "(loop (br 0))"), (poll, sleep)] {
        let plugin = host.load(&program(imports, "", body)).unwrap();
        let started = Instant::now();
        let outcome = run_with(&host, &plugin, &[], &grants, &limits, timeout).await;
        assert_eq!(outcome.result, RunResult::TimedOut { after: timeout });
        assert!(started.elapsed() < Duration::from_millis(900), "{:?}", started.elapsed());
    }
    let table = [
        ("(loop (drop (memory.grow (i32.const 16))) (br 0))", "limits.memory allows 16 MiB"),
        ("(loop (call $print (i32.const 1) (i32.const 0) (i32.const 60000)) (br 0))", "limits.cpu"),
        ("unreachable", "panicked or aborted"),
        (
            "(call $print (i32.const 1) (i32.const 0) (i32.const 60000))
             (call $print (i32.const 1) (i32.const 0) (i32.const 60000))",
            "limits.output = 65536",
        ),
    ];
    for (body, expected) in table {
        let plugin = host.load(&program("", "", body)).unwrap();
        let limits = Limits { cpu: Duration::from_millis(200), ..limits };
        let outcome = run_with(&host, &plugin, &[], &grants, &limits, Duration::from_secs(5)).await;
        assert!(reason(&outcome).contains(expected), "{body}: {}", reason(&outcome));
    }
}

#[test]
fn unavailable_import_of_a_program_is_named() {
    let table = [
        (
            r#"(import "vouchd:check/simple@0.2.0" "tcp-connect" (func (param i32 i32 i32) (result i32)))"#,
            "0.2.0, this daemon offers 0.1.0",
        ),
        (
            r#"(import "vouchd:check/simple" "tcp-connect" (func (param i32 i32 i32) (result i32)))"#,
            "without a version, this daemon offers 0.1.0",
        ),
        (
            r#"(import "vouchd:check/simple@0.1.0" "disk-free" (func (param i32 i32) (result i32)))"#,
            "needs `vouchd:check/simple@0.1.0#disk-free`",
        ),
        (r#"(import "vouchd:check/http@0.1.0" "fetch" (func (param i32 i32)))"#, "is not offered"),
        (r#"(import "env" "system" (func (param i32) (result i32)))"#, "needs `env#system`"),
        (
            r#"(import "vouchd:check/simple@0.1.0" "tcp-connect" (func (param i64) (result i32)))"#,
            "does not fit the contract",
        ),
    ];
    let host = host();
    for (import, expected) in table {
        let error = host.load(&program(import, "", "")).unwrap_err().to_string();
        assert!(error.contains(expected), "{import}: {error}");
    }
}

/// A checker without metadata whose answer is all zeros: `pass` with an empty message.
fn bare(version: &str, imports: &str, body: &str) -> Vec<u8> {
    wat::parse_str(checker(version, imports, body)).expect("the test's WAT")
}

#[tokio::test]
async fn module_without_metadata_gets_that_of_the_host() {
    let preview1 = r#"(import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))"#;
    let draw = "(if (call $random (i32.const 0) (i32.const 8)) (then unreachable))";
    let table = [
        ("0.1.0", "", ""),
        ("0.1.7", "", ""),
        ("0.1.0", preview1, draw),
        ("0.1.0", r#"(import "vouchd:check/memo@0.1.0" "set" (func (param i32 i32)))"#, ""),
    ];
    let host = host();
    for (version, imports, body) in table {
        let plugin = host.load(&bare(version, imports, body)).unwrap_or_else(|e| panic!("{version} {imports}: {e}"));
        assert_eq!(plugin.kind(), Kind::Module);
        let outcome = run(&host, &plugin, &[], &Grants::default()).await;
        assert_eq!(report(&outcome).verdict, Verdict::Pass, "{version} {imports}");
    }
    let error = host.load(&bare("0.2.0", "", "")).unwrap_err().to_string();
    assert!(error.contains("built against `vouchd:check/checker` 0.2.0, this daemon offers 0.1.0"), "{error}");
    let error = host.load(&bare("0.1.0", r#"(import "env" "f" (func))"#, "")).unwrap_err().to_string();
    assert!(error.contains("needs `env#f`"), "{error}");
    assert!(WIT.contains("package vouchd:check@0.1.0;"), "what the host replaces to embed another version");
}

/// A component with `wasi:cli/run`.
fn component(imports: &str, status: i32) -> Vec<u8> {
    let wat = format!(
        r#"(component
            {imports}
            (core module $m (func (export "run") (result i32) (i32.const {status})))
            (core instance $i (instantiate $m))
            (func $run (result (result)) (canon lift (core func $i "run")))
            (instance $cli (export "run" (func $run)))
            (export "wasi:cli/run@0.2.0" (instance $cli)))"#
    );
    wat::parse_str(wat).expect("the test's WAT")
}

#[tokio::test]
async fn component_that_is_a_program_passes_or_fails() {
    let host = host();
    for (imports, status, verdict) in [("", 0, Verdict::Pass), ("", 1, Verdict::Fail)] {
        let plugin = match host.load(&component(imports, status)) {
            Ok(plugin) => plugin,
            Err(error) => panic!("{imports}: {error}"),
        };
        assert_eq!(plugin.kind(), Kind::Command);
        let outcome = run(&host, &plugin, &[], &Grants::default()).await;
        assert_eq!(report(&outcome).verdict, verdict);
    }
}

const C_CHECK: &str = r#"
#include <stdio.h>
#include <stdlib.h>
int main(int argc, char **argv) {
    FILE *file = fopen("/etc/passwd", "r");
    const char *want = getenv("status");
    printf("C with %d arguments, %s | args=%d\n", argc, file ? "a file" : "no file", argc);
    return want ? atoi(want) : 0;
}
"#;

#[tokio::test]
async fn c_program_is_a_check() {
    let have = |path: &str| Path::new(path).exists();
    if !have("/usr/bin/clang-19") || !have("/usr/bin/wasm-ld-19") || !have("/usr/include/wasm32-wasi/stdio.h") {
        return vouchd_skip::skip(
            "no compiler of C for WebAssembly",
            "install the packages clang-19, lld-19, wasi-libc and libclang-rt-19-dev-wasm32",
        );
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("check.c"), C_CHECK).unwrap();
    let built = Command::new("clang-19")
        .args(["--target=wasm32-wasi", "-O2", "-s", "check.c", "-o", "check.wasm"])
        .current_dir(dir.path())
        .status()
        .unwrap();
    assert!(built.success(), "clang-19: {built}");
    let host = host();
    let plugin = host.load(&std::fs::read(dir.path().join("check.wasm")).unwrap()).unwrap();
    for (status, verdict) in [("0", Verdict::Pass), ("2", Verdict::Fail), ("200", Verdict::Fail)] {
        let outcome = run(&host, &plugin, &[("status", status)], &Grants::default()).await;
        let found = report(&outcome);
        assert_eq!((found.verdict, found.message.as_str()), (verdict, "C with 2 arguments, no file"), "{status}");
        assert_eq!(found.metrics[0].value, 2.0);
    }
}
