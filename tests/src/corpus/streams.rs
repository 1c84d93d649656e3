//! Connections that are leaked, used after they are closed or invented, and servers that never end.

use std::net::SocketAddr;

use super::parts::{GET, forever, times};
use super::peers::Peers;
use super::{End, Hostile};
use crate::guest::Guest;

/// Whichever limit is reached first.
const TOO_MANY: End = End::Contained(&["limits.probes = 64", "limits.cpu", "timed out"]);

pub(super) fn all(peers: &Peers) -> Vec<Hostile> {
    [handles(peers), exchanges(peers)].concat()
}

/// An allocator that puts each result over the previous one, and traps if a result is larger than 400,000 bytes.
const REUSE: &str = "(if (i32.gt_u (local.get 3) (i32.const 400000)) (then unreachable)) (return (i32.const 65536))";

/// Imports, and a function `connect` that leaves a handle in `$c`, or 0.
fn with_streams(peer: SocketAddr) -> String {
    let peer = peer.to_string();
    format!(
        r#"(import "vouchd:check/stream@0.1.0" "connect-tcp" (func $open (param i32 i32 i32 i32)))
        (import "vouchd:check/stream@0.1.0" "[resource-drop]connection" (func $close (param i32)))
        (import "vouchd:check/stream@0.1.0" "[method]connection.send" (func $send (param i32 i32 i32 i32)))
        (import "vouchd:check/stream@0.1.0" "[method]connection.receive" (func $receive (param i32 i32 i32 i32 i32 i32 i32)))
        (import "vouchd:check/stream@0.1.0" "[method]connection.start-tls" (func $tls (param i32 i32 i32 i32 i32 i32)))
        (data (i32.const 3000) "{peer}")
        (global $c (mut i32) (i32.const 0))
        (func $connect
            (call $open (i32.const 3000) (i32.const {}) (i32.const 0) (i32.const 5000))
            (global.set $c (select (i32.const 0) (i32.load (i32.const 5004)) (i32.load8_u (i32.const 5000)))))"#,
        peer.len()
    )
}

fn handles(peers: &Peers) -> Vec<Hostile> {
    let to = |peer, body: &str| Guest::new(body).top(with_streams(peer)).realloc(REUSE);
    let guest = |name, end, body: &str| Hostile::new(name, end, to(peers.mute, body).module());
    let flood = |name, end, body: &str| Hostile::new(name, end, to(peers.flood, body).module());
    let receive = "(call $receive (global.get $c) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0x100000) (i32.const 0) (i32.const 5000))";
    // Ends at the time limit or the byte limit, whichever comes first.
    const TOO_MUCH: End = End::Contained(&["limits.probe_bytes", "limits.cpu", "timed out", "panicked"]);
    const UNKNOWN: End = End::Broken(&["broke the contract", "handle"]);
    vec![
        guest(
            "opens connections without end",
            End::Broken(&["limits.connections = 4"]),
            &times(10_000, "(call $connect)"),
        ),
        Hostile::new(
            "leaves a connection open",
            End::Reports(&["done"]),
            Guest::new("(call $connect)").top(with_streams(peers.mute)).fails().module(),
        ),
        guest(
            "opens and closes without end",
            TOO_MANY,
            &forever("(call $connect) (if (global.get $c) (then (call $close (global.get $c))))"),
        ),
        guest("closes twice", UNKNOWN, "(call $connect) (call $close (global.get $c)) (call $close (global.get $c))"),
        guest("closes what it never had", UNKNOWN, "(call $close (i32.const 7))"),
        guest("closes the largest handle", UNKNOWN, "(call $close (i32.const -1))"),
        guest(
            "sends after it has closed",
            UNKNOWN,
            "(call $connect) (call $close (global.get $c)) (call $send (global.get $c) (i32.const 0) (i32.const 9) (i32.const 5000))",
        ),
        guest(
            "sends to what it never had",
            UNKNOWN,
            "(call $send (i32.const 12345) (i32.const 0) (i32.const 9) (i32.const 5000))",
        ),
        guest(
            "sends out of bounds",
            End::Broken(&["broke the contract"]),
            "(call $connect) (call $send (global.get $c) (i32.const 1) (i32.const -1) (i32.const 5000))",
        ),
        guest(
            "wants the answer out of bounds",
            End::Broken(&["broke the contract"]),
            "(call $connect) (call $send (global.get $c) (i32.const 0) (i32.const 9) (i32.const -4))",
        ),
        guest(
            "sends without end to who does not read",
            TOO_MUCH,
            &format!(
                "(call $connect) {}",
                forever("(call $send (global.get $c) (i32.const 0) (i32.const 400000) (i32.const 5000))")
            ),
        ),
        guest(
            "sends single bytes without end to who does not read",
            TOO_MUCH,
            &format!(
                "(call $connect) {}",
                forever("(call $send (global.get $c) (i32.const 0) (i32.const 1) (i32.const 5000))")
            ),
        ),
        guest("waits for a word forever", TOO_MUCH, &format!("(call $connect) {}", forever(receive))),
        flood("receives a flood forever", TOO_MUCH, &format!("(call $connect) {}", forever(receive))),
        flood(
            "receives a flood into too little memory",
            End::Broken(&["panicked"]),
            &format!("(call $connect) {receive}"),
        ),
        flood(
            "looks for what never comes in a flood",
            TOO_MUCH,
            &format!(
                "(call $connect) {}",
                forever(
                    "(call $receive (global.get $c) (i32.const 1) (i32.const 1024) (i32.const 28) (i32.const 0x100000) (i32.const 0) (i32.const 5000))"
                )
            ),
        ),
        guest(
            "begins TLS with who says nothing",
            TOO_MUCH,
            &format!(
                "(call $connect) {}",
                forever(
                    "(call $tls (global.get $c) (i32.const 3000) (i32.const 9) (i32.const 1) (i32.const 0) (i32.const 5000))"
                )
            ),
        ),
        flood(
            "begins TLS with who floods",
            TOO_MUCH,
            &format!(
                "(call $connect) {}",
                forever(
                    "(call $tls (global.get $c) (i32.const 3000) (i32.const 9) (i32.const 0) (i32.const 0) (i32.const 5000))"
                )
            ),
        ),
    ]
}

fn exchanges(peers: &Peers) -> Vec<Hostile> {
    let top = |peer: SocketAddr| format!(r#"{GET} (data (i32.const 3000) "http://{peer}/")"#);
    let get = |peer: SocketAddr| {
        format!("(drop (call $get (i32.const 3000) (i32.const {}) (i32.const 0)))", peer.to_string().len() + 8)
    };
    let once = |name, peer| {
        // The probe times out a moment before the run does, which leaves time for the report.
        Hostile::new(name, End::Reports(&["done"]), Guest::new(&get(peer)).top(top(peer)).fails().module())
    };
    let ever = |name, peer| Hostile::new(name, TOO_MANY, Guest::new(&forever(&get(peer))).top(top(peer)).module());
    // All 16 parameters of `fetch`, and the address for its result.
    let fetch = |name, peer: SocketAddr, bytes: u32, end| {
        let import = format!(
            r#"(import "vouchd:check/http@0.1.0" "fetch" (func $fetch (param {})))
            (data (i32.const 2990) "GET") (data (i32.const 3000) "http://{peer}/")"#,
            "i32 ".repeat(17)
        );
        let length = peer.to_string().len() + 8;
        let call = format!(
            "(call $fetch (i32.const 2990) (i32.const 3) (i32.const 3000) (i32.const {length}) {} (i32.const 0)
                (i32.const {bytes}) {} (i32.const 5000))",
            "(i32.const 0) ".repeat(4),
            "(i32.const 0) ".repeat(6)
        );
        Hostile::new(name, end, Guest::new(&call).top(import).fails().module())
    };
    vec![
        once("hears a server that drips", peers.drip),
        once("hears a server that says nothing", peers.mute),
        once("hears a server that floods", peers.flood),
        // A truncated answer is an error that names the limit, unless the run times out first.
        Hostile::new(
            "hears headers without end",
            End::Contained(&["limits.probe_bytes", "timed out"]),
            Guest::new(&get(peers.headers)).top(top(peers.headers)).fails().module(),
        ),
        once("hears a server that hangs up", peers.gone),
        once("hears a promise of too many bytes", peers.liar),
        ever("hears a server that drips forever", peers.drip),
        ever("hears a server that says nothing forever", peers.mute),
        ever("hears a server that hangs up forever", peers.gone),
        fetch(
            "takes a flood into too little memory",
            peers.flood,
            u32::MAX,
            End::Bounded(&["broke the contract", "limits.memory", "limits.probe_bytes", "done"]),
        ),
        fetch("takes some of a flood", peers.flood, 4096, End::Reports(&["done"])),
    ]
}
