//! A core module in the shape of a plugin, of which every part can be chosen.

use std::path::Path;

use wit_component::{StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

pub(super) const LOG: &str = r#"(import "vouchd:check/log@0.1.0" "log" (func $log (param i32 i32 i32)))"#;
pub(super) const COUNT: &str =
    r#"(import "vouchd:check/simple@0.1.0" "process-count" (func $count (param i32 i32) (result i32)))"#;
pub(super) const CONNECT: &str =
    r#"(import "vouchd:check/simple@0.1.0" "tcp-connect" (func $connect (param i32 i32 i32) (result i32)))"#;
pub(super) const GET: &str =
    r#"(import "vouchd:check/simple@0.1.0" "http-get" (func $get (param i32 i32 i32) (result i32)))"#;
pub(super) const REMEMBER: &str = r#"(import "vouchd:check/memo@0.1.0" "set" (func $remember (param i32 i32)))"#;

/// Loops for ever.
pub(super) const SPIN: &str = "(loop (br 0))";

/// The contract's exports, as good as nothing behind them.
pub(super) const REALLOC: &str = r#"(func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)"#;
pub(super) const CHECK: &str =
    r#"(func (export "vouchd:check/checker@0.1.0#check") (param i32 i32 i32 i32 i32) (result i32) unreachable)"#;

/// Where the report is, and its text.
const ANSWER: usize = 1024;
const TEXT: usize = 1100;

/// Has 8 pages of memory. Unless told otherwise it reports a pass: `result<report, string>` of the canonical ABI lies at
/// 1024 (verdict at 4, message 8 and 12, adjust 16 and 18, metrics 20 and 24).
#[derive(Debug, Clone)]
pub struct Guest {
    top: String,
    body: String,
    realloc: String,
    answer: String,
    verdict: u8,
    text: &'static str,
}

impl Guest {
    /// One whose `check` executes `body` first.
    pub fn new(body: &str) -> Self {
        Guest {
            top: String::new(),
            body: body.to_owned(),
            realloc: String::new(),
            answer: format!("(i32.const {ANSWER})"),
            verdict: 0,
            text: "all is well",
        }
    }

    /// With these fields of the module; imports come first in it.
    pub fn top(self, top: impl Into<String>) -> Self {
        Guest { top: top.into(), ..self }
    }

    /// Whose allocator executes this first.
    pub fn realloc(self, realloc: &str) -> Self {
        Guest { realloc: realloc.to_owned(), ..self }
    }

    /// Whose report is elsewhere.
    pub fn answer(self, answer: &str) -> Self {
        Guest { answer: answer.to_owned(), ..self }
    }

    /// That reports a fail, "done", as far as it comes to that.
    pub fn fails(self) -> Self {
        Guest { verdict: 2, text: "done", ..self }
    }

    /// As text.
    pub fn wat(&self) -> String {
        let Guest { top, body, realloc, answer, verdict, text } = self;
        let mut report = [0u8; 28];
        report[4] = *verdict;
        report[8..12].copy_from_slice(&(TEXT as u32).to_le_bytes());
        report[12..16].copy_from_slice(&(text.len() as u32).to_le_bytes());
        let report: String = report.iter().map(|byte| format!("\\{byte:02x}")).collect();
        format!(
            r#"(module {top}
                (memory (export "memory") 8)
                (data (i32.const {ANSWER}) "{report}") (data (i32.const {TEXT}) "{text}")
                (global $free (mut i32) (i32.const 65536))
                (func $realloc (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                    (local $at i32)
                    {realloc}
                    (local.set $at (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
                    (global.set $free (i32.add (local.get $at) (local.get 3)))
                    (local.get $at))
                (func (export "vouchd:check/checker@0.1.0#check") (param i32 i32 i32 i32 i32) (result i32)
                    {body}
                    {answer}))"#
        )
    }

    /// With the contract's metadata, as bindings make it.
    pub fn module(&self) -> Vec<u8> {
        with_metadata(&self.wat())
    }
}

/// Assembles a core module and embeds the contract's metadata, as bindings do.
pub fn with_metadata(wat: &str) -> Vec<u8> {
    let contract = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sdk/wit/check.wit");
    let mut bytes = assemble(wat);
    let mut resolve = Resolve::default();
    let package = resolve.push_path(contract).expect("the contract").0;
    let world = resolve.select_world(&[package], Some("plugin")).expect("its world");
    embed_component_metadata(&mut bytes, &resolve, world, StringEncoding::UTF8).expect("metadata");
    bytes
}

pub(super) fn assemble(wat: &str) -> Vec<u8> {
    wat::parse_str(wat).unwrap_or_else(|error| panic!("{error}"))
}

/// `text`, `n` times.
pub(super) fn many(n: usize, text: &str) -> String {
    text.repeat(n)
}

/// Executes `call` `n` times.
pub(super) fn times(n: u32, call: &str) -> String {
    format!(
        "(local $n i32) (loop {call}
            (local.set $n (i32.add (local.get $n) (i32.const 1))) (br_if 0 (i32.lt_u (local.get $n) (i32.const {n}))))"
    )
}

/// Executes `call` for ever.
pub(super) fn for_ever(call: &str) -> String {
    format!("(loop {call} (br 0))")
}

/// What the host calls after it has read the report.
pub(super) fn post_return(body: &str) -> String {
    format!(r#"(func (export "cabi_post_vouchd:check/checker@0.1.0#check") (param i32) {body})"#)
}

/// What the corpus calls of WASI 0.2, each interface as far as that.
const WASI: [(&str, &str); 5] = [
    (
        "io.wit",
        "package wasi:io@0.2.0;
        interface error { resource error; }
        interface poll {
            resource pollable { block: func(); }
            poll: func(in: list<borrow<pollable>>) -> list<u32>;
        }
        interface streams {
            use error.{error};
            variant stream-error { last-operation-failed(error), closed }
            resource output-stream { write-zeroes: func(len: u64) -> result<_, stream-error>; }
        }",
    ),
    (
        "clocks.wit",
        "package wasi:clocks@0.2.0;
        interface monotonic-clock {
            use wasi:io/poll@0.2.0.{pollable};
            subscribe-duration: func(when: u64) -> pollable;
        }",
    ),
    ("random.wit", "package wasi:random@0.2.0; interface random { get-random-bytes: func(len: u64) -> list<u8>; }"),
    (
        "cli.wit",
        "package wasi:cli@0.2.0;
        interface stdout { use wasi:io/streams@0.2.0.{output-stream}; get-stdout: func() -> output-stream; }
        interface exit { exit: func(status: result); }",
    ),
    (
        "sockets.wit",
        "package wasi:sockets@0.2.0;
        interface network {
            enum error-code { unknown, access-denied, not-supported, invalid-argument, out-of-memory, timeout,
                concurrency-conflict, not-in-progress, would-block, invalid-state, new-socket-limit,
                address-not-bindable, address-in-use, remote-unreachable, connection-refused, connection-reset,
                connection-aborted, datagram-too-large, name-unresolvable, temporary-resolver-failure,
                permanent-resolver-failure }
            enum ip-address-family { ipv4, ipv6 }
        }
        interface tcp { resource tcp-socket; }
        interface tcp-create-socket {
            use network.{error-code, ip-address-family};
            use tcp.{tcp-socket};
            create-tcp-socket: func(address-family: ip-address-family) -> result<tcp-socket, error-code>;
        }",
    ),
];

const WASI_WORLD: &str = "package corpus:guest;
    world plugin {
        import wasi:clocks/monotonic-clock@0.2.0;
        import wasi:io/poll@0.2.0;
        import wasi:io/streams@0.2.0;
        import wasi:random/random@0.2.0;
        import wasi:cli/stdout@0.2.0;
        import wasi:cli/exit@0.2.0;
        import wasi:sockets/tcp-create-socket@0.2.0;
        export vouchd:check/checker@0.1.0;
    }";

/// The same with WASI beside the contract.
pub(super) fn with_wasi(wat: &str) -> Vec<u8> {
    let contract = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sdk/wit/check.wit");
    let mut bytes = assemble(wat);
    let mut resolve = Resolve::default();
    resolve.push_path(contract).expect("the contract");
    for (name, text) in WASI {
        resolve.push_str(name, text).unwrap_or_else(|error| panic!("{name}: {error:#}"));
    }
    let package = resolve.push_str("world.wit", WASI_WORLD).expect("the world's text");
    let world = resolve.select_world(&[package], Some("plugin")).expect("the world");
    embed_component_metadata(&mut bytes, &resolve, world, StringEncoding::UTF8).expect("metadata");
    bytes
}
