//! Attempts through WASI: by core modules (preview 1), components (0.2) and programs.

use std::net::TcpListener;

use vouchd_config::Grants;
use vouchd_health::{RunResult, Verdict};

use super::{attempt, said};
use crate::common::{WIT, host, module_text, program, reporting, with_metadata};

/// The guest passes only if WASI gave it something.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn preview_1_gives_a_module_nothing() {
    let table = [
        (
            r#""path_open" (func $f (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32))"#,
            "(call $f (i32.const 3) (i32.const 0) (i32.const 3000) (i32.const 10) (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 60000))",
        ),
        (
            r#""path_open" (func $f (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32))"#,
            "(call $f (i32.const 0) (i32.const 0) (i32.const 3000) (i32.const 10) (i32.const 1) (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 60000))",
        ),
        (r#""fd_prestat_get" (func $f (param i32 i32) (result i32))"#, "(call $f (i32.const 3) (i32.const 60000))"),
        (
            r#""fd_readdir" (func $f (param i32 i32 i32 i64 i32) (result i32))"#,
            "(call $f (i32.const 3) (i32.const 4000) (i32.const 100) (i64.const 0) (i32.const 60000))",
        ),
        (
            r#""path_filestat_get" (func $f (param i32 i32 i32 i32 i32) (result i32))"#,
            "(call $f (i32.const 3) (i32.const 0) (i32.const 3000) (i32.const 10) (i32.const 4000))",
        ),
        (
            r#""path_unlink_file" (func $f (param i32 i32 i32) (result i32))"#,
            "(call $f (i32.const 3) (i32.const 3000) (i32.const 10))",
        ),
        (
            r#""path_symlink" (func $f (param i32 i32 i32 i32 i32) (result i32))"#,
            "(call $f (i32.const 3000) (i32.const 10) (i32.const 3) (i32.const 3000) (i32.const 10))",
        ),
        (
            r#""path_create_directory" (func $f (param i32 i32 i32) (result i32))"#,
            "(call $f (i32.const 3) (i32.const 3000) (i32.const 10))",
        ),
        (
            r#""sock_accept" (func $f (param i32 i32 i32) (result i32))"#,
            "(call $f (i32.const 3) (i32.const 0) (i32.const 60000))",
        ),
        (
            r#""fd_write" (func $f (param i32 i32 i32 i32) (result i32))"#,
            "(call $f (i32.const 4) (i32.const 4000) (i32.const 1) (i32.const 60000))",
        ),
    ];
    let host = host();
    for (import, call) in table {
        let top = format!(
            "(import \"wasi_snapshot_preview1\" {import}) (data (i32.const 3000) \"etc/passwd\")
            (data (i32.const 4000) \"\\b8\\0b\\00\\00\\05\\00\\00\\00\")"
        );
        let body = format!("(if {call} (then (i32.store8 (i32.const 1028) (i32.const 2))))");
        let outcome = attempt(&host, &Grants::default(), &reporting(0, "got in", &top, &body)).await;
        match &outcome.result {
            RunResult::Report(report) => assert_eq!(report.verdict, Verdict::Fail, "{import}"),
            RunResult::Error { .. } => {}
            RunResult::TimedOut { .. } => panic!("{import}: timed out"),
        }
    }
}

/// The part of WASI 0.2 that the attempts use.
const WASI: &str = r#"
package wasi:cli@0.2.0 {
    interface environment {
        get-environment: func() -> list<tuple<string, string>>;
        get-arguments: func() -> list<string>;
        initial-cwd: func() -> option<string>;
    }
}
package wasi:filesystem@0.2.0 {
    interface types { resource descriptor; }
    interface preopens {
        use types.{descriptor};
        get-directories: func() -> list<tuple<descriptor, string>>;
    }
}
package wasi:sockets@0.2.0 {
    interface network {
        resource network;
        enum error-code { unknown, access-denied, not-supported, invalid-argument, out-of-memory, timeout,
            concurrency-conflict, not-in-progress, would-block, invalid-state, new-socket-limit, address-not-bindable,
            address-in-use, remote-unreachable, connection-refused, connection-reset, connection-aborted,
            datagram-too-large, name-unresolvable, temporary-resolver-failure, permanent-resolver-failure }
        enum ip-address-family { ipv4, ipv6 }
        type ipv4-address = tuple<u8, u8, u8, u8>;
        type ipv6-address = tuple<u16, u16, u16, u16, u16, u16, u16, u16>;
        record ipv4-socket-address { port: u16, address: ipv4-address }
        record ipv6-socket-address { port: u16, flow-info: u32, address: ipv6-address, scope-id: u32 }
        variant ip-socket-address { ipv4(ipv4-socket-address), ipv6(ipv6-socket-address) }
    }
    interface instance-network {
        use network.{network};
        instance-network: func() -> network;
    }
    interface tcp {
        use network.{network, error-code, ip-socket-address};
        resource tcp-socket {
            start-bind: func(network: borrow<network>, local-address: ip-socket-address) -> result<_, error-code>;
            start-connect: func(network: borrow<network>, remote-address: ip-socket-address) -> result<_, error-code>;
        }
    }
    interface tcp-create-socket {
        use network.{error-code, ip-address-family};
        use tcp.{tcp-socket};
        create-tcp-socket: func(address-family: ip-address-family) -> result<tcp-socket, error-code>;
    }
    interface udp {
        use network.{network, error-code, ip-socket-address};
        resource udp-socket {
            start-bind: func(network: borrow<network>, local-address: ip-socket-address) -> result<_, error-code>;
        }
    }
    interface udp-create-socket {
        use network.{error-code, ip-address-family};
        use udp.{udp-socket};
        create-udp-socket: func(address-family: ip-address-family) -> result<udp-socket, error-code>;
    }
    interface ip-name-lookup {
        use network.{network, error-code};
        resource resolve-address-stream;
        resolve-addresses: func(network: borrow<network>, name: string) -> result<resolve-address-stream, error-code>;
    }
}
"#;

/// Of the interfaces above, what a core module imports by these names, and what it does with it: `then` is executed where
/// something was given.
fn by_component(imports: &str, uses: &[&str], body: &str) -> Vec<u8> {
    let uses: String = uses.iter().map(|interface| format!("import {interface};\n")).collect();
    let contract = WIT.replace("export checker;", &format!("{uses}export checker;"));
    let wat = module_text(2, "got in", imports, body);
    with_metadata(&wat, &format!("{contract}{WASI}"))
}

const GIVEN: &str = "(then (i32.store8 (i32.const 1028) (i32.const 0)))";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wasi_gives_a_component_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let network = r#"(import "wasi:sockets/instance-network@0.2.0" "instance-network" (func $network (result i32)))"#;
    // An IPv4 address: variant, port, four bytes, and the fields of the other variant.
    let address = |port: u16| {
        format!(
            "(i32.const 0) (i32.const {port}) (i32.const 127) (i32.const 0) (i32.const 0) (i32.const 1)
            (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)"
        )
    };
    let socket = |kind: &str, method: &str| {
        format!(
            r#"{network}
            (import "wasi:sockets/{kind}-create-socket@0.2.0" "create-{kind}-socket" (func $create (param i32 i32)))
            (import "wasi:sockets/{kind}@0.2.0" "[method]{kind}-socket.{method}"
                (func $method (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))"#
        )
    };
    // A refusal to create a socket is as good as one to use it.
    let use_socket = |port: u16| {
        format!(
            "(call $create (i32.const 0) (i32.const 60000))
            (if (i32.eqz (i32.load8_u (i32.const 60000))) (then
                (call $method (i32.load (i32.const 60004)) (call $network) {} (i32.const 60100))
                (if (i32.eqz (i32.load8_u (i32.const 60100))) {GIVEN})))",
            address(port)
        )
    };
    let list = |call: &str| format!("(call ${call} (i32.const 60000)) (if (i32.load (i32.const 60004)) {GIVEN})");
    let environment = |function: &str| {
        format!(r#"(import "wasi:cli/environment@0.2.0" "{function}" (func ${function} (param i32)))"#)
    };
    let table = [
        (
            "the environment",
            by_component(&environment("get-environment"), &["wasi:cli/environment@0.2.0"], &list("get-environment")),
        ),
        (
            "arguments",
            by_component(&environment("get-arguments"), &["wasi:cli/environment@0.2.0"], &list("get-arguments")),
        ),
        (
            "the working directory",
            by_component(
                &environment("initial-cwd"),
                &["wasi:cli/environment@0.2.0"],
                &format!("(call $initial-cwd (i32.const 60000)) (if (i32.load8_u (i32.const 60000)) {GIVEN})"),
            ),
        ),
        (
            "directories",
            by_component(
                r#"(import "wasi:filesystem/preopens@0.2.0" "get-directories" (func $directories (param i32)))"#,
                &["wasi:filesystem/preopens@0.2.0"],
                &list("directories"),
            ),
        ),
        (
            "a TCP connection",
            by_component(
                &socket("tcp", "start-connect"),
                &[
                    "wasi:sockets/instance-network@0.2.0",
                    "wasi:sockets/tcp@0.2.0",
                    "wasi:sockets/tcp-create-socket@0.2.0",
                ],
                &use_socket(port),
            ),
        ),
        (
            "a TCP listener",
            by_component(
                &socket("tcp", "start-bind"),
                &[
                    "wasi:sockets/instance-network@0.2.0",
                    "wasi:sockets/tcp@0.2.0",
                    "wasi:sockets/tcp-create-socket@0.2.0",
                ],
                &use_socket(0),
            ),
        ),
        (
            "a UDP socket",
            by_component(
                &socket("udp", "start-bind"),
                &[
                    "wasi:sockets/instance-network@0.2.0",
                    "wasi:sockets/udp@0.2.0",
                    "wasi:sockets/udp-create-socket@0.2.0",
                ],
                &use_socket(0),
            ),
        ),
        (
            "a name",
            by_component(
                &format!(
                    r#"{network} (import "wasi:sockets/ip-name-lookup@0.2.0" "resolve-addresses"
                    (func $resolve (param i32 i32 i32 i32))) (data (i32.const 3000) "localhost")"#
                ),
                &["wasi:sockets/instance-network@0.2.0", "wasi:sockets/ip-name-lookup@0.2.0"],
                &format!(
                    "(call $resolve (call $network) (i32.const 3000) (i32.const 9) (i32.const 60000))
                    (if (i32.eqz (i32.load8_u (i32.const 60000))) {GIVEN})"
                ),
            ),
        ),
    ];
    assert!(std::env::vars_os().count() > 0, "there is an environment to be seen");
    let host = host();
    for (what, module) in table {
        let outcome = attempt(&host, &Grants::default(), &module).await;
        println!("{what}: {:?}", outcome.result);
        assert_ne!(said(&outcome), "GOT IN", "{what}");
        assert!(matches!(outcome.result, RunResult::Report(_)), "{what}: {:?}", outcome.result);
    }
    assert!(listener.accept().is_err(), "somebody came");
    // The granted environment is visible: the attempts above would have seen one.
    let env = [("A".to_owned(), "b".to_owned())].into();
    let module =
        by_component(&environment("get-environment"), &["wasi:cli/environment@0.2.0"], &list("get-environment"));
    assert_eq!(said(&attempt(&host, &Grants { env, ..Grants::default() }, &module).await), "GOT IN");
}

/// The program passes (exit status 0) only if it was given something.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn program_is_given_no_more_than_its_name() {
    let table = [
        (
            "a variable of the daemon's environment",
            r#""environ_sizes_get" (func $f (param i32 i32) (result i32))"#,
            "(drop (call $f (i32.const 64) (i32.const 68))) (i32.load (i32.const 64))",
        ),
        (
            "more arguments than a name",
            r#""args_sizes_get" (func $f (param i32 i32) (result i32))"#,
            "(drop (call $f (i32.const 64) (i32.const 68))) (i32.gt_u (i32.load (i32.const 64)) (i32.const 1))",
        ),
        (
            "standard input",
            r#""fd_read" (func $f (param i32 i32 i32 i32) (result i32))"#,
            "(i32.store (i32.const 32) (i32.const 128)) (i32.store (i32.const 36) (i32.const 99))
            (drop (call $f (i32.const 0) (i32.const 32) (i32.const 1) (i32.const 64))) (i32.load (i32.const 64))",
        ),
        (
            "a directory",
            r#""fd_prestat_get" (func $f (param i32 i32) (result i32))"#,
            "(i32.eqz (call $f (i32.const 3) (i32.const 64)))",
        ),
        (
            "a file by its path",
            r#""path_open" (func $f (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32))"#,
            "(i32.eqz (call $f (i32.const 3) (i32.const 1) (i32.const 256) (i32.const 11) (i32.const 0) (i64.const 2)
                (i64.const 0) (i32.const 0) (i32.const 64)))",
        ),
        (
            "a descriptor of the checker",
            r#""fd_fdstat_get" (func $f (param i32 i32) (result i32))"#,
            "(i32.eqz (i32.and (call $f (i32.const 3) (i32.const 64)) (call $f (i32.const 10) (i32.const 64))))",
        ),
        (
            "a socket",
            r#""sock_accept" (func $f (param i32 i32 i32) (result i32))"#,
            "(i32.eqz (call $f (i32.const 3) (i32.const 0) (i32.const 64)))",
        ),
    ];
    let host = host();
    for (what, import, given) in table {
        let top = format!(
            r#"(import "wasi_snapshot_preview1" {import})
            (data (i32.const 256) "/etc/passwd") (func $given (result i32) {given})"#
        );
        let program = program(&top, "(call $exit (i32.eqz (call $given)))");
        let outcome = attempt(&host, &Grants::default(), &program).await;
        println!("{what}: {:?}", outcome.result);
        match &outcome.result {
            RunResult::Report(report) => assert_eq!(report.verdict, Verdict::Fail, "{what}"),
            other => panic!("{what}: {other:?}"),
        }
    }
}
