use vouchd_check::ProbeError;
use vouchd_check::testing::{FakeHost, Script};

use super::*;
use crate::wire::Call;

fn state(load: &str, active: &str, sub: &str) -> State {
    State { load: load.to_owned(), active: active.to_owned(), sub: sub.to_owned() }
}

#[test]
fn state_decides() {
    type Row = (
        &'static [&'static str],
        &'static [&'static str],
        (&'static str, &'static str, &'static str),
        Verdict,
        &'static str,
    );
    let table: [Row; 9] = [
        (&[], &[], ("loaded", "active", "running"), Verdict::Pass, "n.service is active/running"),
        (&[], &[], ("loaded", "reloading", "reload"), Verdict::Warn, "n.service is reloading/reload, expected active"),
        (
            &[],
            &[],
            ("loaded", "activating", "auto-restart"),
            Verdict::Warn,
            "is activating/auto-restart, expected active",
        ),
        (&[], &[], ("loaded", "failed", "failed"), Verdict::Fail, "n.service is failed/failed, expected active"),
        (&[], &[], ("not-found", "inactive", "dead"), Verdict::Fail, "n.service can't be loaded: not-found"),
        (&[], &[], ("masked", "inactive", "dead"), Verdict::Fail, "n.service can't be loaded: masked"),
        (&["active/running"], &[], ("loaded", "active", "exited"), Verdict::Fail, "expected active/running"),
        (&["active", "inactive"], &[], ("loaded", "inactive", "dead"), Verdict::Pass, "n.service is inactive/dead"),
        (&["active"], &["failed"], ("loaded", "failed", "failed"), Verdict::Warn, "expected active"),
    ];
    let own = |states: &[&str]| states.iter().map(|state| (*state).to_owned()).collect();
    let unit = Unit::parse("n").unwrap();
    for (pass, warn, (load, active, sub), verdict, message) in table {
        let report = Wanted::new(own(pass), own(warn)).unwrap().judge(&unit, &state(load, active, sub));
        assert_eq!(report.verdict, verdict, "{}", report.message);
        assert!(report.message.ends_with(message), "{}", report.message);
    }
}

/// An answer with a variant or a plain text.
fn answer(serial: u32, kind: u8, fields: &[u8], signature: u8, text: &str) -> Vec<u8> {
    let mut body = if signature == b'v' { vec![1, b's', 0, 0] } else { Vec::new() };
    body.extend(u32::try_from(text.len()).unwrap().to_le_bytes());
    body.extend(text.as_bytes());
    body.push(0);
    let mut head = [&[5, 1, b'u', 0][..], &serial.to_le_bytes(), &[8, 1, b'g', 0, 1, signature, 0, 0], fields].concat();
    let length = u32::try_from(head.len()).unwrap().to_le_bytes();
    head.resize(head.len().next_multiple_of(8), 0);
    let size = u32::try_from(body.len()).unwrap().to_le_bytes();
    [&[b'l', kind, 0, 1][..], &size, &9u32.to_le_bytes(), &length, &head, &body].concat()
}

fn get(name: &str, serial: u32) -> Vec<u8> {
    let call = Call {
        destination: "org.freedesktop.systemd1",
        path: "/org/freedesktop/systemd1/unit/nginx_2eservice",
        interface: "org.freedesktop.DBus.Properties",
        member: "Get",
        arguments: &["org.freedesktop.systemd1.Unit", name],
    };
    call.message(serial)
}

/// The script up to the first call to systemd.
fn bus() -> Script {
    let hello = Call {
        destination: "org.freedesktop.DBus",
        path: "/org/freedesktop/DBus",
        interface: "org.freedesktop.DBus",
        member: "Hello",
        arguments: &[],
    };
    // A signal that the bus sends to every new client.
    let signal = answer(0, 4, &[], b's', ":1.7");
    Script::new()
        .expects("\0AUTH EXTERNAL\r\n", "DATA\r\n")
        .expects("DATA\r\n", "OK 1234deadbeef\r\n")
        .expects("BEGIN\r\n", "")
        .expects(hello.message(1), [answer(1, 2, &[], b's', ":1.7"), signal].concat())
}

fn report(script: Script) -> Result<Report> {
    let host = FakeHost::new().on_connect_unix(move |path| {
        assert_eq!(path, "/run/dbus/system_bus_socket");
        Ok(script.clone().connection())
    });
    host.run(check, &[("unit", "nginx")])
}

#[test]
fn state_is_read_over_the_bus() {
    let script = bus()
        .expects(get("LoadState", 2), answer(2, 2, &[], b'v', "loaded"))
        .expects(get("ActiveState", 3), answer(3, 2, &[], b'v', "active"))
        .expects(get("SubState", 4), answer(4, 2, &[], b'v', "running"));
    assert_eq!(report(script).unwrap(), Report::pass("nginx.service is active/running"));
}

#[test]
fn bus_without_an_answer_is_an_error() {
    let refused = answer(2, 3, b"\x04\x01s\0\x03\0\0\0a.b\0\0\0\0\0", b's', "no such name");
    let whole = answer(2, 2, &[], b'v', "loaded");
    let table = [
        (Script::new(), "connection refused"),
        (
            Script::new().expects("\0AUTH EXTERNAL\r\n", "REJECTED KERBEROS\r\n"),
            "expected DATA, found \"REJECTED KERBEROS\"",
        ),
        (bus().expects(get("LoadState", 2), refused), "no LoadState: a.b: no such name"),
        (bus().expects(get("LoadState", 2), answer(2, 2, &[], b'u', "")), "systemd's LoadState is not text"),
        (bus().expects(get("LoadState", 2), answer(3, 2, &[], b'v', "x").repeat(40)), "other messages instead of"),
        (bus().expects(get("LoadState", 2), "HTTP/1.1 400 Bad Request\r\n\r\n"), "no D-Bus message"),
    ];
    for (script, expected) in table {
        let error = report(script).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    for end in 0..whole.len() {
        let error = report(bus().expects(get("LoadState", 2), &whole[..end])).unwrap_err().to_string();
        assert!(error.contains("LoadState"), "{error}");
    }
    let host = FakeHost::new().on_connect_unix(|_| Err(ProbeError::Denied("add this".to_owned())));
    assert!(host.run(check, &[("unit", "nginx")]).unwrap_err().to_string().contains("add this"));
}

#[test]
fn parameters_that_make_no_sense_are_errors() {
    type Row = (&'static [(&'static str, &'static str)], &'static str);
    let table: [Row; 3] = [
        (&[("unit", "a b")], "`unit`: expected a name like"),
        (&[("unit", "a"), ("pass", "running")], "`pass`: expected a state like"),
        (&[("unit", "a"), ("warn", "up")], "`warn`: expected a state like"),
    ];
    for (params, expected) in table {
        let error = FakeHost::new().run(check, params).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
