//! Plugins that try to reach the target in their parameter `to`, each in one way. They pass only if they reach it.

use vouchd_tests::guest::{Guest, assemble};

/// The name and file of each plugin.
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

/// `reached` is an expression that is 1 if the plugin has reached its target. `TO` in it is the parameter, as address and
/// length.
fn guest(import: &str, reached: &str) -> Vec<u8> {
    // The parameters are a list of pairs of texts. The value is the second text of the first pair.
    let reached = reached.replace("TO", "(i32.load offset=8 (local.get 2)) (i32.load offset=12 (local.get 2))");
    let reached = format!("(func $reached (param i32 i32 i32 i32 i32) (result i32) {reached})");
    // The verdict is at 1028: 2 is a fail.
    let body = "(if (i32.eqz (call $reached (local.get 0) (local.get 1) (local.get 2) (local.get 3) (local.get 4)))
        (then (i32.store8 (i32.const 1028) (i32.const 2))))";
    Guest::new(body).top(format!("{import} {reached}")).module()
}

/// A program that opens a file through every descriptor that it could have, and looks at its environment.
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
            ;; One variable is allowed: the parameter.
            (call $exit (i32.le_u (i32.load (i32.const 64)) (i32.const 1)))))"#;
    assemble(text)
}
