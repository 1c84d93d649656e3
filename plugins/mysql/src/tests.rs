//! Whole conversations with a scripted server.

use vouchd_check::testing::{FakeHost, Script};
use vouchd_check::{ProbeError, Verdict};

use super::*;
use crate::auth::Method;
use crate::wire::tests::{TOO_MANY, mariadb};
use crate::wire::{capability, login, packet, query};

const ADDRESS: (&str, &str) = ("address", "127.0.0.1:3306");
const OK: &[u8] = b"\0\0\0\x02\0\0\0";
const END: &[u8] = b"\xfe\0\0\x02\0";
const CHALLENGE: &[u8] = b"12345678abcdefghijkl";

fn greeting() -> Vec<u8> {
    packet(0, &mariadb("mysql_native_password"))
}

fn host(script: Script) -> FakeHost {
    let secret = |path: &str| Ok((path == "/etc/secret").then(|| b"secret\n".to_vec()));
    FakeHost::new().on_connect_tcp(move |_| Ok(script.clone().connection())).on_read(secret)
}

fn login_packet(password: &str) -> Vec<u8> {
    let capabilities = capability::CLIENT;
    let proof = Method::Native.proof(password, CHALLENGE);
    packet(1, &login(capabilities, "check", &proof, "mysql_native_password"))
}

/// A server that accepts the login, and reports whether it is read-only.
fn logged_in(read_only: &str) -> Script {
    Script::new()
        .greets(greeting())
        .expects(login_packet("secret"), packet(2, OK))
        .expects(packet(0, &query("SELECT @@global.read_only")), table(&["@@global.read_only"], &[&[Some(read_only)]]))
}

/// The packets of a result.
fn table(names: &[&str], rows: &[&[Option<&str>]]) -> Vec<u8> {
    let text = |out: &mut Vec<u8>, text: &str| {
        out.push(u8::try_from(text.len()).unwrap());
        out.extend(text.as_bytes());
    };
    let mut bodies = vec![vec![u8::try_from(names.len()).unwrap()]];
    for name in names {
        let mut column = b"\x03def\0\0\0".to_vec();
        text(&mut column, name);
        column.extend(b"\0\x0c\x3f\0\x01\0\0\0\x08\x80\0\0\0\0");
        bodies.push(column);
    }
    bodies.push(END.to_vec());
    for row in rows {
        let mut body = Vec::new();
        for value in *row {
            match value {
                Some(value) => text(&mut body, value),
                None => body.push(0xfb),
            }
        }
        bodies.push(body);
    }
    bodies.push(END.to_vec());
    (1u8..).zip(&bodies).flat_map(|(number, body)| packet(number, body)).collect()
}

const LOGIN: [(&str, &str); 3] = [ADDRESS, ("user", "check"), ("password_file", "/etc/secret")];

#[test]
fn greeting_decides_without_a_login() {
    let table: [(Vec<u8>, Verdict, &str); 6] = [
        (greeting(), Verdict::Pass, "MariaDB 10.11.6 at 127.0.0.1:3306 greets"),
        (packet(0, TOO_MANY), Verdict::Fail, "127.0.0.1:3306: Too many connections (1040)"),
        (
            packet(0, b"\xff\x69\x04#HY000Host is blocked because of many connection errors"),
            Verdict::Fail,
            "127.0.0.1:3306: Host is blocked because of many connection errors (1129)",
        ),
        (b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), Verdict::Fail, "127.0.0.1:3306: does not speak the MySQL protocol"),
        (Vec::new(), Verdict::Fail, "127.0.0.1:3306: closed the connection instead of sending its greeting"),
        (
            greeting()[..30].to_vec(),
            Verdict::Fail,
            "127.0.0.1:3306: closed the connection instead of sending its greeting",
        ),
    ];
    for (said, verdict, message) in table {
        let report = host(Script::new().greets(said)).run(check, &[ADDRESS]).unwrap();
        assert_eq!((report.verdict, report.message.as_str()), (verdict, message));
    }
}

#[test]
fn wrong_role_fails() {
    let at = "MariaDB 10.11.6 at 127.0.0.1:3306:";
    for (read_only, role, verdict, text) in [
        ("0", "writable", Verdict::Pass, "writable"),
        ("0", "read-only", Verdict::Fail, "writable, expected read-only"),
        ("1", "read-only", Verdict::Pass, "read-only"),
        ("1", "writable", Verdict::Fail, "read-only, expected writable"),
    ] {
        let params = [LOGIN.as_slice(), &[("role", role)]].concat();
        let report = host(logged_in(read_only)).run(check, &params).unwrap();
        assert_eq!((report.verdict, report.message), (verdict, format!("{at} {text}")));
    }
}

#[test]
fn old_server_is_asked_for_slave_status() {
    let script = logged_in("1")
        .expects(
            packet(0, &query("SHOW REPLICA STATUS")),
            packet(1, b"\xff\x28\x04#42000You have an error in your SQL syntax"),
        )
        .expects(
            packet(0, &query("SHOW SLAVE STATUS")),
            table(&["Slave_IO_Running", "Seconds_Behind_Master"], &[&[Some("Yes"), Some("7")]]),
        );
    let params = [LOGIN.as_slice(), &[("lag.warn", "5s"), ("lag.fail", "1m")]].concat();
    let report = host(script).run(check, &params).unwrap();
    let message = "MariaDB 10.11.6 at 127.0.0.1:3306: read-only, 7 s behind, expected at most 5s";
    assert_eq!((report.verdict, report.message.as_str()), (Verdict::Warn, message));
    assert_eq!((report.metrics[0].name.as_str(), report.metrics[0].value), ("lag", 7.0));
}

#[test]
fn worst_finding_decides() {
    let status = table(&["Variable_name", "Value"], &[&[Some("wsrep_ready"), Some("OFF")]]);
    let script = logged_in("0").expects(packet(0, &query(GALERA)), status);
    let params = [LOGIN.as_slice(), &[("role", "writable"), ("galera", "true")]].concat();
    let report = host(script).run(check, &params).unwrap();
    assert_eq!(report.verdict, Verdict::Fail);
    assert!(report.message.ends_with("writable, not a node of a Galera cluster"), "{}", report.message);
}

#[test]
fn rejected_login_is_an_error() {
    let refusals: [(&[u8], &str); 2] = [
        (b"\xff\x15\x04#28000Access denied for user 'check'@'localhost'", "Access denied"),
        (b"\xfeclient_ed25519\0abc\0", "\"client_ed25519\""),
    ];
    for (answer, words) in refusals {
        let script = Script::new().greets(greeting()).expects(login_packet("secret"), packet(2, answer));
        let error = host(script).run(check, &LOGIN).unwrap_err().to_string();
        assert!(error.contains(words) && !error.contains("secret"), "{error}");
    }
    let not_allowed = packet(0, b"\xff\x6a\x04Host '192.0.2.1' is not allowed to connect to this MariaDB server");
    let error = host(Script::new().greets(not_allowed)).run(check, &[ADDRESS]).unwrap_err().to_string();
    assert!(error.contains("is not allowed to connect"), "{error}");
    let host = FakeHost::new().on_connect_tcp(|_| Err(ProbeError::Denied("add this".to_owned())));
    assert!(host.run(check, &[ADDRESS]).unwrap_err().to_string().contains("add this"));
}

#[test]
fn clear_text_password_needs_a_private_connection() {
    let wanted = packet(2, b"\xfemysql_clear_password\0");
    let script = Script::new().greets(greeting()).expects(login_packet("secret"), &wanted);
    // The script expects no further packet: if the password were sent, the connection would be refused.
    let error = host(script).run(check, &LOGIN).unwrap_err().to_string();
    assert!(error.contains("asks for the password in clear text"), "{error}");

    let script = logged_in_by_clear_password();
    let host = FakeHost::new()
        .on_connect_unix(move |_| Ok(script.clone().connection()))
        .on_read(|_| Ok(Some(b"secret".to_vec())));
    let params = [("socket", "/run/mysqld/mysqld.sock"), ("user", "check"), ("password_file", "/etc/secret")];
    let report = host.run(check, &params).unwrap();
    assert_eq!(report.message, "MariaDB 10.11.6 at /run/mysqld/mysqld.sock: writable");
}

fn logged_in_by_clear_password() -> Script {
    Script::new()
        .greets(greeting())
        .expects(login_packet("secret"), packet(2, b"\xfemysql_clear_password\0"))
        .expects(packet(3, b"secret\0"), packet(4, OK))
        .expects(packet(0, &query("SELECT @@global.read_only")), table(&["@@global.read_only"], &[&[Some("0")]]))
}

#[test]
fn mysql_8_accepts_a_cached_password_or_asks_for_it() {
    let again = Method::CachingSha2.proof("secret", b"other");
    let switched = |then: &[u8]| {
        Script::new()
            .greets(greeting())
            .expects(login_packet("secret"), packet(2, b"\xfecaching_sha2_password\0other\0"))
            .expects(packet(3, &again), [packet(4, &[1, then[0]]), then[1..].to_vec()].concat())
            .expects(packet(0, &query("SELECT @@global.read_only")), table(&["@@global.read_only"], &[&[Some("0")]]))
    };
    // Number 6 would be the query's.
    let known = switched(&[&[3][..], &packet(5, OK)].concat());
    let report = host(known).run(check, &LOGIN).unwrap();
    assert_eq!(report.verdict, Verdict::Pass);
    let error = host(switched(&[4])).run(check, &LOGIN).unwrap_err().to_string();
    assert!(error.contains("asks for the password in clear text"), "{error}");
}

#[test]
fn tls_starts_before_the_user_is_named() {
    let no_tls = host(Script::new().greets(without_tls()));
    let params = [LOGIN.as_slice(), &[("tls", "true")]].concat();
    let report = no_tls.run(check, &params).unwrap();
    assert_eq!(report.message, "127.0.0.1:3306: does not offer TLS");
    // The script presents no certificate: the handshake fails, and nothing more is sent.
    let capabilities = capability::CLIENT | capability::TLS;
    let script = Script::new().greets(greeting()).expects(packet(1, &crate::wire::tls_request(capabilities)), "");
    let report = host(script).run(check, &params).unwrap();
    assert_eq!(report.verdict, Verdict::Fail);
    assert!(report.message.contains("TLS: the script presents no certificate"), "{}", report.message);
}

/// TLS is bit 11 of the capabilities.
fn without_tls() -> Vec<u8> {
    let mut body = mariadb("mysql_native_password");
    let capabilities = body.windows(2).position(|bytes| bytes == [0xfe, 0xff]).unwrap();
    body[capabilities + 1] = 0xf7;
    packet(0, &body)
}

#[test]
fn parameters_that_make_no_sense_are_errors() {
    type Row = (&'static [(&'static str, &'static str)], &'static str);
    let table: [Row; 6] = [
        (&[], "expected `address` or `socket`"),
        (&[ADDRESS, ("socket", "/run/a")], "expected only one of them"),
        (&[ADDRESS, ("role", "writable")], "parameter `role` needs a login"),
        (&[ADDRESS, ("tls", "true")], "parameter `tls` needs a login"),
        (&[ADDRESS, ("user", "a"), ("role", "master")], "expected \"writable\" or \"read-only\""),
        (&[ADDRESS, ("user", "a"), ("lag.most", "1s")], "unknown parameter `most`"),
    ];
    for (params, expected) in table {
        let error = host(Script::new()).run(check, params).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
