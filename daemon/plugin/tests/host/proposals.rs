//! Files that use newer parts of WebAssembly: offered features run within their limits, missing ones are named.

use crate::common::{WIT, checker as guest, host, program as guest_program, reason, report, run, with_metadata};
use vouchd_config::Grants;
use vouchd_health::Verdict;
use vouchd_plugin::Host;

/// A checker with the fields `top` and a check that executes `body`.
fn checker(top: &str, body: &str) -> Vec<u8> {
    with_metadata(&text(top, body), WIT)
}

fn text(top: &str, body: &str) -> String {
    guest("0.1.0", top, body)
}

/// A program whose exit status is the value of `body`.
fn program(top: &str, body: &str) -> Vec<u8> {
    guest_program(top, &format!("(call $exit {body})"))
}

const BOX: &str = "(type $box (struct (field $value (mut i32))))";
const UNBOX: &str = "(struct.get $box $value (struct.new $box (i32.const 0)))";
const TAG: &str = "(tag $e (param i32))";
const CATCH: &str =
    "(block $caught (result i32) (try_table (catch $e $caught) (throw $e (i32.const 0))) (unreachable))";

async fn passes(host: &Host, bytes: &[u8], what: &str) {
    let plugin = host.load(bytes).unwrap_or_else(|error| panic!("{what}: {error}"));
    let outcome = run(host, &plugin, &[], &Grants::default()).await;
    assert_eq!(report(&outcome).verdict, Verdict::Pass, "{what}");
}

#[tokio::test]
async fn collected_objects_and_exceptions_run_in_checkers_and_programs() {
    let host = host();
    for (what, top, body) in [("objects", BOX, UNBOX), ("exceptions", TAG, CATCH)] {
        passes(&host, &checker(top, &format!("(drop {body})")), &format!("{what} in a checker")).await;
        passes(
            &host,
            &wat::parse_str(text(top, &format!("(drop {body})"))).unwrap(),
            &format!("{what} without metadata"),
        )
        .await;
        let yielding = r#"(import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))"#;
        let adapted = checker(&format!("{yielding} {top}"), &format!("(drop (call $yield)) (drop {body})"));
        passes(&host, &adapted, &format!("{what} beside WASI")).await;
        passes(&host, &program(top, body), &format!("{what} in a program")).await;
    }
    let wide = "(i64.add128 (i64.const 1) (i64.const 0) (i64.const 1) (i64.const 0)) drop drop";
    passes(&host, &checker("", wide), "wide arithmetic").await;
    passes(&host, &program("(memory $small 4096 (pagesize 1))", "(i32.const 0)"), "pages of one byte").await;
}

#[tokio::test]
async fn objects_are_bounded_by_the_memory_of_a_check() {
    let host = host();
    let top = "(type $bytes (array (mut i8)))
        (rec (type $list (struct (field (ref null $list)) (field (ref $bytes)))))
        (global $kept (mut (ref null $list)) (ref.null $list))";
    let keep = "(loop $again
        (global.set $kept (struct.new $list (global.get $kept) (array.new_default $bytes (i32.const 100000))))
        (br $again))";
    let hoarder = host.load(&checker(top, keep)).unwrap();
    let outcome = run(&host, &hoarder, &[], &Grants::default()).await;
    let said = reason(&outcome);
    assert!(said.contains("limits.memory"), "{said}");
    assert!(outcome.memory <= 16 << 20, "{} bytes", outcome.memory);

    let churn = "(local $n i32) (local.set $n (i32.const 2000)) (loop $again
        (drop (array.new_default $bytes (i32.const 100000)))
        (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))";
    let churner = format!("{top} (func $churn {churn})");
    passes(&host, &checker(&churner, "(call $churn)"), "200 MB of garbage in 16 MiB").await;
    let trapped = host.load(&checker(&churner, "(call $churn) (unreachable)")).unwrap();
    let outcome = run(&host, &trapped, &[], &Grants::default()).await;
    assert!(reason(&outcome).contains("panicked or aborted"), "{}", reason(&outcome));
}

#[tokio::test]
async fn uncaught_exception_is_an_error_that_says_so() {
    let host = host();
    for bytes in [checker(TAG, "(throw $e (i32.const 1))"), program(TAG, "(throw $e (i32.const 1))")] {
        let plugin = host.load(&bytes).unwrap();
        let outcome = run(&host, &plugin, &[], &Grants::default()).await;
        assert!(reason(&outcome).contains("threw an exception that nothing in it catches"), "{}", reason(&outcome));
    }
}

#[test]
fn missing_feature_is_named_in_every_kind_of_file() {
    let host = host();
    let shared = "(memory $shared 1 1 shared)";
    let legacy = "(func $f try catch_all end)";
    for (top, words) in [(shared, "uses threads (shared memory"), (legacy, "uses exceptions in their old form")] {
        for bytes in [checker(top, ""), wat::parse_str(text(top, "")).unwrap(), program(top, "(i32.const 0)")] {
            let error = host.load(&bytes).map(drop).expect_err("not offered").to_string();
            assert!(error.starts_with(words) && error.contains("does not offer"), "{error}");
        }
        let component = wat::parse_str(format!("(component (core module {top}))")).unwrap();
        let error = host.load(&component).map(drop).expect_err("not offered").to_string();
        assert!(error.starts_with(words), "{error}");
    }
    let cut = &checker(shared, "")[..200];
    let error = host.load(cut).map(drop).expect_err("cut off").to_string();
    assert!(error.starts_with("damaged or cut off"), "{error}");
}

#[test]
fn too_many_memories_or_tables_are_refused() {
    let host = host();
    for top in ["(memory 1)", "(table 1 funcref)"] {
        host.load(&program(&top.repeat(3), "(i32.const 0)")).map(drop).unwrap();
        let error = host.load(&program(&top.repeat(5), "(i32.const 0)")).map(drop).expect_err("too many").to_string();
        assert!(error.starts_with("too big: ") && error.ends_with("; build it with fewer"), "{error}");
    }
}

/// Appends a custom section that is no list of names.
fn with_bad_names(mut bytes: Vec<u8>, name: &str) -> Vec<u8> {
    let content = [&[u8::try_from(name.len()).unwrap()], name.as_bytes(), &[1, 0xff, 0xff, 0x7f, 0x2a]].concat();
    bytes.extend([0, u8::try_from(content.len()).unwrap()]);
    bytes.extend(content);
    bytes
}

#[tokio::test]
async fn malformed_name_section_is_ignored() {
    let host = host();
    let yielding = r#"(import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))"#;
    for (what, bytes) in [
        ("a module", checker("", "")),
        ("a module beside WASI", checker(yielding, "(drop (call $yield))")),
        ("a module without metadata", wat::parse_str(text("", "")).unwrap()),
        ("a program", program("", "(i32.const 0)")),
    ] {
        passes(&host, &with_bad_names(bytes, "name"), what).await;
    }
}

#[tokio::test]
async fn misuse_of_the_collector_ends_as_a_result_of_the_run() {
    let host = host();
    let list = "(rec (type $list (struct (field (mut (ref null $list))))))
        (type $bytes (array (mut i8))) (type $refs (array (mut (ref null $list))))
        (global $kept (mut (ref null $list)) (ref.null $list))";
    let long = "(local $n i32) (local.set $n (i32.const 150000)) (loop $again
        (global.set $kept (struct.new $list (global.get $kept)))
        (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (global.set $kept (ref.null $list))";
    let churn = "(local $n i32) (local.set $n (i32.const 500)) (loop $again
        (drop (array.new_default $bytes (i32.const 100000)))
        (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))";
    let ring = "(local $one (ref null $list)) (local $n i32) (local.set $n (i32.const 100000000)) (loop $again
        (local.set $one (struct.new $list (ref.null $list)))
        (struct.set $list 0 (local.get $one) (local.get $one))
        (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))";
    let functions = format!("{list} (func $long {long}) (func $churn {churn}) (func $ring {ring})");
    passes(&host, &checker(&functions, "(call $long) (call $churn)"), "a long list that is let go").await;
    let broken = [
        ("(drop (array.new_default $bytes (i32.const -1)))", "allocation size too large"),
        ("(drop (array.new_default $refs (i32.const 0x10000000)))", "limits.memory"),
        ("(drop (array.get_u $bytes (array.new_default $bytes (i32.const 4)) (i32.const 5)))", "out of bounds"),
        ("(drop (struct.get $list 0 (ref.null $list)))", "null"),
        ("(drop (ref.cast (ref i31) (struct.new $list (ref.null $list))))", "cast"),
        ("(call $ring)", "limits."),
    ];
    for (body, words) in broken {
        let plugin = host.load(&checker(&functions, body)).unwrap_or_else(|error| panic!("{body}: {error}"));
        let outcome = run(&host, &plugin, &[], &Grants::default()).await;
        assert!(reason(&outcome).contains(words), "{body}: {}", reason(&outcome));
    }
}
