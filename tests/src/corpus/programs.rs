//! WASI programs: what they print, read and call, and how they end.

use super::parts::{LOG, SPIN, forever, times};
use super::{End, Hostile};
use crate::guest::assemble;

const EXIT: &str = r#"(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))"#;
const WRITE: &str =
    r#"(import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))"#;
const POLL: &str =
    r#"(import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))"#;
const TOO_MUCH: End = End::Broken(&["printed more than limits.output"]);
const BROKE: End = End::Broken(&["broke the contract", "crashed", "panicked"]);

/// A program with 16 pages of memory, and an `iovec` of 64 KiB at 3100.
fn program(name: &'static str, end: End, top: &str, body: &str) -> Hostile {
    Hostile::new(
        name,
        end,
        assemble(&format!(
            r#"(module {top} (memory (export "memory") 16)
                (data (i32.const 3100) "\00\00\01\00\00\00\01\00") (func (export "_start") {body}))"#
        )),
    )
}

fn imported(name: &str, params: &str) -> String {
    format!(r#"(import "wasi_snapshot_preview1" "{name}" (func $call (param {params}) (result i32)))"#)
}

pub(super) fn all() -> Vec<Hostile> {
    [ends(), output(), system(), texts()].concat()
}

fn ends() -> Vec<Hostile> {
    let exit = |name, status: &str, end| program(name, end, EXIT, &format!("(call $exit (i32.const {status}))"));
    let prints = |name, text: &str, status: i32, end| {
        let escaped: String = text.bytes().map(|byte| format!("\\{byte:02x}")).collect();
        let top = format!("{EXIT} {WRITE} (data (i32.const 4000) \"{escaped}\")");
        let body = format!(
            "(i32.store (i32.const 3100) (i32.const 4000)) (i32.store (i32.const 3104) (i32.const {}))
             (drop (call $write (i32.const 1) (i32.const 3100) (i32.const 1) (i32.const 3200)))
             (call $exit (i32.const {status}))",
            text.len()
        );
        program(name, end, &top, &body)
    };
    const NO_JSON: End = End::Broken(&["begins like a report in JSON"]);
    vec![
        exit("program that exits with -1", "-1", End::Reports(&["exit status -1"])),
        exit("program that exits with 134", "134", End::Reports(&["exit status 134"])),
        exit("program that exits with the largest status", "0x7fffffff", End::Reports(&["exit status 2147483647"])),
        program("program that loops", End::Stopped, "", SPIN),
        program("program that traps", End::Broken(&["panicked or aborted"]), "", "unreachable"),
        program(
            "program that recurses",
            End::Broken(&["recursed too deeply"]),
            "(func $f (call $f) (drop (i32.const 0)))",
            "(call $f)",
        ),
        program(
            "program that grows",
            End::Broken(&["limits.memory allows"]),
            "",
            "(loop (drop (memory.grow (i32.const 1))) (br 0))",
        ),
        program(
            "program whose start function loops",
            End::Refused(&["not done within", "took longer", "CPU", "could not be started"]),
            "(func $s (loop (br 0))) (start $s)",
            "",
        ),
        prints(
            "program that reports pass and fails",
            "{\"verdict\": \"pass\"}",
            1,
            End::Broken(&["one of them is wrong"]),
        ),
        prints("program that prints half a report", "{\"verdict\": \"pass\"", 0, NO_JSON),
        prints("program that prints a verdict of its own", "{\"verdict\": \"PASS\"}", 0, NO_JSON),
        prints(
            "program that prints a report a thousand levels deep",
            &format!("{{\"message\": {}", "[".repeat(20_000)),
            0,
            NO_JSON,
        ),
        prints(
            "program that prints a number too large",
            "{\"adjust\": 99999999999999999999999999, \"verdict\": \"pass\"}",
            0,
            NO_JSON,
        ),
        Hostile::new(
            "program whose start takes a parameter",
            End::Contained(&["type", "_start", "broke the contract", "does not fit"]),
            assemble(r#"(module (memory (export "memory") 1) (func (export "_start") (param i32)))"#),
        ),
        Hostile::new(
            "program whose start is a memory",
            End::Contained(&["_start", "broke the contract", "does not export", "does not fit"]),
            assemble(r#"(module (memory (export "_start") 1))"#),
        ),
    ]
}

fn output() -> Vec<Hostile> {
    let write =
        |fd: u32| format!("(drop (call $write (i32.const {fd}) (i32.const 3100) (i32.const 1) (i32.const 3200)))");
    vec![
        program("program that prints forever", End::Stopped, WRITE, &forever(&write(1))),
        program("program that complains forever", End::Stopped, WRITE, &forever(&write(2))),
        program("program that prints a GiB", TOO_MUCH_OR_STOPPED, WRITE, &times(16384, &write(1))),
        program("program that prints 256 KiB", TOO_MUCH, WRITE, &times(4, &write(1))),
        program(
            "program that prints from out of bounds",
            BROKE,
            WRITE,
            "(i32.store (i32.const 3100) (i32.const -1)) (i32.store (i32.const 3104) (i32.const -1))
             (if (call $write (i32.const 1) (i32.const 3100) (i32.const 1) (i32.const 3200)) (then unreachable))",
        ),
        program(
            "program that prints four billion slices",
            BROKE,
            WRITE,
            "(if (call $write (i32.const 1) (i32.const 0) (i32.const -1) (i32.const 3200)) (then unreachable))",
        ),
        program(
            "program that prints to descriptors that it does not have",
            End::Broken(&["panicked or aborted"]),
            WRITE,
            &format!(
                "{} unreachable",
                times(60_000, "(drop (call $write (local.get $n) (i32.const 4000) (i32.const 1) (i32.const 3200)))")
            ),
        ),
    ]
}

/// A GiB of output may exceed the time limit first.
const TOO_MUCH_OR_STOPPED: End = End::Contained(&["printed more than limits.output", "limits.cpu", "timed out"]);

fn system() -> Vec<Hostile> {
    let no_thing = End::Broken(&["panicked or aborted"]);
    vec![
        program(
            "program that reads its input forever",
            End::Stopped,
            &imported("fd_read", "i32 i32 i32 i32"),
            &forever("(drop (call $call (i32.const 0) (i32.const 3100) (i32.const 1) (i32.const 3200)))"),
        ),
        program(
            "program that asks for 65535 directories",
            no_thing,
            &imported("fd_prestat_get", "i32 i32"),
            &format!(
                "{} unreachable",
                times(65_535, "(if (i32.eqz (call $call (local.get $n) (i32.const 3200))) (then (loop (br 0))))")
            ),
        ),
        program(
            "program that opens the password file",
            no_thing,
            &format!(
                "{} (data (i32.const 4000) \"/etc/passwd\")",
                imported("path_open", "i32 i32 i32 i32 i32 i64 i64 i32 i32")
            ),
            &format!(
                "{} unreachable",
                times(
                    1000,
                    "(if (i32.eqz (call $call (local.get $n) (i32.const 1) (i32.const 4000) (i32.const 11) (i32.const 0)
                        (i64.const 2) (i64.const 2) (i32.const 0) (i32.const 3200))) (then (loop (br 0))))"
                )
            ),
        ),
        program(
            "program that renumbers its descriptors",
            no_thing,
            &imported("fd_renumber", "i32 i32"),
            &format!("{} unreachable", times(65_535, "(drop (call $call (i32.const 1) (i32.mul (local.get $n) (i32.const 65537))))")),
        ),
        program(
            "program that closes what it has and asks on",
            End::Stopped,
            &imported("fd_close", "i32"),
            "(local $n i32)
             (loop (drop (call $call (local.get $n))) (local.set $n (i32.add (local.get $n) (i32.const 1))) (br 0))",
        ),
        program(
            "program that accepts connections forever",
            End::Stopped,
            &imported("sock_accept", "i32 i32 i32"),
            &forever("(drop (call $call (i32.const 3) (i32.const 0) (i32.const 3200)))"),
        ),
        program(
            "program that asks the time forever",
            End::Stopped,
            &imported("clock_time_get", "i32 i64 i32"),
            &forever("(drop (call $call (i32.const 0) (i64.const 0) (i32.const 3200)))"),
        ),
        program(
            "program that asks clocks that do not exist",
            BROKE,
            &imported("clock_time_get", "i32 i64 i32"),
            "(if (call $call (i32.const 99) (i64.const 0) (i32.const 3200)) (then unreachable))",
        ),
        program(
            "program that sleeps forever",
            End::Stopped,
            POLL,
            "(i64.store (i32.const 4024) (i64.const -1))
             (drop (call $poll (i32.const 4000) (i32.const 5000) (i32.const 1) (i32.const 6000)))",
        ),
        program(
            "program that sleeps on twenty thousand clocks",
            End::Contained(&["fuel", "limits.cpu", "broke the contract", "capacity", "full", "timed out"]),
            POLL,
            "(local $n i32)
             (loop (i64.store (i32.add (i32.const 24) (i32.mul (local.get $n) (i32.const 48))) (i64.const 9000000000))
                 (local.set $n (i32.add (local.get $n) (i32.const 1))) (br_if 0 (i32.lt_u (local.get $n) (i32.const 20000))))
             (if (call $poll (i32.const 0) (i32.const 0) (i32.const 20000) (i32.const 1000000)) (then unreachable))",
        ),
        program(
            "program that polls four billion things",
            BROKE,
            POLL,
            "(if (call $poll (i32.const 0) (i32.const 0) (i32.const -1) (i32.const 6000)) (then unreachable))",
        ),
        program(
            "program that polls without end",
            End::Stopped,
            POLL,
            &forever("(drop (call $poll (i32.const 4000) (i32.const 5000) (i32.const 1) (i32.const 6000)))"),
        ),
        program(
            "program that draws 4 GiB of numbers",
            End::Broken(&["exceeds limit", "broke the contract", "panicked"]),
            &imported("random_get", "i32 i32"),
            "(if (call $call (i32.const 0) (i32.const -1)) (then unreachable))",
        ),
        program(
            "program that draws numbers forever",
            End::Stopped,
            &imported("random_get", "i32 i32"),
            &forever("(drop (call $call (i32.const 4096) (i32.const 60000)))"),
        ),
        program(
            "program that wants its arguments out of bounds",
            BROKE,
            &imported("args_get", "i32 i32"),
            "(if (call $call (i32.const -8) (i32.const -8)) (then unreachable))",
        ),
        program(
            "program that wants a system call",
            End::Refused(&["needs `env#system`"]),
            r#"(import "env" "system" (func (param i32) (result i32)))"#,
            "",
        ),
        program(
            "program that wants a function of no WASI",
            End::Refused(&["does not fit", "needs", "wasi_snapshot_preview1"]),
            r#"(import "wasi_snapshot_preview1" "fork" (func (result i32)))"#,
            "",
        ),
        program(
            "program that wants a function of another type",
            End::Refused(&["does not fit", "incompatible"]),
            r#"(import "wasi_snapshot_preview1" "proc_exit" (func (param f64)))"#,
            "",
        ),
    ]
}

/// Texts that a program passes to host functions as address and length.
fn texts() -> Vec<Hostile> {
    vec![
        program(
            "program that logs forever",
            End::Stopped,
            LOG,
            &forever("(call $log (i32.const 1) (i32.const 0) (i32.const 65536))"),
        ),
        program(
            "program that logs 4 GiB",
            End::Broken(&["outside of the command's memory", "panicked"]),
            LOG,
            "(call $log (i32.const 1) (i32.const 1048000) (i32.const -1)) unreachable",
        ),
        program(
            "program that logs out of bounds",
            End::Broken(&["outside of the command's memory"]),
            LOG,
            "(call $log (i32.const 1) (i32.const -1) (i32.const 9))",
        ),
        Hostile::new(
            "program without a memory that logs",
            End::Broken(&["exports no memory"]),
            assemble(&format!(
                r#"(module {LOG} (func (export "_start") (call $log (i32.const 1) (i32.const 0) (i32.const 9))))"#
            )),
        ),
        Hostile::new(
            "program whose memory is a function",
            End::Broken(&["exports no memory"]),
            assemble(&format!(
                r#"(module {LOG} (func (export "memory")) (func (export "_start") (call $log (i32.const 1) (i32.const 0) (i32.const 9))))"#
            )),
        ),
    ]
}
