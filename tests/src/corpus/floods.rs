//! Endless or oversized calls of the log, the memo and the probes.

use super::parts::{CONNECT, COUNT, LOG, REMEMBER, forever, times};
use super::{End, Hostile};
use crate::guest::Guest;

const BROKE: End = End::Broken(&["broke the contract"]);
/// A slow machine times out before the limit.
const TOO_MANY: End = End::Contained(&["limits.probes = 64", "timed out"]);
/// An address where nobody listens: the connection is refused at once.
const NOBODY: &str = "(data (i32.const 3000) \"127.0.0.1:1\")";

pub(super) fn all() -> Vec<Hostile> {
    [logs(), memos(), probes()].concat()
}

fn guest(name: &'static str, end: End, top: &str, body: &str) -> Hostile {
    Hostile::new(name, end, Guest::new(body).top(top).module())
}

fn logs() -> Vec<Hostile> {
    let log = |length: &str| format!("(call $log (i32.const 1) (i32.const 0) (i32.const {length}))");
    vec![
        guest("logs forever", End::Stopped, LOG, &forever(&log("4096"))),
        guest("logs nothing forever", End::Stopped, LOG, &forever(&log("0"))),
        guest("logs all its memory forever", End::Stopped, LOG, &forever(&log("400000"))),
        guest("logs 4 GiB a line", BROKE, LOG, &log("-1")),
        Hostile::new(
            "logs 4 GiB in lines of 64 KiB",
            End::Stopped,
            Guest::new(&times(65536, &log("65536"))).top(LOG).module(),
        ),
        guest("logs out of bounds", BROKE, LOG, "(call $log (i32.const 1) (i32.const -9) (i32.const 64))"),
        guest("logs at no level", BROKE, LOG, "(call $log (i32.const 9) (i32.const 0) (i32.const 1))"),
        guest(
            "logs no text",
            BROKE,
            &format!("{LOG} (data (i32.const 4000) \"\\ff\\ff\")"),
            "(call $log (i32.const 1) (i32.const 4000) (i32.const 2))",
        ),
        Hostile::new(
            "logs ten thousand lines and then fails",
            End::Reports(&["done"]),
            Guest::new(&times(10_000, &log("64"))).top(LOG).fails().module(),
        ),
    ]
}

fn memos() -> Vec<Hostile> {
    let set = |at: &str, length: &str| format!("(call $remember (i32.const {at}) (i32.const {length}))");
    vec![
        guest("remembers too much", End::Broken(&["a memo holds at most 4096"]), REMEMBER, &set("0", "524288")),
        guest("remembers forever", End::Stopped, REMEMBER, &forever(&set("0", "4096"))),
        guest("remembers what is not there", BROKE, REMEMBER, &set("500000", "500000")),
    ]
}

fn probes() -> Vec<Hostile> {
    let connect = "(drop (call $connect (i32.const 3000) (i32.const 11) (i32.const 50)))";
    let count = "(drop (call $count (i32.const 3000) (i32.const 3)))";
    let to_nobody = format!("{CONNECT} {NOBODY}");
    let denied = End::Broken(&["allow = {"]);
    vec![
        guest("ten thousand connections", TOO_MANY, &to_nobody, &times(10_000, connect)),
        guest("ten thousand probes that are refused", denied, &format!("{COUNT} {NOBODY}"), &times(10_000, count)),
        guest("asks without end", TOO_MANY, &to_nobody, &forever(connect)),
        guest(
            "asks without end for what is not granted",
            End::Broken(&["allow = {"]),
            &format!("{COUNT} {NOBODY}"),
            &forever(count),
        ),
        Hostile::new(
            "asks for an address as long as its memory",
            End::Reports(&["done"]),
            Guest::new("(drop (call $connect (i32.const 0) (i32.const 524288) (i32.const 0)))")
                .top(CONNECT)
                .fails()
                .module(),
        ),
        guest(
            "asks for an address out of bounds",
            BROKE,
            CONNECT,
            "(drop (call $connect (i32.const -1) (i32.const 524288) (i32.const 0)))",
        ),
        guest(
            "asks for an address that is no text",
            End::Broken(&["broke the contract", "utf-8"]),
            &format!("{CONNECT} (data (i32.const 3000) \"\\ff\\00\\ff\\00\")"),
            "(drop (call $connect (i32.const 3000) (i32.const 4) (i32.const 0)))",
        ),
        guest(
            "asks at its start",
            End::Contained(&["does not fit", "could not be started", "allow = {"]),
            &format!("{COUNT} {NOBODY} (func $s {count}) (start $s)"),
            "",
        ),
    ]
}
