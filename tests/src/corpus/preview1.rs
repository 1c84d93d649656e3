//! Plugins that call WASI: preview 1 through the adapter, and preview 2 directly.

use super::parts::{SPIN, forever, times, with_wasi};
use super::{End, Hostile};
use crate::guest::Guest;

pub(super) fn all() -> Vec<Hostile> {
    [adapted(), direct()].concat()
}

fn adapted() -> Vec<Hostile> {
    let guest = |name, end, import: &str, body: &str| {
        let top = format!("(import \"wasi_snapshot_preview1\" {import})");
        Hostile::new(name, end, Guest::new(body).top(top).module())
    };
    const EXIT: &str = r#""proc_exit" (func $exit (param i32))"#;
    const WRITE: &str = r#""fd_write" (func $write (param i32 i32 i32 i32) (result i32))"#;
    const WORDS: &[&str] = &["limits.cpu", "panicked", "broke the contract", "timed out", "limits.memory"];
    vec![
        guest("exits with 0", End::Broken(&["exited with status 0"]), EXIT, "(call $exit (i32.const 0))"),
        guest("exits with 255", End::Broken(&["exited with status"]), EXIT, "(call $exit (i32.const 255))"),
        guest(
            "yields forever",
            End::Stopped,
            r#""sched_yield" (func $yield (result i32))"#,
            &forever("(drop (call $yield))"),
        ),
        guest(
            "draws numbers forever",
            End::Contained(WORDS),
            r#""random_get" (func $draw (param i32 i32) (result i32))"#,
            &forever("(drop (call $draw (i32.const 65536) (i32.const 400000)))"),
        ),
        guest(
            "asks the time forever",
            End::Stopped,
            r#""clock_time_get" (func $clock (param i32 i64 i32) (result i32))"#,
            &forever("(drop (call $clock (i32.const 0) (i64.const 0) (i32.const 3000)))"),
        ),
        guest(
            "sleeps forever",
            End::Stopped,
            r#""poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32))"#,
            &format!(
                "(i64.store (i32.const 4024) (i64.const 9000000000000000)) {}",
                forever("(drop (call $poll (i32.const 4000) (i32.const 5000) (i32.const 1) (i32.const 6000)))")
            ),
        ),
        guest(
            "reads forever",
            End::Stopped,
            r#""fd_read" (func $read (param i32 i32 i32 i32) (result i32))"#,
            &forever("(drop (call $read (i32.const 0) (i32.const 3000) (i32.const 1) (i32.const 3100)))"),
        ),
        guest(
            "prints forever",
            End::Stopped,
            WRITE,
            &format!(
                "(i32.store (i32.const 3104) (i32.const 65536)) {}",
                forever("(drop (call $write (i32.const 1) (i32.const 3100) (i32.const 1) (i32.const 3200)))")
            ),
        ),
        Hostile::new(
            "allocator that calls the adapter that calls the allocator",
            End::Contained(&["cannot leave component instance", "crashed", "broke the contract", "recursed", "panicked"]),
            Guest::new("(drop (call $environ (i32.const 0) (i32.const 100)))")
                .top(
                    r#"(import "wasi_snapshot_preview1" "environ_get" (func $environ (param i32 i32) (result i32)))
                    (import "wasi_snapshot_preview1" "args_get" (func $args (param i32 i32) (result i32)))"#,
                )
                .realloc("(drop (call $environ (i32.const 0) (i32.const 100))) (drop (call $args (i32.const 0) (i32.const 100)))")
                .module(),
        ),
        Hostile::new(
            "allocator that loops for the adapter",
            End::Contained(&["limits.cpu", "timed out", "not done within", "could not be started", "took longer"]),
            Guest::new("(drop (call $environ (i32.const 0) (i32.const 100)))")
                .top(r#"(import "wasi_snapshot_preview1" "environ_get" (func $environ (param i32 i32) (result i32)))"#)
                .realloc(SPIN)
                .module(),
        ),
    ]
}

fn direct() -> Vec<Hostile> {
    let guest = |name, end, top: &str, body: &str| Hostile::new(name, end, with_wasi(&Guest::new(body).top(top).wat()));
    const SLEEP: &str = r#"(import "wasi:clocks/monotonic-clock@0.2.0" "subscribe-duration" (func $sleep (param i64) (result i32)))
        (import "wasi:io/poll@0.2.0" "[method]pollable.block" (func $block (param i32)))
        (import "wasi:io/poll@0.2.0" "poll" (func $poll (param i32 i32 i32)))"#;
    const RANDOM: &str = r#"(import "wasi:random/random@0.2.0" "get-random-bytes" (func $draw (param i64 i32)))"#;
    const STDOUT: &str = r#"(import "wasi:cli/stdout@0.2.0" "get-stdout" (func $stdout (result i32)))
        (import "wasi:io/streams@0.2.0" "[method]output-stream.write-zeroes" (func $zeroes (param i32 i64 i32)))"#;
    const SOCKET: &str =
        r#"(import "wasi:sockets/tcp-create-socket@0.2.0" "create-tcp-socket" (func $socket (param i32 i32)))"#;
    const EXIT: &str = r#"(import "wasi:cli/exit@0.2.0" "exit" (func $exit (param i32)))"#;
    const FULL: End = End::Broken(&["full", "capacity", "broke the contract", "limits.cpu"]);
    vec![
        guest("makes a million timers", FULL, SLEEP, &times(1_000_000, "(drop (call $sleep (i64.const 1)))")),
        guest("blocks on a timer of 500 years", End::Stopped, SLEEP, "(call $block (call $sleep (i64.const -1)))"),
        guest(
            "polls nothing",
            End::Broken(&["broke the contract", "panicked", "poll"]),
            SLEEP,
            "(call $poll (i32.const 0) (i32.const 0) (i32.const 5000))",
        ),
        guest(
            "polls a list of all its memory",
            End::Broken(&["broke the contract", "fuel"]),
            SLEEP,
            "(call $poll (i32.const 0) (i32.const 131072) (i32.const 5000))",
        ),
        guest(
            "draws as many numbers as there are",
            End::Broken(&["exceeds limit"]),
            RANDOM,
            "(call $draw (i64.const -1) (i32.const 5000))",
        ),
        guest(
            "draws 60 MiB of numbers",
            End::Broken(&["exceeds limit"]),
            RANDOM,
            "(call $draw (i64.const 62914560) (i32.const 5000))",
        ),
        guest(
            "prints as many zeros as there are",
            End::Broken(&["broke the contract", "check_write"]),
            STDOUT,
            "(call $zeroes (call $stdout) (i64.const -1) (i32.const 5000))",
        ),
        guest("takes hold of its output without end", FULL, STDOUT, &forever("(drop (call $stdout))")),
        Hostile::new(
            "makes a thousand sockets",
            End::Reports(&["done"]),
            with_wasi(
                &Guest::new(&times(
                    1000,
                    "(call $socket (i32.const 0) (i32.const 5000))
                    (if (i32.eqz (i32.load8_u (i32.const 5000))) (then unreachable))",
                ))
                .top(SOCKET)
                .fails()
                .wat(),
            ),
        ),
        guest("exits successfully", End::Broken(&["exited with status 0"]), EXIT, "(call $exit (i32.const 0))"),
        guest("exits with a failure", End::Broken(&["exited with status 1"]), EXIT, "(call $exit (i32.const 1))"),
        guest("exits with neither", End::Broken(&["broke the contract"]), EXIT, "(call $exit (i32.const 2))"),
    ]
}
