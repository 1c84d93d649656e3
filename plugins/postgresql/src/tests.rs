//! Whole conversations with a scripted server.

use vouchd_check::testing::{FakeHost, Script};
use vouchd_check::{ProbeError, Verdict};

use super::*;
use crate::wire::tests::{rejected, said};
use crate::wire::{password as password_message, query, startup, terminate, tls_request};

const ADDRESS: (&str, &str) = ("address", "127.0.0.1:5432");
const LOGIN: [(&str, &str); 3] = [ADDRESS, ("user", "check"), ("password_file", "/etc/secret")];

fn host(script: Script) -> FakeHost {
    let secret = |path: &str| Ok((path == "/etc/secret").then(|| b"secret\n".to_vec()));
    FakeHost::new().on_connect_tcp(move |_| Ok(script.clone().connection())).on_read(secret)
}

fn auth(kind: u32, data: &[u8]) -> Vec<u8> {
    said(b'R', &[&kind.to_be_bytes(), data].concat())
}

fn welcome() -> Vec<u8> {
    let version = said(b'S', b"server_version\x0015.3 (Debian 15.3-1)\0");
    [auth(0, &[]), version, said(b'K', b"12345678"), said(b'Z', b"I")].concat()
}

/// An answer of one row.
fn row(values: &[Option<&str>]) -> Vec<u8> {
    let mut body = u16::try_from(values.len()).unwrap().to_be_bytes().to_vec();
    for value in values {
        match value {
            Some(value) => {
                body.extend(u32::try_from(value.len()).unwrap().to_be_bytes());
                body.extend(value.as_bytes());
            }
            None => body.extend([0xff; 4]),
        }
    }
    [said(b'T', b"\0\0"), said(b'D', &body), said(b'C', b"SELECT 1\0"), said(b'Z', b"I")].concat()
}

/// A server that accepts a login by MD5, and reports whether it is in recovery.
fn logged_in(in_recovery: &str) -> Script {
    let proof = proof::md5("check", "secret", *b"salt");
    Script::new()
        .expects(startup("check", "postgres"), auth(5, b"salt"))
        .expects(password_message(proof.as_bytes()), welcome())
        .expects(query(ROLE), row(&[Some(in_recovery)]))
}

#[test]
fn first_answer_decides_without_a_login() {
    let at = "127.0.0.1:5432";
    let table: [(Vec<u8>, Verdict, String); 9] = [
        (
            auth(10, b"SCRAM-SHA-256\0\0"),
            Verdict::Pass,
            format!("PostgreSQL at {at} accepts connections, and asks for a login"),
        ),
        (welcome(), Verdict::Pass, format!("PostgreSQL at {at} accepts connections")),
        (
            rejected("28000", "no pg_hba.conf entry for host"),
            Verdict::Pass,
            format!("PostgreSQL at {at} answers, and rejects an unknown user"),
        ),
        (
            rejected("57P03", "the database system is starting up"),
            Verdict::Fail,
            format!("{at}: the database system is starting up (57P03)"),
        ),
        (
            rejected("53300", "sorry, too many clients already"),
            Verdict::Fail,
            format!("{at}: sorry, too many clients already (53300)"),
        ),
        (
            Vec::new(),
            Verdict::Fail,
            format!("{at}: closed the connection instead of sending an answer to a connection"),
        ),
        (b"HTTP/1.1 400 Bad Request".to_vec(), Verdict::Fail, format!("{at}: does not speak the PostgreSQL protocol")),
        (b"R\0\0\0\x09\0\0\0\x05a".to_vec(), Verdict::Fail, format!("{at}: does not speak the PostgreSQL protocol")),
        (said(b'N', b"\0").repeat(300), Verdict::Fail, format!("{at}: does not speak the PostgreSQL protocol")),
    ];
    for (answer, verdict, message) in table {
        let script = Script::new().expects(startup("vouchd", "postgres"), answer).expects(terminate(), "");
        let report = host(script).run(check, &[ADDRESS]).unwrap();
        assert_eq!((report.verdict, report.message), (verdict, message));
    }
}

#[test]
fn wrong_role_fails() {
    for (in_recovery, role, verdict, text) in [
        ("f", "primary", Verdict::Pass, "primary"),
        ("f", "standby", Verdict::Fail, "primary, expected standby"),
        ("t", "standby", Verdict::Pass, "standby"),
        ("t", "primary", Verdict::Fail, "standby, expected primary"),
    ] {
        let params = [LOGIN.as_slice(), &[("role", role)]].concat();
        let report = host(logged_in(in_recovery)).run(check, &params).unwrap();
        assert_eq!((report.verdict, report.message), (verdict, format!("PostgreSQL 15.3 at 127.0.0.1:5432: {text}")));
    }
}

#[test]
fn only_a_standby_is_asked_for_its_lag() {
    let params = [LOGIN.as_slice(), &[("lag.warn", "5s")]].concat();
    let script = logged_in("t").expects(query(LAG), row(&[Some("t"), Some("7.5")]));
    let report = host(script).run(check, &params).unwrap();
    assert_eq!(report.verdict, Verdict::Warn);
    assert!(report.message.ends_with("standby, 7.5 s behind, expected at most 5s"), "{}", report.message);
    assert_eq!((report.metrics[0].name.as_str(), report.metrics[0].value), ("lag", 7.5));
    // The script expects no second query.
    let report = host(logged_in("f")).run(check, &params).unwrap();
    assert_eq!((report.verdict, report.metrics.len()), (Verdict::Pass, 0));
}

#[test]
fn rejected_login_is_an_error() {
    let refusals = [
        (rejected("28P01", "password authentication failed for user \"check\""), "password authentication failed"),
        (rejected("3D000", "database \"postgres\" does not exist"), "does not exist"),
        (auth(7, &[]), "expected trust, password, md5"),
        (auth(10, b"SCRAM-SHA-512\0\0"), "expected trust, password, md5"),
        (auth(3, &[]), "asks for the password in clear text"),
        (
            [auth(10, b"SCRAM-SHA-256\0\0"), auth(11, b"r=x")].concat(),
            // The script cannot know the nonce: the connection is refused when it is sent.
            "",
        ),
    ];
    for (answer, words) in refusals {
        let script = Script::new().expects(startup("check", "postgres"), answer);
        match host(script).run(check, &LOGIN) {
            Err(error) => {
                let error = error.to_string();
                assert!(!words.is_empty() && error.contains(words) && !error.contains("secret"), "{error}");
            }
            Ok(report) => assert_eq!((words, report.verdict), ("", Verdict::Fail)),
        }
    }
    let script = Script::new().expects(startup("check", "postgres"), auth(5, b"salt"));
    let error = host(script).run(check, &[ADDRESS, ("user", "check")]).unwrap_err().to_string();
    assert!(error.contains("expected the parameter `password_file`"), "{error}");
    let host = FakeHost::new().on_connect_tcp(|_| Err(ProbeError::Denied("add this".to_owned())));
    assert!(host.run(check, &[ADDRESS]).unwrap_err().to_string().contains("add this"));
}

#[test]
fn clear_text_password_needs_a_private_connection() {
    let script = Script::new()
        .expects(startup("check", "postgres"), auth(3, &[]))
        .expects(password_message(b"secret"), welcome())
        .expects(query(ROLE), row(&[Some("f")]));
    let host = FakeHost::new()
        .on_connect_unix(move |_| Ok(script.clone().connection()))
        .on_read(|_| Ok(Some(b"secret".to_vec())));
    let params = [("socket", "/run/s"), ("user", "check"), ("password_file", "/etc/secret")];
    assert_eq!(host.run(check, &params).unwrap().message, "PostgreSQL 15.3 at /run/s: primary");
}

#[test]
fn tls_starts_before_the_login() {
    let params = [ADDRESS, ("tls", "true")];
    let report = host(Script::new().expects(tls_request(), "N")).run(check, &params).unwrap();
    assert_eq!(report.message, "127.0.0.1:5432: does not offer TLS");
    // The script presents no certificate: the handshake fails, and nothing more is sent.
    let report = host(Script::new().expects(tls_request(), "S")).run(check, &params).unwrap();
    assert!(report.message.contains("TLS: the script presents no certificate"), "{}", report.message);
}

#[test]
fn parameters_that_make_no_sense_are_errors() {
    type Row = (&'static [(&'static str, &'static str)], &'static str);
    let table: [Row; 5] = [
        (&[], "expected `address` or `socket`"),
        (&[ADDRESS, ("socket", "/run/a")], "expected only one of them"),
        (&[ADDRESS, ("role", "primary")], "parameter `role` needs a login"),
        (&[ADDRESS, ("user", "a"), ("role", "master")], "expected \"primary\" or \"standby\""),
        (&[ADDRESS, ("user", "a"), ("lag.most", "1s")], "unknown parameter `most`"),
    ];
    for (params, expected) in table {
        let error = host(Script::new()).run(check, params).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
