//! Files that make a compiler slow or large. Those that are loaded report a fail.

use std::fmt::Write as _;

use super::parts::many;
use super::{End, Hostile};
use crate::guest::{Guest, assemble};

/// It is loaded, or the error names what was too much.
const BOUNDED: &[&str] = &["done", "took longer", "compil", "too big", "damaged", "does not fit", "memory"];

/// Files that take minutes or gigabytes to compile.
pub(super) const BOMBS: [&str; 5] = [
    "a hundred thousand functions",
    "a hundred thousand functions that compute",
    "fifty branches with 5,000 targets",
    "loops in loops with a thousand locals",
    "instances that double forty times",
];

pub(super) fn all() -> Vec<Hostile> {
    let guest = |name, top: &str, body: &str| {
        Hostile::new(name, End::Bounded(BOUNDED), Guest::new(body).top(top).fails().module())
    };
    vec![
        guest("ten thousand functions", &many(10_000, "(func)"), ""),
        guest("a hundred thousand functions", &many(100_000, "(func)"), ""),
        guest(
            "a hundred thousand functions that compute",
            &many(
                100_000,
                "(func (param i32) (result i32) (i32.mul (local.get 0) (i32.add (local.get 0) (i32.const 3))))",
            ),
            "",
        ),
        guest(
            "a function of 300,000 instructions",
            "(global $g (mut i32) (i32.const 0))",
            &many(100_000, "(global.set $g (i32.const 1))"),
        ),
        guest("blocks in blocks", "", &format!("{}{}", many(2_000, "(block "), many(2_000, ")"))),
        guest("a branch with 50,000 targets", "", &format!("(block (br_table {} (i32.const 5)))", many(50_000, "0 "))),
        guest(
            "fifty branches with 5,000 targets",
            "(global $g (mut i32) (i32.const 0))",
            &many(50, &format!("(block (block (br_table {} 1 (global.get $g))))", many(5_000, "0 1 "))),
        ),
        Hostile::new(
            "too many locals",
            End::Refused(&["damaged", "does not fit", "locals"]),
            Guest::new("").top(format!("(func (local {}))", many(60_000, "i64 "))).module(),
        ),
        guest("loops in loops with a thousand locals", &live(1000, 300), ""),
        guest(
            "ten thousand values at once",
            &format!("(func (result i32) {} {})", many(10_000, "(i32.load (i32.const 8))"), many(9_999, "i32.add ")),
            "",
        ),
        guest("a hundred thousand globals", &many(100_000, "(global i32 (i32.const 1))"), ""),
        guest("fifty thousand pieces of data", &many(50_000, "(data (i32.const 65000) \"x\")"), ""),
        guest(
            "a hundred thousand exports",
            &(0..100_000).fold(String::from("(func $e)"), |mut text, n| {
                let _ = write!(text, "(export \"e{n}\" (func $e))");
                text
            }),
            "",
        ),
        guest(
            "a hundred thousand references",
            &format!("(table 10 funcref) (func $e) (elem declare func {})", many(100_000, "$e ")),
            "",
        ),
        Hostile::new(
            "a program of fifty thousand imports",
            End::Bounded(BOUNDED),
            assemble(&format!(
                r#"(module {} (memory (export "memory") 1) (func (export "_start") unreachable))"#,
                many(50_000, r#"(import "wasi_snapshot_preview1" "sched_yield" (func (result i32)))"#)
            )),
        ),
    ]
}

/// Successive loops, each of which changes every local.
fn live(locals: usize, loops: usize) -> String {
    let add: String = (0..locals).fold(String::new(), |mut text, n| {
        let _ = write!(text, "(local.set {n} (i32.add (local.get {n}) (local.get {})))", (n + 1) % locals);
        text
    });
    format!("(func (local {}) {})", many(locals, "i32 "), many(loops, &format!("(loop {add} (br_if 0 (local.get 0)))")))
}
