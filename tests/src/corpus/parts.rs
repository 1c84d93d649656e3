//! Parts of the corpus's guests.

use std::path::Path;

use wit_component::{StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use crate::guest::assemble;

pub(super) const LOG: &str = r#"(import "vouchd:check/log@0.1.0" "log" (func $log (param i32 i32 i32)))"#;
pub(super) const COUNT: &str =
    r#"(import "vouchd:check/simple@0.1.0" "process-count" (func $count (param i32 i32) (result i32)))"#;
pub(super) const CONNECT: &str =
    r#"(import "vouchd:check/simple@0.1.0" "tcp-connect" (func $connect (param i32 i32 i32) (result i32)))"#;
pub(super) const GET: &str =
    r#"(import "vouchd:check/simple@0.1.0" "http-get" (func $get (param i32 i32 i32) (result i32)))"#;
pub(super) const REMEMBER: &str = r#"(import "vouchd:check/memo@0.1.0" "set" (func $remember (param i32 i32)))"#;

/// Loops forever.
pub(super) const SPIN: &str = "(loop (br 0))";

/// The exports of the contract. They trap.
pub(super) const REALLOC: &str = r#"(func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)"#;
pub(super) const CHECK: &str =
    r#"(func (export "vouchd:check/checker@0.1.0#check") (param i32 i32 i32 i32 i32) (result i32) unreachable)"#;

/// `n` copies of `text`.
pub(super) fn many(n: usize, text: &str) -> String {
    text.repeat(n)
}

/// Runs `call` `n` times. Local `$n` counts from 0.
pub(super) fn times(n: u32, call: &str) -> String {
    format!(
        "(local $n i32) (loop {call}
            (local.set $n (i32.add (local.get $n) (i32.const 1))) (br_if 0 (i32.lt_u (local.get $n) (i32.const {n}))))"
    )
}

/// Runs `call` forever.
pub(super) fn forever(call: &str) -> String {
    format!("(loop {call} (br 0))")
}

/// The function that the host calls after it has read the report.
pub(super) fn post_return(body: &str) -> String {
    format!(r#"(func (export "cabi_post_vouchd:check/checker@0.1.0#check") (param i32) {body})"#)
}

/// The functions of WASI 0.2 that the corpus calls, and the types that they need.
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

/// Assembles a core module and embeds the metadata of the contract and of WASI.
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
