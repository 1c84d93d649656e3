use vouchd_check::ProbeError;
use vouchd_check::testing::{FakeHost, Script};

use super::*;

const INFO: &str = "Name: HAProxy\nVersion: 2.6.12\nCurrConns: 7\nStopping: 0\n\n";
const WEB: &str = "# pxname,svname,status,\nweb,a,UP,\nweb,b,DOWN,\nweb,c,no check,\nweb,BACKEND,UP,\n\n";

/// Runs the check against an answer to its commands.
fn report(params: &[(&str, &str)], commands: &'static str, answer: &'static str) -> Result<Report> {
    let host = FakeHost::new().on_connect_unix(move |path| {
        assert_eq!(path, SOCKET);
        Ok(Script::new().expects(commands, answer).connection())
    });
    host.run(check, params)
}

#[test]
fn number_of_servers_up_decides() {
    const ASKED: &str = "show info;show stat web 6 -1\n";
    type Row = (&'static [(&'static str, &'static str)], Verdict, &'static str, Option<i16>);
    let table: [Row; 5] = [
        (&[], Verdict::Pass, "web has 2 of 3 servers up (b DOWN)", None),
        (&[("servers", "3")], Verdict::Fail, "web has 2 of 3 servers up (b DOWN), expected at least 3", None),
        (&[("warn_servers", "3")], Verdict::Warn, "web has 2 of 3 servers up (b DOWN), expected at least 3", None),
        (&[("per_down", "-7")], Verdict::Pass, "web has 2 of 3 servers up (b DOWN)", Some(-7)),
        (
            &[("servers", "0"), ("per_down", "-30000")],
            Verdict::Pass,
            "web has 2 of 3 servers up (b DOWN)",
            Some(-30000),
        ),
    ];
    let answer: &'static str = format!("{INFO}{WEB}").leak();
    for (params, verdict, message, adjust) in table {
        let found = report(&[&[("backend", "web")], params].concat(), ASKED, answer).unwrap();
        assert_eq!((found.verdict, found.message), (verdict, format!("HAProxy 2.6.12: {message}")), "{params:?}");
        assert_eq!(found.adjust, adjust, "{params:?}");
        let metrics: Vec<_> = found.metrics.iter().map(|m| (m.name.as_str(), m.value)).collect();
        assert_eq!(metrics, [("servers_up", 2.0), ("servers", 3.0), ("connections", 7.0)]);
    }
}

#[test]
fn frontends_must_be_open_and_worst_findings_are_listed() {
    const ASKED: &str = "show info;show stat www 1 -1;show stat web 6 -1\n";
    let params = [("frontend", "www"), ("backend", "web"), ("servers", "3")];
    for (state, message) in [
        ("OPEN", "web has 2 of 3 servers up (b DOWN), expected at least 3"),
        ("STOP", "www is STOP, expected OPEN; web has 2 of 3 servers up (b DOWN), expected at least 3"),
    ] {
        let answer = format!("{INFO}# pxname,svname,status,\nwww,FRONTEND,{state},\n\n{WEB}").leak();
        let found = report(&params, ASKED, answer).unwrap();
        assert_eq!((found.verdict, found.message), (Verdict::Fail, format!("HAProxy 2.6.12: {message}")));
    }
}

#[test]
fn missing_proxy_fails() {
    let answer = format!("{INFO}No such proxy.\n\n# pxname,svname,status,\n\n").leak();
    let params = [("frontend", "www"), ("backend", "web")];
    let found = report(&params, "show info;show stat www 1 -1;show stat web 6 -1\n", answer).unwrap();
    assert_eq!(
        found,
        Report::fail("HAProxy 2.6.12: no frontend www; no backend web")
            .metric("servers_up", 0.0, "")
            .metric("servers", 0.0, "")
            .metric("connections", 7.0, "")
    );
}

#[test]
fn any_answer_passes_unless_haproxy_is_stopping() {
    let found = report(&[], "show info\n", INFO).unwrap();
    assert_eq!((found.verdict, found.message.as_str()), (Verdict::Pass, "HAProxy 2.6.12: answers"));
    let found = report(&[], "show info\n", "Name: HAProxy\nVersion: 1\nStopping: 1\n\n").unwrap();
    assert_eq!((found.verdict, found.message.as_str()), (Verdict::Fail, "HAProxy 1: is stopping"));
}

#[test]
fn other_service_cut_answer_or_none_fails() {
    let whole = format!("{INFO}{WEB}");
    for cut in 0..whole.len() {
        let answer: &'static str = whole[..cut].to_owned().leak();
        let found = report(&[("backend", "web")], "show info;show stat web 6 -1\n", answer).unwrap();
        assert_eq!(found.verdict, Verdict::Fail, "{answer:?}: {}", found.message);
    }
    for answer in ["220 mail\r\n", "\n\n\n\n", "Permission denied\n\n", "\u{0}\u{1}\n\n,,,\n\n"] {
        let found = report(&[("backend", "web")], "show info;show stat web 6 -1\n", answer).unwrap();
        assert!(found.message.contains("expected HAProxy's statistics"), "{answer:?}: {}", found.message);
    }
    let host = FakeHost::new().on_connect_unix(|_| Err(ProbeError::Refused));
    let found = host.run(check, &[]).unwrap();
    assert_eq!(found, Report::fail(format!("{SOCKET}: connection refused")));
}

#[test]
fn parameters_that_make_no_sense_are_errors() {
    type Row = (&'static [(&'static str, &'static str)], &'static str);
    let table: [Row; 5] = [
        (&[("backend", "web;disable server a/b")], "`backend`: expected a name as in HAProxy's configuration"),
        (&[("frontend", "")], "`frontend`: expected a name as in HAProxy's configuration"),
        (&[("per_down", "-5")], "need `backend`"),
        (&[("backend", "a"), ("servers", "3"), ("warn_servers", "2")], "expected at least `servers` = 3, found 2"),
        (&[("socket", "/a"), ("address", "a:1")], "expected only one of them"),
    ];
    for (params, expected) in table {
        let error = report(params, "", "").unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
