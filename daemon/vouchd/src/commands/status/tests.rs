//! The text and the exit status for a status document.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr;

use super::explain::explanation;
use super::judge::{Level, level, problems};
use super::overview::overview;
use vouchd_ipc::status::Status;

const SINCE: &str = "2026-11-30T12:00:00.000Z";

fn now() -> SystemTime {
    humantime::parse_rfc3339(SINCE).unwrap() + Duration::from_secs(3 * 3600)
}

/// An active instance with a check that passes. All is well.
fn document() -> Value {
    json!({
        "version": "0.1.0", "name": "nginx01", "pid": 4711, "since": SINCE,
        "config": { "files": [], "loaded_at": SINCE, "error": null, "warnings": [] },
        "checker": { "pid": 4712, "restarts": 0, "error": null, "lost_at": null },
        "instances": [{
            "name": "web", "interface": "eth0", "virtual_router_id": 55, "version": 3, "state": "active",
            "reason": "no active router was heard on eth0", "cause": "silence", "since": SINCE, "preempt": true,
            "priority": { "base": 100, "effective": 100,
                "terms": [{ "name": "nginx", "kind": "check", "effect": "add", "value": 0, "why": "pass: 5 found" }] },
            "source": "192.0.2.1", "active": { "address": "192.0.2.1", "priority": 100, "checksum": null },
            "peers": [], "addresses": [{ "address": "192.0.2.100", "prefix": 32, "installed": true, "host": false, "error": null,
                "copies": [] }],
            "advertisements": { "sent": 9, "sent_priority_zero": 0, "send_errors": 0, "send_error": null,
                "received": 0, "received_priority_zero": 0, "discarded": {} },
            "transitions": 2, "elections_called": 0
        }],
        "interfaces": [{ "name": "eth0", "state": "up", "source": "192.0.2.1", "other_virtual_routers": 0 }],
        "checks": [{ "name": "nginx", "plugin": "process", "verdict": "pass", "message": "5 found", "since": SINCE,
            "last_run": null, "runs": 7, "failures": 0, "skipped": 0, "next_run": null }],
        "plugins": [
            { "name": "process", "kind": "component", "sha256": "0123456789abcdef", "source": "/usr/lib/process.wasm",
                "loaded_at": SINCE, "error": null },
            { "name": "unused", "kind": null, "sha256": null, "source": "/usr/lib/unused.wasm", "loaded_at": null,
                "error": null }
        ]
    })
}

/// JSON pointers and the new values.
type Changes = Vec<(&'static str, Value)>;

/// The document with these changes.
fn with(changes: &[(&str, Value)]) -> Status {
    let mut document = document();
    for (place, value) in changes {
        *document.pointer_mut(place).unwrap_or_else(|| panic!("no {place}")) = value.clone();
    }
    serde_json::from_value(document).unwrap()
}

#[test]
fn lease_that_is_not_renewed_is_a_fault() {
    let error = "the kernel answers: out of memory";
    let found = problems(&with(&[("/instances/0/addresses/0/error", json!(error))]), now());
    assert_eq!((level(&found), found[0].text.clone()), (Level::Fault, format!("can't renew 192.0.2.100: {error}")));
}

#[test]
fn family_is_named_where_an_instance_has_both() {
    let mut document = document();
    let mut twin = document["instances"][0].clone();
    twin["family"] = json!("IPv6");
    twin["state"] = json!("initialize");
    twin["cause"] = json!("link_down");
    document["instances"][0]["family"] = json!("IPv4");
    let alone: Status = serde_json::from_value(document.clone()).unwrap();
    assert_eq!(alone.instances[0].title(&alone.instances), "web");
    document["instances"].as_array_mut().unwrap().push(twin);
    let both: Status = serde_json::from_value(document).unwrap();
    let found = problems(&both, now());
    assert_eq!(found[0].subject, "instance web (IPv6)");
    let text = overview(&both, &found, false, now());
    assert!(text.contains("\nweb (IPv4)  ") && text.contains("\nweb (IPv6)  "), "{text}");
    assert!(explanation(&both.instances[1], &both, now()).starts_with("web (IPv6) is initialize"));
}

fn backup(priority: u8, source: &str) -> Changes {
    vec![
        ("/instances/0/state", json!("backup")),
        ("/instances/0/reason", json!("192.0.2.2 is active with priority 100 on eth0")),
        ("/instances/0/cause", json!("better")),
        ("/instances/0/priority/effective", json!(priority)),
        ("/instances/0/source", json!(source)),
        ("/instances/0/active", json!({ "address": "192.0.2.2", "priority": 100, "checksum": null })),
        ("/instances/0/addresses/0/installed", json!(false)),
    ]
}

fn peer(discard: &str) -> Value {
    json!([{ "address": "192.0.2.2", "configured": false, "virtual_router_id": 55, "priority": 80, "accepted": 0,
        "last_accepted": null, "discarded": { discard: 7 }, "last_discarded": SINCE, "last_discard": discard,
        "claim": "192.0.2.2 also claims to be active" }])
}

#[test]
fn virtual_mac_is_shown_and_what_it_lacks_is_a_problem() {
    let mut document = document();
    let mac = |warning: Value| json!({ "name": "vrrp4.55", "mac": "00:00:5e:00:01:37", "state": "up", "error": null, "warning": warning });
    document["instances"][0]["virtual_mac"] = mac(Value::Null);
    let status: Status = serde_json::from_value(document.clone()).unwrap();
    assert_eq!(problems(&status, now()), []);
    let shown = overview(&status, &[], false, now());
    assert!(shown.contains("virtual MAC: 00:00:5e:00:01:37 on vrrp4.55 (up)"), "{shown}");
    document["instances"][0]["virtual_mac"] = mac(json!("could not set it"));
    document["instances"][0]["accept"] = json!(false);
    document["instances"][0]["accept_error"] = json!("no nf_tables");
    let status: Status = serde_json::from_value(document).unwrap();
    let found: Vec<_> = problems(&status, now()).into_iter().map(|problem| (problem.level, problem.text)).collect();
    let expected = [
        "its virtual MAC: could not set it",
        "it accepts packets to its addresses although accept is false: no nf_tables",
    ];
    assert_eq!(found, expected.map(|text| (Level::Degraded, text.to_owned())));
}

#[test]
fn exit_status_is_that_of_the_worst_problem() {
    let initialize = json!("initialize");
    let held = |cause: &str| {
        vec![
            ("/instances/0/state", initialize.clone()),
            ("/instances/0/cause", json!(cause)),
            ("/instances/0/priority/effective", Value::Null),
            ("/instances/0/addresses/0/installed", json!(false)),
        ]
    };
    let last_resort = json!({ "base": 100, "effective": 1,
        "terms": [{ "name": "nginx", "kind": "check", "effect": "last_resort", "value": 0, "why": "error: gone" }] });
    let mut backup_beside = backup(100, "192.0.2.1");
    backup_beside.push(("/instances/0/peers", peer("auth_password")));
    let mut backup_that_holds = backup(100, "192.0.2.1");
    backup_that_holds.push(("/instances/0/addresses/0/installed", json!(true)));
    let owned = json!({ "address": "192.0.2.1", "prefix": 32, "installed": false, "host": true, "error": null,
        "copies": [] });
    let copies = json!([{ "interface": "eth0", "address": "192.0.2.100/24", "own": false }]);
    let mut backup_with_copy = backup(100, "192.0.2.1");
    backup_with_copy.push(("/instances/0/addresses/0/copies", copies.clone()));
    let contested = |since: &str| {
        json!({ "address": "192.0.2.100", "prefix": 32, "installed": true, "host": false, "error": null, "copies": [],
            "conflict": { "mac": "02:00:00:00:00:66", "count": 2, "last": "2026-11-30T14:59:57.500Z",
                "since": format!("2026-11-30T{since}Z") } })
    };
    let mut elsewhere = peer("auth_password");
    elsewhere[0]["other_addresses"] = json!(true);
    let table: Vec<(&str, Changes, Level)> = vec![
        ("all is well", vec![], Level::Well),
        ("a backup", backup(100, "192.0.2.1"), Level::Well),
        ("a broken configuration", vec![("/config/error", json!("vouchd.toml:1:1: no"))], Level::Degraded),
        ("no checker", vec![("/checker/pid", Value::Null)], Level::Degraded),
        ("a checker that was restarted", vec![("/checker/restarts", json!(3))], Level::Well),
        ("waiting", vec![("/checks/0/verdict", json!("waiting"))], Level::Degraded),
        ("warn", vec![("/checks/0/verdict", json!("warn"))], Level::Degraded),
        ("fail", vec![("/checks/0/verdict", json!("fail"))], Level::Degraded),
        ("error", vec![("/checks/0/verdict", json!("error"))], Level::Degraded),
        ("a lowered priority", vec![("/instances/0/priority/effective", json!(60))], Level::Degraded),
        ("a raised priority", vec![("/instances/0/priority/effective", json!(120))], Level::Well),
        ("the last resort", vec![("/instances/0/priority", last_resort)], Level::Degraded),
        ("a hard fault", held("health_fault"), Level::Fault),
        ("no link", held("link_down"), Level::Fault),
        ("no addresses", held("addresses_failed"), Level::Fault),
        ("an unknown cause", held("something_new"), Level::Fault),
        ("not looked yet", held("starting"), Level::Degraded),
        ("waits for checks", held("health_waiting"), Level::Degraded),
        ("an address is missing", vec![("/instances/0/addresses/0/installed", json!(false))], Level::Fault),
        (
            "just active, the kernel has not answered yet",
            vec![
                ("/instances/0/addresses/0/installed", json!(false)),
                ("/instances/0/since", json!("2026-11-30T14:59:59.500Z")),
            ],
            Level::Well,
        ),
        ("an address that could not be renewed", vec![("/instances/0/addresses/0/error", json!("no"))], Level::Fault),
        ("a backup that holds an address", backup_that_holds, Level::Fault),
        ("can't send", vec![("/instances/0/advertisements/send_error", json!("no"))], Level::Fault),
        ("an owner's own address", vec![("/instances/0/addresses/0", owned)], Level::Well),
        ("a copy while active", vec![("/instances/0/addresses/0/copies", copies.clone())], Level::Degraded),
        ("a copy on a backup", backup_with_copy, Level::Fault),
        ("split brain", vec![("/instances/0/peers", peer("auth_password"))], Level::Fault),
        ("another virtual router with the same id", vec![("/instances/0/peers", elsewhere)], Level::Degraded),
        ("a backup beside two that claim", backup_beside, Level::Degraded),
        ("a stray frame", vec![("/instances/0/addresses/0", contested("14:59:57.000"))], Level::Degraded),
        ("another machine that goes on", vec![("/instances/0/addresses/0", contested("14:59:45.000"))], Level::Fault),
        ("a plugin in use", vec![("/plugins/0/error", json!("damaged"))], Level::Degraded),
        ("a plugin that no check uses", vec![("/plugins/1/error", json!("damaged"))], Level::Well),
        ("no instance", vec![("/instances", json!([]))], Level::Well),
    ];
    for (name, changes, expected) in table {
        let status = with(&changes);
        let found = problems(&status, now());
        assert_eq!(level(&found), expected, "{name}: {found:?}");
        let text = overview(&status, &found, false, now());
        assert_eq!(text.contains("all is well"), expected == Level::Well, "{name}:\n{text}");
        assert_eq!(text.contains("FAULT: "), expected == Level::Fault, "{name}:\n{text}");
    }
}

#[test]
fn status_fits_a_terminal_with_any_names() {
    let long = "a-name-".repeat(20);
    let addresses: Vec<_> = (1..=20)
        .map(|n| {
            json!({ "address": format!("192.168.175.{n}"), "prefix": 32, "installed": n % 2 == 0, "host": false,
            "error": null, "copies": [] })
        })
        .collect();
    let status = with(&[
        ("/name", json!(long)),
        ("/instances/0/name", json!(long)),
        ("/instances/0/interface", json!("enx001122334455")),
        ("/instances/0/reason", json!("a reason of many words ".repeat(20))),
        ("/instances/0/addresses", json!(addresses)),
        ("/instances/0/peers", peer("auth_password")),
        ("/checks/0/name", json!(long)),
        ("/checks/0/message", json!("漢字\u{1b}[31m\u{202e}\n".repeat(40))),
        ("/plugins/0/error", json!(format!("{long} can't be used"))),
        ("/plugins/0/source", json!(format!("/{long}/{long}.wasm"))),
        ("/config/error", json!(format!("{long}\n{long}"))),
        ("/checker/error", json!(long)),
        ("/checker/restarts", json!(2)),
    ]);
    let found = problems(&status, now());
    let texts = [overview(&status, &found, true, now()), explanation(&status.instances[0], &status, now())];
    for text in texts {
        for line in text.lines() {
            assert!(line.width() <= 80, "{} columns: {line}\n{text}", line.width());
            assert!(!line.contains(vouchd_printable::is_unprintable), "{line:?}");
        }
    }
}

#[test]
fn page_has_what_an_operator_looks_for() {
    let text = |changes: &[(&str, Value)], all| {
        let status = with(changes);
        overview(&status, &problems(&status, now()), all, now())
    };
    let expected = "\
nginx01: vouchd 0.1.0, pid 4711, since 2026-11-30T12:00:00Z (3 h ago)
all is well
the checker was restarted 2 times, last 3 h ago: killed

INSTANCE  INTERFACE  VRID  STATE   PRIORITY  SINCE
web       eth0       55    active  100       3 h ago
    no active router was heard on eth0
    addresses: 192.0.2.100*

CHECK  VERDICT  PLUGIN   RUNS  LAST  MESSAGE
nginx  pass     process  7     -     5 found

PLUGIN   KIND       SHA256        SOURCE
process  component  0123456789ab  /usr/lib/process.wasm

1 plugin that no check uses is not shown (--all)

* on the interface, added by vouchd
";
    let restarted =
        [("/checker/restarts", json!(2)), ("/checker/lost_at", json!(SINCE)), ("/checker/error", json!("killed"))];
    assert_eq!(text(&restarted, false), expected);
    assert!(text(&[], true).contains("unused"));
    let split = text(&[("/instances/0/peers", peer("auth_password"))], false);
    assert!(split.contains("router 192.0.2.2: priority 80; discarded: auth_password 7, the last 3 h"), "{split}");
}

#[test]
fn problem_is_shown_in_full() {
    let error = "a reason of many words ".repeat(8) + "and the remedy";
    let status = with(&[("/plugins/0/error", json!(error))]);
    let found = problems(&status, now());
    let page = overview(&status, &found, false, now());
    let summary = page.split("\n\n").next().unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(summary.contains(&format!("degraded: plugin process: {error}")), "{page}");
}

#[test]
fn tie_is_explained_by_the_rule_that_decides_it() {
    let explained = |changes: &[(&str, Value)]| {
        let status = with(changes);
        explanation(&status.instances[0], &status, now()).replace("\n  ", " ")
    };
    let table = [
        (backup(100, "192.0.2.1"), "100 against 100: the higher address wins, which is 192.0.2.2."),
        (backup(100, "192.0.2.10"), "which is 192.0.2.10 (this router), but only between two active routers"),
        (backup(80, "192.0.2.1"), "80 against 100: 192.0.2.2 wins"),
        (backup(120, "192.0.2.1"), "120 against 100: it wins against 192.0.2.2"),
        (vec![], "of two active ones with 100 the higher address wins (this one has 192.0.2.1)."),
    ];
    for (changes, expected) in table {
        let text = explained(&changes);
        assert!(text.contains(expected), "{text}");
        assert!(text.contains("on eth0 (virtual router 55)"), "{text}");
    }
    let mut held = backup(120, "192.0.2.1");
    held.push(("/instances/0/preempt", json!(false)));
    assert!(explained(&held).contains("it would win against 192.0.2.2, but preempt = false"));
}
