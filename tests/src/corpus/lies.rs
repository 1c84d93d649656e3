//! Garbage reports: false numbers, lengths, pointers and texts in the canonical ABI.

use std::fmt::Write as _;

use super::{End, Hostile};
use crate::guest::Guest;

const BROKE: End = End::Broken(&["broke the contract"]);

pub(super) fn all() -> Vec<Hostile> {
    [numbers(), texts(), metrics()].concat()
}

/// A guest that stores these values at these offsets of its report.
fn lie(name: &'static str, stores: &[(u32, u32)], end: End) -> Hostile {
    let body = stores.iter().fold(String::new(), |mut text, (at, value)| {
        let _ = write!(text, "(i32.store (i32.const {}) (i32.const {}))", 1024 + at, value.cast_signed());
        text
    });
    Hostile::new(name, end, Guest::new(&body).module())
}

fn numbers() -> Vec<Hostile> {
    let answer = |name, at: &str| Hostile::new(name, BROKE, Guest::new("").answer(at).module());
    const SILENT: End = End::Broken(&["gave up without saying why"]);
    vec![
        lie("neither report nor error", &[(0, 2)], BROKE),
        lie("neither report nor error at most", &[(0, 255)], BROKE),
        lie("a fifth verdict", &[(4, 4)], BROKE),
        lie("verdict 255", &[(4, 255)], BROKE),
        lie("an option of a third kind", &[(16, 2)], BROKE),
        lie("an error out of bounds", &[(0, 1), (4, 600_000), (8, 5)], BROKE),
        lie("an error without a word", &[(0, 1), (4, 0), (8, 0)], SILENT),
        answer("a report misaligned", "(i32.const 1025)"),
        answer("a report nowhere", "(i32.const -4)"),
        answer("a report cut off by the end of memory", "(i32.const 524284)"),
        Hostile::new(
            "an error of blanks",
            SILENT,
            Guest::new(
                "(memory.fill (i32.const 4000) (i32.const 32) (i32.const 64)) (i32.store (i32.const 1024) (i32.const 1))
                 (i32.store (i32.const 1028) (i32.const 4000)) (i32.store (i32.const 1032) (i32.const 64))",
            )
            .module(),
        ),
    ]
}

fn texts() -> Vec<Hostile> {
    let bytes = |name, text: &str| {
        let body = "(i32.store (i32.const 1032) (i32.const 4000)) (i32.store (i32.const 1036) (i32.const 4))";
        let top = format!("(data (i32.const 4000) \"{text}\")");
        Hostile::new(name, End::Broken(&["utf-8", "UTF-8"]), Guest::new(body).top(top).module())
    };
    vec![
        lie("a text out of bounds", &[(8, 600_000)], BROKE),
        lie("a text at the end of memory", &[(8, 524_280)], BROKE),
        lie("a text beyond everything", &[(8, u32::MAX), (12, u32::MAX)], BROKE),
        lie("a text that wraps around", &[(8, 0xffff_fff0), (12, 0x20)], BROKE),
        lie("a text of 2 GiB", &[(12, 0x8000_0000)], BROKE),
        lie("a text of all its memory", &[(8, 0), (12, 524_288)], End::Broken(&["limits.output", "utf-8", "UTF-8"])),
        bytes("a text of bytes", "\\ff\\fe\\fd\\fc"),
        bytes("a text cut within a letter", "abc\\e2"),
        bytes("a text with a surrogate", "a\\ed\\a0\\80"),
        bytes("a text encoded longer than need be", "ab\\c0\\80"),
        Hostile::new(
            "a text of control characters",
            End::Reports(&["[2J"]),
            Guest::new("(i32.store (i32.const 1032) (i32.const 4000)) (i32.store (i32.const 1036) (i32.const 9))")
                .top("(data (i32.const 4000) \"\\1b[2J\\00\\0d\\0a\\07\\9b\")".replace("\\9b", "!"))
                .fails()
                .module(),
        ),
    ]
}

fn metrics() -> Vec<Hostile> {
    // `n` metrics at 70000, each with a name of `length` bytes at 4000 and this value.
    let list = |n: u32, length: u32, value: &str| {
        format!(
            "(local $n i32) (local $at i32) (local.set $at (i32.const 70000))
             (loop (i32.store (local.get $at) (i32.const 4000)) (i32.store offset=4 (local.get $at) (i32.const {length}))
                 (f64.store offset=8 (local.get $at) (f64.const {value}))
                 (i32.store offset=16 (local.get $at) (i32.const 4000)) (i32.store offset=20 (local.get $at) (i32.const 0))
                 (local.set $at (i32.add (local.get $at) (i32.const 24)))
                 (local.set $n (i32.add (local.get $n) (i32.const 1)))
                 (br_if 0 (i32.lt_u (local.get $n) (i32.const {n}))))
             (i32.store (i32.const 1044) (i32.const 70000)) (i32.store (i32.const 1048) (i32.const {n}))"
        )
    };
    let many = |name, n, length, value: &str, end| {
        Hostile::new(name, end, Guest::new(&list(n, length, value)).fails().module())
    };
    const DONE: End = End::Reports(&["done"]);
    const TOO_MUCH: End = End::Broken(&["fuel", "limits.output", "too large", "allocation", "utf-8"]);
    vec![
        lie("metrics out of bounds", &[(20, 600_000), (24, 1)], BROKE),
        lie("metrics misaligned", &[(20, 4001), (24, 1)], BROKE),
        lie("metrics without end", &[(20, 4000), (24, u32::MAX)], BROKE),
        lie("metrics whose size wraps around", &[(20, 4000), (24, 0x0aaa_aaab)], BROKE),
        lie("metrics that are the report itself", &[(4, 2), (20, 1024), (24, 1)], End::Reports(&["all is well"])),
        many("a flood of NaN", 60, 1, "nan", DONE),
        many("a flood of NaN with payloads", 2000, 1, "-nan:0x7ffffffffffff", DONE),
        many("a flood of infinity", 60, 1, "-inf", DONE),
        many("the same metric two thousand times", 2000, 1, "1", DONE),
        many("more metrics than fit", 15_000, 1, "1", End::Broken(&["limits.output"])),
        many("long names that share their memory", 15_000, 60_000, "1", TOO_MUCH),
        many("names as long as the memory", 100, 450_000, "1", TOO_MUCH),
    ]
}
