//! Too much memory, too many table elements, too deep a stack, and allocators that lie.

use super::parts::{LOG, many, post_return};
use super::{End, Hostile};
use crate::guest::Guest;

const MEMORY: &[&str] = &["limits.memory allows"];
const TABLE: &[&str] = &["limits.table_elements"];
const BROKE: &[&str] = &["broke the contract"];
const DEEP: &[&str] = &["recursed too deeply"];

pub(super) fn all() -> Vec<Hostile> {
    [growth(), recursion(), allocators()].concat()
}

fn growth() -> Vec<Hostile> {
    let guest = |name, end, top: &str, body: &str| Hostile::new(name, end, Guest::new(body).top(top).module());
    vec![
        guest("grows its memory at once", End::Broken(MEMORY), "", "(drop (memory.grow (i32.const 60000)))"),
        guest("grows its memory beyond 4 GiB", End::Broken(MEMORY), "", "(drop (memory.grow (i32.const 65535)))"),
        guest("grows its memory in steps", End::Broken(MEMORY), "", "(loop (drop (memory.grow (i32.const 1))) (br 0))"),
        guest(
            "fills all the memory that it can have",
            End::Broken(MEMORY),
            "",
            "(local $at i32)
             (drop (memory.grow (i32.const 247)))
             (memory.fill (i32.const 65536) (i32.const 255) (i32.const 16580608))
             (drop (memory.grow (i32.const 200)))",
        ),
        guest(
            "starts by growing",
            End::Refused(&["could not be started: out of memory"]),
            "(func $s (drop (memory.grow (i32.const 4000)))) (start $s)",
            "",
        ),
        guest(
            "grows a table",
            End::Broken(TABLE),
            "(table $t 1 funcref)",
            "(drop (table.grow $t (ref.null func) (i32.const 2000000000)))",
        ),
        guest(
            "grows a table in steps",
            End::Broken(TABLE),
            "(table $t 1 funcref)",
            "(loop (drop (table.grow $t (ref.null func) (i32.const 100))) (br 0))",
        ),
        guest("has a huge table", End::Refused(&["too big"]), "(table 200000000 funcref)", ""),
        guest(
            "has fifty tables",
            End::Refused(&["too big", "limits.table_elements", "tables"]),
            &many(50, "(table 1000 funcref)"),
            "",
        ),
        guest(
            "has a table of foreign references",
            End::Refused(&["too big", "gc types are disallowed"]),
            "(table 4000000 externref)",
            "",
        ),
        guest(
            "has ten memories",
            End::Refused(&["too big", "multiple memories", "memories", "does not fit"]),
            &many(10, "(memory 1)"),
            "",
        ),
        guest("has a shared memory", End::Refused(&["thread", "does not fit", "damaged"]), "(memory 1 2 shared)", ""),
        guest("has a memory of 64 bit", End::Refused(&["64", "does not fit", "damaged"]), "(memory i64 1)", ""),
        guest(
            "needs 4 GiB from the start",
            End::Refused(&["too big", "memories", "does not fit"]),
            "(memory 65536)",
            "",
        ),
    ]
}

fn recursion() -> Vec<Hostile> {
    let deep = |locals: usize| {
        format!(
            "(func $deep (param i32) (result i32) (local {}) (i32.add (call $deep (local.get 0)) (i32.const 1)))",
            many(locals, "i64 ")
        )
    };
    let guest = |name, top: &str, body: &str| Hostile::new(name, End::Broken(DEEP), Guest::new(body).top(top).module());
    vec![
        guest("recurses", &deep(0), "(drop (call $deep (i32.const 0)))"),
        guest("recurses with a thousand locals", &deep(1000), "(drop (call $deep (i32.const 0)))"),
        guest(
            "recurses in pairs",
            "(func $a (call $b) (drop (i32.const 0))) (func $b (call $a) (drop (i32.const 0)))",
            "(call $a)",
        ),
        guest(
            "recurses by table",
            "(type $v (func)) (table 1 funcref) (elem (i32.const 0) $f)
                (func $f (call_indirect (type $v) (i32.const 0)) (drop (i32.const 0)))",
            "(call $f)",
        ),
        guest(
            "recurses with a thousand results",
            &format!(
                "(func $r (result {}) (call $r) {} {})",
                many(500, "i64 "),
                many(500, "(drop)"),
                many(500, "(i64.const 1)")
            ),
            &format!("(call $r) {}", many(500, "(drop)")),
        ),
        Hostile::new(
            "recurses at its start",
            End::Refused(&["could not be started: the plugin recursed"]),
            Guest::new("").top("(func $f (call $f) (drop (i32.const 0))) (start $f)").module(),
        ),
    ]
}

fn allocators() -> Vec<Hostile> {
    let guest = |name, end, realloc: &str| Hostile::new(name, end, Guest::new("").realloc(realloc).module());
    const CALLS_OUT: &[&str] = &["cannot leave component instance", "crashed", "broke the contract"];
    vec![
        guest("allocates out of bounds", End::Broken(BROKE), "(return (i32.const -16))"),
        guest("allocates at the end of memory", End::Broken(BROKE), "(return (i32.const 524284))"),
        guest("allocates misaligned", End::Broken(BROKE), "(return (i32.const 2049))"),
        guest("allocator that traps", End::Broken(&["panicked or aborted"]), "unreachable"),
        guest(
            "allocator that recurses",
            End::Broken(DEEP),
            "(return (i32.add (i32.const 8) (call $realloc (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8))))",
        ),
        guest("allocator that grows", End::Broken(MEMORY), "(loop (drop (memory.grow (i32.const 64))) (br 0))"),
        guest(
            "allocator that divides by zero",
            End::Broken(&["crashed"]),
            "(return (i32.div_u (i32.const 1) (i32.const 0)))",
        ),
        Hostile::new(
            "allocator that logs",
            End::Broken(CALLS_OUT),
            Guest::new("").top(LOG).realloc("(call $log (i32.const 1) (i32.const 0) (i32.const 4))").module(),
        ),
        Hostile::new(
            "allocates everything at the same place",
            End::Reports(&[""]),
            Guest::new("").realloc("(return (i32.const 65536))").fails().module(),
        ),
        Hostile::new(
            "allocates over its own report",
            End::Broken(&["broke the contract", "gave up without saying why", "limits.output"]),
            Guest::new("(i32.store8 (i32.const 1024) (i32.const 9))").realloc("(return (i32.const 1024))").module(),
        ),
        Hostile::new(
            "traps after its report",
            End::Broken(&["panicked"]),
            Guest::new("").top(post_return("unreachable")).module(),
        ),
        Hostile::new(
            "recurses after its report",
            End::Broken(DEEP),
            Guest::new("")
                .top(format!("(func $f (call $f) (drop (i32.const 0))) {}", post_return("(call $f)")))
                .module(),
        ),
        Hostile::new(
            "logs after its report",
            End::Broken(CALLS_OUT),
            Guest::new("")
                .top(format!("{LOG} {}", post_return("(call $log (i32.const 1) (i32.const 0) (i32.const 4))")))
                .module(),
        ),
    ]
}
