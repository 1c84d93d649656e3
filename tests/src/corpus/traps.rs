//! Every kind of trap, in the check and at the start.

use super::{End, Hostile};
use crate::guest::Guest;

pub(super) fn all() -> Vec<Hostile> {
    const TOP: &str = "(type $v (func)) (table $t 2 funcref) (elem (i32.const 1) $g) (func $g (param i32))
        (data $passive \"x\") (elem $none funcref (ref.null func))";
    let trap = |name, body: &str| Hostile::new(name, End::Broken(&["crashed"]), Guest::new(body).top(TOP).module());
    let start = |name, end, top: &str| Hostile::new(name, end, Guest::new("").top(top).module());
    const AT_START: End = End::Contained(&["could not be started", "does not fit the contract: wasm trap", "crashed"]);
    vec![
        Hostile::new("unreachable", End::Broken(&["panicked or aborted"]), Guest::new("unreachable").module()),
        trap("divides by zero", "(drop (i32.div_s (i32.const 1) (i32.const 0)))"),
        trap("takes the remainder of zero", "(drop (i64.rem_u (i64.const 1) (i64.const 0)))"),
        trap("overflows", "(drop (i32.div_s (i32.const 0x80000000) (i32.const -1)))"),
        trap("truncates NaN", "(drop (i32.trunc_f64_s (f64.const nan)))"),
        trap("truncates infinity", "(drop (i64.trunc_f32_u (f32.const inf)))"),
        trap("loads out of bounds", "(drop (i64.load (i32.const -4)))"),
        trap("loads one byte out of bounds", "(drop (i32.load8_u (i32.const 524288)))"),
        trap("loads across the end of memory", "(drop (i64.load (i32.const 524284)))"),
        trap("loads by offset out of bounds", "(drop (i32.load offset=0xffffffff (i32.const -1)))"),
        trap("loads a vector out of bounds", "(drop (v128.load (i32.const 524280)))"),
        trap("stores out of bounds", "(i32.store8 (i32.const 0x7fffffff) (i32.const 1))"),
        trap("fills out of bounds", "(memory.fill (i32.const 0) (i32.const 1) (i32.const -1))"),
        trap("copies out of bounds", "(memory.copy (i32.const 0) (i32.const -1) (i32.const 9))"),
        trap("initializes out of bounds", "(memory.init $passive (i32.const 0) (i32.const 0) (i32.const 99))"),
        trap(
            "initializes from dropped data",
            "(data.drop $passive) (memory.init $passive (i32.const 0) (i32.const 0) (i32.const 1))",
        ),
        trap("calls null", "(call_indirect (type $v) (i32.const 0))"),
        trap("calls the wrong type", "(call_indirect (type $v) (i32.const 1))"),
        trap("calls out of the table", "(call_indirect (type $v) (i32.const 99))"),
        trap("sets out of the table", "(table.set $t (i32.const 99) (ref.null func))"),
        trap("gets out of the table", "(drop (table.get $t (i32.const -1)))"),
        trap("initializes a table out of bounds", "(table.init $t $none (i32.const 0) (i32.const 0) (i32.const 99))"),
        start(
            "starts with a trap",
            End::Refused(&["could not be started: the plugin panicked"]),
            "(func $s unreachable) (start $s)",
        ),
        start(
            "starts with a division by zero",
            End::Refused(&["could not be started: the plugin crashed"]),
            "(func $s (drop (i32.div_s (i32.const 1) (i32.const 0)))) (start $s)",
        ),
        start("has data out of bounds", AT_START, "(data (i32.const 600000) \"x\")"),
        start(
            "has elements out of bounds",
            AT_START,
            "(table $u 1 funcref) (elem (table $u) (i32.const 5) func $e) (func $e)",
        ),
    ]
}
