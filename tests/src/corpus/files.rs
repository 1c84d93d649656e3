//! Files that are no plugins: another format, truncated, with sections that lie about themselves, with wrong exports.

use super::parts::{CHECK, REALLOC};
use super::{End, Hostile};
use crate::guest::{Guest, assemble, with_metadata};

pub(super) fn all() -> Vec<Hostile> {
    [strangers(), damaged(), sections(), contracts()].concat()
}

fn strangers() -> Vec<Hostile> {
    let file = |name, bytes: &[u8]| Hostile::new(name, End::Refused(&["not a WebAssembly file"]), bytes.to_vec());
    vec![
        file("a script", b"#!/bin/sh\nexit 0\n"),
        Hostile::new("an empty file", End::Refused(&["an empty file"]), Vec::new()),
        file("a program of this machine", b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0"),
        file("a module as text", b"(module (func (export \"check\")))"),
        file("a page that says not found", b"<!DOCTYPE html><html><title>404 Not Found</title></html>"),
        file("a module behind a byte order mark", b"\xef\xbb\xbf\0asm\x01\0\0\0"),
        file("the magic in capitals", b"\0ASM\x01\0\0\0"),
        file("half the magic", b"\0a"),
        file("a megabyte of zeros", &[0; 1 << 20]),
        Hostile::new("only the magic", End::Refused(&["damaged", "cut off"]), b"\0asm".to_vec()),
        Hostile::new("a version from the future", End::Refused(&["damaged"]), b"\0asm\x09\0\x09\0".to_vec()),
    ]
}

fn damaged() -> Vec<Hostile> {
    const DAMAGED: End = End::Refused(&["damaged"]);
    let whole = Guest::new("").module();
    let cut = |name, part: usize, of: usize| {
        Hostile::new(
            name,
            End::Refused(&["damaged", "does not export", "does not fit"]),
            whole[..whole.len() * part / of].to_vec(),
        )
    };
    let raw = |name, end, sections: &[u8]| Hostile::new(name, end, [b"\0asm\x01\0\0\0", sections].concat());
    let appended = |name, more: &[u8]| Hostile::new(name, DAMAGED, [&whole[..], more].concat());
    // The first twenty bytes stay, so that the host still takes it for a module.
    let flipped = whole.iter().enumerate().map(|(n, byte)| if n > 20 && n % 97 == 0 { !byte } else { *byte }).collect();
    vec![
        cut("a tenth of a module", 1, 10),
        cut("a third of a module", 1, 3),
        cut("half a module", 1, 2),
        Hostile::new("all but the last byte", DAMAGED, whole[..whole.len() - 1].to_vec()),
        Hostile::new(
            "a module with flipped bytes",
            End::Refused(&["damaged", "does not fit", "does not export"]),
            flipped,
        ),
        appended("a section longer than the file", b"\0\xff\xff\xff\x7f\x04abcd"),
        appended("bytes after the end", &[0xff; 100]),
        appended("two modules in one file", b"\0asm\x01\0\0\0"),
        raw("a length without end", DAMAGED, b"\x01\xff\xff\xff\xff\xff\xff\xff"),
        raw("four billion functions", End::Refused(&["damaged", "does not export"]), b"\x03\x05\xff\xff\xff\xff\x0f"),
        raw("four billion exports", DAMAGED, b"\x07\x05\xff\xff\xff\xff\x0f"),
        raw("four billion imports", DAMAGED, b"\x02\x05\xff\xff\xff\xff\x0f"),
        raw("an export whose name is no text", DAMAGED, b"\x07\x06\x01\x02\xff\xfe\x00\x00"),
        raw("sections in the wrong order", End::Refused(&["damaged", "does not export"]), b"\x0a\x01\x00\x01\x01\x00"),
        raw("an unknown section", End::Refused(&["damaged", "does not export"]), b"\x55\x01\x00"),
    ]
}

fn sections() -> Vec<Hostile> {
    let with = |section: &[u8], name: &str| with_section(&bare(""), name, section);
    const NO_FIT: End = End::Refused(&["does not fit", "damaged", "metadata"]);
    let fails = Guest::new("").fails().module();
    vec![
        Hostile::new("metadata of garbage", NO_FIT, with(b"\xff\xff\xff\xff garbage", "component-type:x")),
        Hostile::new("metadata of nothing", NO_FIT, with(b"", "component-type")),
        Hostile::new("metadata of zeros", NO_FIT, with(&[0; 65536], "component-type")),
        Hostile::new("metadata that is a module", NO_FIT, with(b"\0asm\x01\0\0\0", "component-type")),
        Hostile::new(
            "a custom section of 32 MiB",
            End::Reports(&["done"]),
            with_section(&fails, "ballast", &vec![7; 32 << 20]),
        ),
        Hostile::new(
            "fifty thousand custom sections",
            End::Contained(&["damaged", "does not fit", "too big", "panicked"]),
            (0..50_000).fold(Guest::new("unreachable").module(), |mut bytes, _| {
                bytes.extend_from_slice(b"\0\x02\x01x");
                bytes
            }),
        ),
        Hostile::new(
            "names of garbage",
            End::Contained(&["does not fit", "damaged", "panicked"]),
            with_section(&Guest::new("unreachable").module(), "name", &[0xff; 1000]),
        ),
        Hostile::new(
            "a version of no text",
            End::Reports(&["done"]),
            with_section(&fails, "version", &[0xff; 1 << 20]),
        ),
        Hostile::new(
            "a description of a megabyte",
            End::Reports(&["done"]),
            with_section(&fails, "description", &[b'x'; 1 << 20]),
        ),
        Hostile::new(
            "producers of garbage",
            End::Contained(&["does not fit", "damaged", "panicked"]),
            with_section(&Guest::new("unreachable").module(), "producers", &[0xff; 100]),
        ),
    ]
}

fn contracts() -> Vec<Hostile> {
    const NO_FIT: End = End::Refused(&["does not fit"]);
    let guest = |name, end, fields: &str| Hostile::new(name, end, with_metadata(&format!("(module {fields})")));
    const MEMORY: &str = "(memory (export \"memory\") 1)";
    vec![
        guest("no memory", NO_FIT, &format!("{REALLOC} {CHECK}")),
        guest("no allocator", NO_FIT, &format!("{MEMORY} {CHECK}")),
        guest("no check", End::Refused(&["does not fit", "does not export"]), &format!("{MEMORY} {REALLOC}")),
        guest(
            "a check of another type",
            NO_FIT,
            &format!(
                "{MEMORY} {REALLOC} (func (export \"vouchd:check/checker@0.1.0#check\") (param i64) (result f64) unreachable)"
            ),
        ),
        guest(
            "an allocator of another type",
            NO_FIT,
            &format!("{MEMORY} {CHECK} (func (export \"cabi_realloc\") (result f32) unreachable)"),
        ),
        guest(
            "a check that is a memory",
            End::Refused(&["does not fit", "damaged"]),
            &format!("(memory (export \"vouchd:check/checker@0.1.0#check\") 1) {REALLOC}"),
        ),
        guest(
            "an import of nobody",
            End::Refused(&["does not fit", "env"]),
            &format!("(import \"env\" \"system\" (func (param i32) (result i32))) {MEMORY} {REALLOC} {CHECK}"),
        ),
        guest(
            "an import of another type",
            NO_FIT,
            &format!("(import \"vouchd:check/log@0.1.0\" \"log\" (func (param i64))) {MEMORY} {REALLOC} {CHECK}"),
        ),
        guest(
            "a function that is not there",
            NO_FIT,
            &format!("(import \"vouchd:check/log@0.1.0\" \"shout\" (func (param i32))) {MEMORY} {REALLOC} {CHECK}"),
        ),
        guest(
            "an import of a memory",
            NO_FIT,
            &format!("(import \"vouchd:check/log@0.1.0\" \"log\" (memory 1)) {MEMORY} {REALLOC} {CHECK}"),
        ),
        Hostile::new(
            "no metadata and an import of nobody",
            End::Refused(&["needs `env#system`"]),
            bare("(import \"env\" \"system\" (func (param i32) (result i32)))"),
        ),
        Hostile::new(
            "no metadata and an import of terminal commands",
            End::Refused(&["needs `"]),
            bare("(import \"\\1b[2J\" \"\\0a\\07\" (func (param i32) (result i32)))"),
        ),
        Hostile::new(
            "a program with an import of terminal commands",
            End::Refused(&["needs `", "does not offer"]),
            assemble("(module (import \"vouchd:check/simple@0.1.0\" \"\\1b[2J\" (func)) (func (export \"_start\")))"),
        ),
        Hostile::new(
            "a contract whose version is a terminal command",
            End::Refused(&["built against", "does not fit"]),
            assemble(&format!("(module {MEMORY} {REALLOC} {})", CHECK.replace("@0.1.0", "@\\1b[2J"))),
        ),
        Hostile::new(
            "no metadata and a newer contract",
            End::Refused(&["0.9.0, this daemon offers 0.1.0"]),
            assemble(&format!("(module {MEMORY} {REALLOC} {})", CHECK.replace("@0.1.0", "@0.9.0"))),
        ),
        Hostile::new(
            "a contract without a version",
            End::Refused(&["without a version", "does not export"]),
            assemble(&format!("(module {MEMORY} {REALLOC} {})", CHECK.replace("@0.1.0", ""))),
        ),
        Hostile::new(
            "exports of ten thousand letters",
            End::Refused(&["does not export"]),
            assemble(&format!("(module (func (export \"{}\")))", "x".repeat(10_000))),
        ),
        Hostile::new(
            "exports of terminal commands",
            End::Refused(&["does not export"]),
            assemble("(module (func (export \"\\1b]0;owned\\07\\1b[2J\")))"),
        ),
    ]
}

/// A module with the contract's exports, without its metadata.
fn bare(top: &str) -> Vec<u8> {
    assemble(&format!("(module {top} (memory (export \"memory\") 1) {REALLOC} {CHECK})"))
}

fn with_section(module: &[u8], name: &str, data: &[u8]) -> Vec<u8> {
    let mut section = leb(name.len());
    section.extend_from_slice(name.as_bytes());
    section.extend_from_slice(data);
    let mut bytes = module.to_vec();
    bytes.push(0);
    bytes.extend(leb(section.len()));
    bytes.extend(section);
    bytes
}

/// A length in LEB128.
pub(super) fn leb(mut n: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (n & 0x7f) as u8;
        n >>= 7;
        if n == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}
