//! Plugins that try to reach what their parameter `to` names, each in one way. They pass only if they got in.

use vouchd_tests::corpus::with_metadata;

/// Name and file of each.
pub fn all() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        (
            "by-http",
            guest(
                r#"(import "vouchd:check/simple@0.1.0" "http-get" (func $get (param i32 i32 i32) (result i32)))"#,
                "(i32.ge_s (call $get TO (i32.const 500)) (i32.const 0))",
            ),
        ),
        (
            "by-tcp",
            guest(
                r#"(import "vouchd:check/simple@0.1.0" "tcp-connect" (func $connect (param i32 i32 i32) (result i32)))"#,
                "(i32.ge_s (call $connect TO (i32.const 500)) (i32.const 0))",
            ),
        ),
        (
            "by-stream",
            guest(
                r#"(import "vouchd:check/stream@0.1.0" "connect-tcp" (func $connect (param i32 i32 i32 i32)))"#,
                "(call $connect TO (i32.const 500) (i32.const 4000)) (i32.eqz (i32.load8_u (i32.const 4000)))",
            ),
        ),
        (
            "by-unix",
            guest(
                r#"(import "vouchd:check/stream@0.1.0" "connect-unix" (func $connect (param i32 i32 i32 i32)))"#,
                "(call $connect TO (i32.const 500) (i32.const 4000)) (i32.eqz (i32.load8_u (i32.const 4000)))",
            ),
        ),
        (
            "by-file",
            guest(
                r#"(import "vouchd:check/files@0.1.0" "read" (func $read (param i32 i32 i32 i32)))"#,
                "(call $read TO (i32.const 100) (i32.const 4000))
                (i32.and (i32.eqz (i32.load8_u (i32.const 4000))) (i32.eq (i32.load8_u (i32.const 4004)) (i32.const 1)))",
            ),
        ),
        (
            "by-name",
            guest(
                r#"(import "vouchd:check/dns@0.1.0" "resolve" (func $resolve (param i32 i32 i32 i32)))"#,
                "(call $resolve TO (i32.const 500) (i32.const 4000)) (i32.eqz (i32.load8_u (i32.const 4000)))",
            ),
        ),
        ("by-program", program()),
    ]
}

/// `got_in` is 1 if it got in; `TO` in it is the parameter as pointer and length.
fn guest(import: &str, got_in: &str) -> Vec<u8> {
    // The parameters are a list of pairs of texts; the value of the first is its second text.
    let got_in = got_in.replace("TO", "(i32.load offset=8 (local.get 2)) (i32.load offset=12 (local.get 2))");
    let text = format!(
        r#"(module
            {import}
            (memory (export "memory") 4)
            (global $top (mut i32) (i32.const 65536))
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                (local $at i32)
                (local.set $at (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
                (global.set $top (i32.add (local.get $at) (local.get 3)))
                (local.get $at))
            (func $got-in (param i32 i32 i32 i32 i32) (result i32) {got_in})
            (func (export "vouchd:check/checker@0.1.0#check") (param i32 i32 i32 i32 i32) (result i32)
                (if (i32.eqz (call $got-in (local.get 0) (local.get 1) (local.get 2) (local.get 3) (local.get 4)))
                    (then (i32.store8 (i32.const 1028) (i32.const 2))))
                (i32.const 1024)))"#
    );
    with_metadata(&text)
}

/// Opens a file through every descriptor that it could have been given, and has a look at its environment.
fn program() -> Vec<u8> {
    let text = r#"(module
        (import "wasi_snapshot_preview1" "path_open"
            (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 1)
        (data (i32.const 256) "forbidden")
        (func (export "_start")
            (local $fd i32)
            (loop $next
                (if (i32.eqz (call $open (local.get $fd) (i32.const 1) (i32.const 256) (i32.const 9) (i32.const 0)
                        (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 64)))
                    (then (call $exit (i32.const 0))))
                (local.set $fd (i32.add (local.get $fd) (i32.const 1)))
                (br_if $next (i32.lt_u (local.get $fd) (i32.const 64))))
            (drop (call $environ (i32.const 64) (i32.const 68)))
            ;; One variable, which is the parameter.
            (call $exit (i32.le_u (i32.load (i32.const 64)) (i32.const 1)))))"#;
    wat::parse_str(text).expect("a test's own text")
}
