//! Guests made of WAT: the skeletons that a checker and a program have in common.

use wit_component::StringEncoding;

/// The plugin contract.
pub const WIT: &str = include_str!("../../../../sdk/wit/check.wit");

/// Address of the answer that `check` returns; all zeros are a `pass` with an empty message.
const ANSWER: usize = 1024;

/// Address of the answer's text.
const TEXT: usize = 1100;

/// A checker, built against this version of the contract: the fields `top`, imports first, and a `check` that executes
/// `body` and returns the answer at [`ANSWER`].
pub fn checker(version: &str, top: &str, body: &str) -> String {
    format!(
        r#"(module
            {top}
            (memory (export "memory") 8)
            (global $free (mut i32) (i32.const 65536))
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                (local $at i32)
                (local.set $at (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
                (global.set $free (i32.add (local.get $at) (local.get 3)))
                (local.get $at))
            (func $check (export "vouchd:check/checker@{version}#check") (param i32 i32 i32 i32 i32) (result i32)
                {body}
                (i32.const {ANSWER})))"#
    )
}

/// A program of preview 1: the fields `top`, imports first, and a `_start` that executes `body`. It ends with the exit
/// status 0, or that of a call of `$exit`.
pub fn program(top: &str, body: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
            (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            {top}
            (memory (export "memory") 4)
            (func (export "_start") {body}))"#
    );
    wat::parse_str(text).expect("the test's WAT")
}

/// A checker whose `check` executes `body` and then reports `verdict` (0 is pass) and `text`.
pub fn reporting(verdict: u8, text: &str, top: &str, body: &str) -> Vec<u8> {
    with_metadata(&module_text(verdict, text, top, body), WIT)
}

/// A checker that answers with an error.
pub fn failing(text: &str, top: &str, body: &str) -> Vec<u8> {
    with_metadata(&with_answer(&answer(true, 0, text), top, body), WIT)
}

/// The text of a [`reporting`] checker, for one with metadata of its own.
pub fn module_text(verdict: u8, text: &str, top: &str, body: &str) -> String {
    with_answer(&answer(false, verdict, text), top, body)
}

fn with_answer(data: &str, top: &str, body: &str) -> String {
    checker("0.1.0", &format!("{top} {data}"), body)
}

/// `result<report, string>` in the canonical ABI, as data at [`ANSWER`] and [`TEXT`].
fn answer(is_error: bool, verdict: u8, text: &str) -> String {
    let mut bytes = vec![0u8; 28];
    let text_at = if is_error {
        bytes[0] = 1;
        4
    } else {
        bytes[4] = verdict;
        8
    };
    bytes[text_at..text_at + 4].copy_from_slice(&(TEXT as u32).to_le_bytes());
    bytes[text_at + 4..text_at + 8].copy_from_slice(&(text.len() as u32).to_le_bytes());
    let escape = |data: &[u8]| data.iter().map(|b| format!("\\{b:02x}")).collect::<String>();
    format!(
        "(data (i32.const {ANSWER}) \"{}\") (data (i32.const {TEXT}) \"{}\")",
        escape(&bytes),
        escape(text.as_bytes())
    )
}

/// Assembles a checker and embeds the metadata of a contract, as bindings do.
pub fn with_metadata(wat: &str, wit: &str) -> Vec<u8> {
    let mut bytes = wat::parse_str(wat).expect("the test's WAT");
    let mut resolve = wit_parser::Resolve::default();
    let package = resolve.push_str("check.wit", wit).expect("the test's WIT");
    let world = resolve.select_world(&[package], Some("plugin")).expect("the world");
    wit_component::embed_component_metadata(&mut bytes, &resolve, world, StringEncoding::UTF8).expect("embedding");
    bytes
}
