//! Endless loops in the check, the start function, the allocator, and after the report.

use super::parts::{CHECK, SPIN, forever, post_return};
use super::{End, Hostile};
use crate::guest::{Guest, with_metadata};

pub(super) fn all() -> Vec<Hostile> {
    let body = |name, top: &str, body: &str| Hostile::new(name, End::Stopped, Guest::new(body).top(top).module());
    let start = |name, end, top: &str| Hostile::new(name, end, Guest::new("").top(top).module());
    const NOT_DONE: End = End::Refused(&["not done within", "took longer", "CPU", "could not be started"]);
    vec![
        body("loop", "", SPIN),
        body("loop by condition", "", "(loop (br_if 0 (i32.const 1)))"),
        body("loop by table", "", "(loop (br_table 0 0 0 (i32.const 7)))"),
        body("nested loops", "", "(loop (loop (loop (br 2))))"),
        body(
            "counts to two to the power of 64",
            "",
            "(local $n i64) (loop (local.set $n (i64.add (local.get $n) (i64.const 1)))
                (br_if 0 (i64.ne (local.get $n) (i64.const 0))))",
        ),
        body("loop of tail calls", "(func $t (return_call $t))", "(call $t)"),
        body("two that tail call each other", "(func $a (return_call $b)) (func $b (return_call $a))", "(call $a)"),
        body(
            "tail calls by table",
            "(type $v (func)) (table 1 funcref) (elem (i32.const 0) $f)
                (func $f (return_call_indirect (type $v) (i32.const 0)))",
            "(call $f)",
        ),
        body("loop of calls", "(func $n)", &forever("(call $n)")),
        body("loop of divisions", "", &forever("(drop (i64.div_u (i64.const -1) (i64.const 3)))")),
        body("loop of square roots", "", &forever("(drop (f64.sqrt (f64.const 2)))")),
        body("loop of vectors", "", &forever("(drop (f64x2.sqrt (f64x2.splat (f64.const 2))))")),
        body("fills memory forever", "", &forever("(memory.fill (i32.const 65536) (i32.const 1) (i32.const 400000))")),
        body(
            "copies memory forever",
            "",
            &forever("(memory.copy (i32.const 65536) (i32.const 70000) (i32.const 400000))"),
        ),
        body("asks the size of its memory forever", "", &forever("(drop (memory.size))")),
        body("grows its memory by nothing forever", "", &forever("(drop (memory.grow (i32.const 0)))")),
        body(
            "fills a table forever",
            "(table $t 9000 funcref)",
            &forever("(table.fill $t (i32.const 0) (ref.null func) (i32.const 9000))"),
        ),
        body(
            "copies a table forever",
            "(table $t 9000 funcref)",
            &forever("(table.copy $t $t (i32.const 0) (i32.const 1) (i32.const 8000))"),
        ),
        body(
            "calls twice as often at each depth",
            "(func $f (param i32) (if (local.get 0) (then
                (call $f (i32.sub (local.get 0) (i32.const 1))) (call $f (i32.sub (local.get 0) (i32.const 1))))))",
            "(call $f (i32.const 60))",
        ),
        Hostile::new("allocator that loops", End::Stopped, Guest::new("").realloc(SPIN).module()),
        Hostile::new("loops after its report", End::Stopped, Guest::new("").top(post_return(SPIN)).module()),
        start("start function that loops", NOT_DONE, "(func $s (loop (br 0))) (start $s)"),
        start("start function of tail calls", NOT_DONE, "(func $s (return_call $s)) (start $s)"),
        start(
            "start function that copies forever",
            NOT_DONE,
            &format!(
                "(func $s {}) (start $s)",
                forever("(memory.copy (i32.const 65536) (i32.const 70000) (i32.const 400000))")
            ),
        ),
        Hostile::new(
            "start function that logs forever",
            End::Contained(&["could not be started", "does not fit", "not done within"]),
            with_metadata(&format!(
                r#"(module (import "vouchd:check/log@0.1.0" "log" (func $log (param i32 i32 i32)))
                    (memory (export "memory") 1) (func $s (loop (call $log (i32.const 0) (i32.const 0) (i32.const 9)) (br 0)))
                    (start $s) {} {CHECK})"#,
                super::parts::REALLOC
            )),
        ),
        Hostile::new(
            "initializer that loops",
            End::Contained(&["not done within", "could not be started", "limits.cpu", "timed out", "took longer"]),
            Guest::new("").top(format!(r#"(func (export "_initialize") {SPIN})"#)).module(),
        ),
    ]
}
