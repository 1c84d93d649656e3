//! Plugins that misbehave, by mistake or on purpose: they are contained, never pass, and get a reason.

use std::time::{Duration, Instant};

use crate::common::{WIT, checker, failing, host, reason, report, reporting, run, run_with, with_metadata};
use vouchd_config::{Grants, Limits};
use vouchd_health::{Report, RunResult, Verdict};
use vouchd_plugin::{CacheKey, CacheSettings, HostSettings, Kind, LogLevel, Origin};

#[tokio::test]
async fn report_arrives_unchanged() {
    let host = host();
    let plugin = host.load(&reporting(2, "HTTP 500", "", "")).unwrap();
    assert_eq!(plugin.kind(), Kind::Module);
    let outcome = run(&host, &plugin, &[], &Grants::default()).await;
    let expected = Report { verdict: Verdict::Fail, message: "HTTP 500".to_owned(), adjust: None, metrics: Vec::new() };
    assert_eq!(outcome.result, RunResult::Report(expected));
    assert_eq!(outcome.memory, 8 * 65536);
}

#[tokio::test]
async fn error_of_a_plugin_is_the_reason() {
    let host = host();
    let plugin = host.load(&failing("params.url: missing", "", "")).unwrap();
    let outcome = run(&host, &plugin, &[], &Grants::default()).await;
    assert_eq!(reason(&outcome), "params.url: missing");
}

#[tokio::test]
async fn crash_is_an_error_that_names_the_trap() {
    let deep = "(func $deep (param i32) (result i32) (i32.add (call $deep (local.get 0)) (i32.const 1)))";
    let table: [(&str, &str, &str); 6] = [
        ("", "unreachable", "panicked or aborted"),
        (deep, "(drop (call $deep (i32.const 0)))", "recursed too deeply"),
        ("", "(drop (i32.load (i32.const 0x7fffffff)))", "out of bounds memory access"),
        ("", "(drop (i32.div_u (i32.const 1) (i32.const 0)))", "divide by zero"),
        ("", "(drop (memory.grow (i32.const 1000)))", "limits.memory allows 16 MiB"),
        ("", "(loop (drop (memory.grow (i32.const 1))) (br 0))", "out of memory"),
    ];
    let host = host();
    for (top, body, expected) in table {
        let plugin = host.load(&reporting(0, "all is well", top, body)).unwrap();
        let outcome = run(&host, &plugin, &[], &Grants::default()).await;
        assert!(reason(&outcome).contains(expected), "{body}: {:?}", outcome.result);
    }
}

#[tokio::test]
async fn endless_loop_ends_at_the_timeout() {
    let host = host();
    let plugin = host.load(&reporting(0, "", "", "(loop (br 0))")).unwrap();
    // Long enough to get some time of a busy processor.
    let timeout = Duration::from_secs(1);
    let limits = Limits { cpu: Duration::from_secs(60), ..Limits::default() };
    let started = Instant::now();
    let outcome = run_with(&host, &plugin, &[], &Grants::default(), &limits, timeout).await;
    assert_eq!(outcome.result, RunResult::TimedOut { after: timeout });
    assert!(started.elapsed() < timeout + Duration::from_secs(2), "{:?}", started.elapsed());
    assert!(outcome.cpu > Duration::from_millis(5), "{:?}", outcome.cpu);
}

#[tokio::test]
async fn exceeding_the_cpu_limit_is_an_error() {
    let host = host();
    let plugin = host.load(&reporting(0, "", "", "(loop (br 0))")).unwrap();
    let limits = Limits { cpu: Duration::from_millis(50), ..Limits::default() };
    let outcome = run_with(&host, &plugin, &[], &Grants::default(), &limits, Duration::from_secs(10)).await;
    assert!(reason(&outcome).contains("limits.cpu = 50 ms"), "{:?}", outcome.result);
}

#[tokio::test]
async fn others_run_while_one_computes() {
    let host = host();
    let spinning = host.load(&reporting(0, "", "", "(loop (br 0))")).unwrap();
    let fine = host.load(&reporting(0, "fine", "", "")).unwrap();
    let (grants, limits) = (Grants::default(), Limits { cpu: Duration::from_secs(60), ..Limits::default() });
    let spin = run_with(&host, &spinning, &[], &grants, &limits, Duration::from_secs(2));
    let others = async {
        let started = Instant::now();
        for _ in 0..3 {
            let outcome = run(&host, &fine, &[], &grants).await;
            assert!(matches!(outcome.result, RunResult::Report(_)), "{:?}", outcome.result);
        }
        started.elapsed()
    };
    let (spun, elapsed) = tokio::join!(spin, others);
    assert!(matches!(spun.result, RunResult::TimedOut { .. }));
    assert!(elapsed < Duration::from_secs(1), "{elapsed:?}");
}

#[tokio::test]
async fn run_leaves_nothing_behind_for_the_next() {
    let host = host();
    let body = "(if (i32.load (i32.const 8)) (then unreachable)) (i32.store (i32.const 8) (i32.const 1))";
    let plugin = host.load(&reporting(0, "fresh", "", body)).unwrap();
    for _ in 0..50 {
        let outcome = run(&host, &plugin, &[], &Grants::default()).await;
        assert!(matches!(outcome.result, RunResult::Report(_)), "{:?}", outcome.result);
    }
}

const LOG: &str = r#"(import "vouchd:check/log@0.1.0" "log" (func $log (param i32 i32 i32)))"#;

#[tokio::test]
async fn flood_of_log_lines_is_cut() {
    let host = host();
    let body = "(local $n i32) (loop
        (call $log (i32.const 1) (i32.const 0) (i32.const 100000))
        (local.set $n (i32.add (local.get $n) (i32.const 1)))
        (br_if 0 (i32.lt_u (local.get $n) (i32.const 100))))";
    let plugin = host.load(&reporting(0, "noisy", LOG, body)).unwrap();
    let limits = Limits { log_lines: 5, ..Limits::default() };
    let outcome = run_with(&host, &plugin, &[], &Grants::default(), &limits, Duration::from_secs(5)).await;
    assert!(matches!(outcome.result, RunResult::Report(_)), "{:?}", outcome.result);
    assert_eq!(outcome.log.len(), 6);
    assert!(outcome.log.iter().all(|l| l.message.len() <= 1024));
    assert!(outcome.log[5].message.contains("95 more lines dropped"), "{:?}", outcome.log[5]);
}

#[tokio::test]
async fn last_error_line_explains_a_crash() {
    let host = host();
    let top = format!(r#"{LOG} (data (i32.const 2000) "panicked at check.rs:7")"#);
    let body = "(call $log (i32.const 3) (i32.const 2000) (i32.const 22)) unreachable";
    let plugin = host.load(&reporting(0, "", &top, body)).unwrap();
    let outcome = run(&host, &plugin, &[], &Grants::default()).await;
    assert!(reason(&outcome).ends_with("its last words: panicked at check.rs:7"), "{}", reason(&outcome));
    assert_eq!(outcome.log[0].level, LogLevel::Error);
}

#[tokio::test]
async fn denied_probe_is_an_error_whatever_the_plugin_reports() {
    let top = r#"(import "vouchd:check/simple@0.1.0" "process-count" (func $count (param i32 i32) (result i32)))
        (data (i32.const 2000) "nginx")"#;
    let body = "(drop (call $count (i32.const 2000) (i32.const 5)))";
    let host = host();
    for verdict in 0..4 {
        let plugin = host.load(&reporting(verdict, "as I please", top, body)).unwrap();
        assert_eq!(plugin.imports(), ["simple"]);
        let outcome = run(&host, &plugin, &[], &Grants::default()).await;
        let line = r#"allow = { process = ["nginx"] }"#;
        assert!(reason(&outcome).contains(line), "{}", reason(&outcome));
        assert!(outcome.probes[0].answer.starts_with("denied"), "{:?}", outcome.probes);
    }
    let plugin = host.load(&failing("no count", top, body)).unwrap();
    let outcome = run(&host, &plugin, &[], &Grants::default()).await;
    assert!(reason(&outcome).starts_with("no count: "), "{}", reason(&outcome));
    assert!(reason(&outcome).contains("process = [\"nginx\"]"), "{}", reason(&outcome));
}

#[tokio::test]
async fn probes_of_a_run_are_limited() {
    let top = r#"(import "vouchd:check/simple@0.1.0" "tcp-connect" (func $connect (param i32 i32 i32) (result i32)))
        (data (i32.const 2000) "127.0.0.1:1")"#;
    let body =
        "(loop (br_if 0 (i32.ne (i32.const -1) (call $connect (i32.const 2000) (i32.const 11) (i32.const 50)))))";
    let host = host();
    let plugin = host.load(&reporting(2, "stopped", top, body)).unwrap();
    let mut grants = Grants::default();
    grants.tcp.push("127.0.0.1:1".parse().unwrap());
    let outcome = run(&host, &plugin, &[], &grants).await;
    assert!(reason(&outcome).contains("limits.probes = 64"), "{}", reason(&outcome));
    assert_eq!(outcome.probes.len(), 64);
    assert_eq!(outcome.probes[0].answer, "refused");
}

#[test]
fn unusable_file_is_refused_with_a_reason() {
    let newer = WIT.replace("@0.1.0", "@0.2.0");
    let bytes = reporting(0, "", "", "");
    let core = |text: &str| wat::parse_str(text).unwrap();
    let table: Vec<(&str, Vec<u8>, &str)> = vec![
        ("a script", b"#!/bin/sh".to_vec(), "not a WebAssembly file"),
        ("nothing", Vec::new(), "an empty file"),
        ("half a module", bytes[..bytes.len() / 2].to_vec(), "damaged or cut off"),
        ("no check", core("(module (func (export \"check\")))"), "it exports `check`"),
        ("an empty component", core("(component)"), "it exports nothing"),
        ("a newer contract", with_metadata(&checker("0.2.0", "", ""), &newer), "0.2.0, this daemon offers 0.1.0"),
        (
            "a foreign import",
            core("(component (import \"acme:db/query@1.0.0\" (instance)))"),
            "needs `acme:db/query@1.0.0`",
        ),
        (
            "an import of a newer contract",
            core("(component (import \"vouchd:check/http@0.3.0\" (instance)))"),
            "`vouchd:check/http` 0.3.0, this daemon offers 0.1.0",
        ),
        (
            "too much memory",
            with_metadata(
                &checker("0.1.0", "", "")
                    .replace("(memory (export \"memory\") 8)", "(memory (export \"memory\") 2000)"),
                WIT,
            ),
            "too big",
        ),
        ("a start that traps", reporting(0, "", "(func $s unreachable) (start $s)", ""), "could not be started"),
        (
            "a wrong type",
            with_metadata(&checker("0.1.0", "", ""), &WIT.replace("adjust: option<s16>", "adjust: option<s32>")),
            "does not fit the contract",
        ),
    ];
    let host = host();
    for (name, bytes, expected) in table {
        let error = host.load(&bytes).expect_err(name).to_string();
        assert!(error.contains(expected), "{name}: {error}");
    }
}

#[test]
fn endless_start_function_is_refused() {
    let host = host();
    let endless = reporting(0, "", "(func $s (loop (br 0))) (start $s)", "");
    let error = host.load(&endless).unwrap_err().to_string();
    assert!(error.contains("computed for longer than limits.cpu = 500 ms allows"), "{error}");
}

#[test]
fn prefix_of_a_plugin_never_breaks_the_host() {
    let host = host();
    let bytes = reporting(0, "fine", LOG, "");
    for end in (0..bytes.len()).step_by(37) {
        assert!(host.load(&bytes[..end]).is_err(), "the first {end} bytes of {}", bytes.len());
    }
    host.load(&bytes).unwrap();
}

#[tokio::test]
async fn module_with_wasi_preview_1_runs_and_its_output_is_logged() {
    let host = host();
    let top = r#"(import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ (param i32 i32) (result i32)))
        (data (i32.const 3000) "hello\n")
        (data (i32.const 3100) "\b8\0b\00\00\06\00\00\00")"#;
    let body = "(drop (call $write (i32.const 1) (i32.const 3100) (i32.const 1) (i32.const 3200)))
        (drop (call $environ (i32.const 3300) (i32.const 3304)))
        (if (i32.load (i32.const 3300)) (then unreachable))";
    let plugin = host.load(&reporting(1, "printed", top, body)).unwrap();
    let outcome = run(&host, &plugin, &[], &Grants::default()).await;
    assert!(matches!(outcome.result, RunResult::Report(_)), "{:?}", outcome.result);
    let lines: Vec<_> = outcome.log.iter().map(|l| (l.level, l.message.as_str())).collect();
    assert_eq!(lines, [(LogLevel::Info, "hello")]);
}

#[tokio::test]
async fn memo_is_kept_unless_the_run_is_an_error() {
    let top = r#"(import "vouchd:check/memo@0.1.0" "set" (func $set (param i32 i32)))"#;
    let table = [
        (reporting(0, "", top, "(call $set (i32.const 0) (i32.const 3))"), Some(3), None),
        (reporting(0, "", "", ""), None, None),
        (failing("gave up", top, "(call $set (i32.const 0) (i32.const 3))"), None, Some("gave up")),
        (reporting(0, "", top, "(call $set (i32.const 0) (i32.const 4097))"), None, Some("at most 4096")),
    ];
    let host = host();
    for (bytes, kept, error) in table {
        let plugin = host.load(&bytes).unwrap();
        let outcome = run(&host, &plugin, &[], &Grants::default()).await;
        assert_eq!(outcome.memo.as_ref().map(Vec::len), kept);
        match error {
            Some(text) => assert!(reason(&outcome).contains(text), "{}", reason(&outcome)),
            None => assert!(matches!(outcome.result, RunResult::Report(_)), "{:?}", outcome.result),
        }
    }
}

#[tokio::test]
async fn compiled_code_is_cached_and_an_unusable_cache_costs_only_time() {
    let dir = tempfile::tempdir().unwrap();
    let with = |directory: &std::path::Path| {
        let cache = CacheSettings { directory: directory.to_owned(), key: CacheKey([1; 32]) };
        vouchd_plugin::Host::new(HostSettings { cache: Some(cache), slots: 2, ..HostSettings::default() }).unwrap()
    };
    let plugins = [reporting(0, "fine", "", ""), wat::parse_str("(module (func (export \"_start\")))").unwrap()];
    for bytes in &plugins {
        let first = with(dir.path()).load(bytes).unwrap();
        assert!(matches!(first.origin(), Origin::Compiled { .. }));
        let host = with(dir.path());
        let again = host.load(bytes).unwrap();
        assert_eq!((again.origin(), again.sha256(), again.kind()), (Origin::Cached, first.sha256(), first.kind()));
        assert_eq!((again.imports(), again.contract()), (first.imports(), first.contract()));
        report(&run(&host, &again, &[], &Grants::default()).await);
    }
    for entry in dir.path().read_dir().unwrap() {
        std::fs::write(entry.unwrap().path(), "damaged").unwrap();
    }
    let origin = |directory: &std::path::Path| with(directory).load(&plugins[0]).unwrap().origin();
    assert!(matches!(origin(dir.path()), Origin::Compiled { .. }), "damaged");
    assert_eq!(origin(dir.path()), Origin::Cached, "and replaced");
    assert!(matches!(origin(&dir.path().join("absent")), Origin::Compiled { .. }));
}

#[tokio::test]
async fn exceeded_limit_is_named() {
    let connect = r#"(import "vouchd:check/simple@0.1.0" "tcp-connect" (func $connect (param i32 i32 i32) (result i32)))
        (data (i32.const 3000) "127.0.0.1:1")"#;
    let calls = "(drop (call $connect (i32.const 3000) (i32.const 11) (i32.const 50)))";
    let defaults = Limits::default();
    let table = [
        (reporting(0, &"x".repeat(1500), "", ""), Limits { output: 1024, ..defaults }, "limits.output allows 1024"),
        (reporting(0, "", connect, calls), Limits { connections: 0, ..defaults }, "limits.connections = 0"),
        (
            reporting(0, "", "(table 200 funcref)", ""),
            Limits { table_elements: 100, ..defaults },
            "limits.table_elements",
        ),
        (reporting(0, "", "", ""), Limits { memory: 65536, ..defaults }, "limits.memory allows 64 KiB"),
    ];
    let mut grants = Grants::default();
    grants.tcp.push("127.0.0.1:1".parse().unwrap());
    let host = host();
    for (bytes, limits, expected) in table {
        let plugin = host.load(&bytes).unwrap();
        let outcome = run_with(&host, &plugin, &[], &grants, &limits, Duration::from_secs(2)).await;
        assert!(reason(&outcome).contains(expected), "{}", reason(&outcome));
    }
}

#[tokio::test]
async fn demanding_check_gets_what_its_limits_allow() {
    let demanding = Limits { memory: 64 << 20, table_elements: 50_000, ..Limits::default() };
    let bytes = reporting(0, "big", "(table 40000 funcref)", "(drop (memory.grow (i32.const 800)))");
    assert!(host().load(&bytes).unwrap_err().to_string().starts_with("too big"));
    let settings = HostSettings { slots: 2, ..HostSettings::fitting([&Limits::default(), &demanding]) };
    let host = vouchd_plugin::Host::new(settings).unwrap();
    let plugin = host.load(&bytes).unwrap();
    let outcome = run_with(&host, &plugin, &[], &Grants::default(), &demanding, Duration::from_secs(2)).await;
    assert!(matches!(outcome.result, RunResult::Report(_)), "{:?}", outcome.result);
    assert_eq!(outcome.memory, 808 * 65536);
}
