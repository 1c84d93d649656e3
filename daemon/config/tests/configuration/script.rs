//! Test scripts for `vouchd plugin test`: what they mean, and how errors are reported.

use std::path::PathBuf;
use std::time::Duration;

use vouchd_config::script::{Ending, Expect, Peer, Script, Within, script};

fn read(text: &str) -> Result<Script, String> {
    let words = [("peer", "127.0.0.1:4711".to_owned()), ("closed", "127.0.0.1:9".to_owned())];
    script(PathBuf::from("s.toml"), text.to_owned(), &words).map_err(|errors| errors.to_string())
}

const SCRIPT: &str = r#"
[[run]]
name = "serves"
peer = { http = 204 }
params = { url = "http://{peer}/", status = [200, 204] }
allow = { http = ["http://{peer}/"] }
limits = { memory = "32MiB" }
timeout = "300ms"
expect = { verdict = "pass", message = "204", metrics = { time = { max = 1.5 }, n = 2 } }

[[run]]
peer = { send = "220 {closed}\r\n" }
expect = { error = "not granted" }

[[run]]
params.address = "{other}"
[run.expect]
verdict = "timeout"
"#;

#[test]
fn run_has_the_keys_of_a_check_and_words_in_braces_are_replaced() {
    let script = read(SCRIPT).unwrap();
    let [serves, denied, hangs] = script.runs.as_slice() else { panic!("three runs") };
    let params: Vec<_> = serves.check.params.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(params, ["url=http://127.0.0.1:4711/", "status=200", "status=204"]);
    assert_eq!(serves.check.timeout, Duration::from_millis(300));
    assert_eq!(serves.check.limits.memory, 32 << 20);
    assert_eq!(serves.check.grants.to_string(), "allow = { http = [\"http://127.0.0.1:4711/\"] }");
    assert_eq!(serves.peer, Peer::Http { status: 204, body: String::new() });
    assert_eq!((serves.name.as_str(), denied.name.as_str()), ("serves", "run 2"));
    assert_eq!((serves.place.line(), denied.place.line(), hangs.place.line()), (2, 11, 15));
    assert_eq!(denied.peer, Peer::Sends("220 127.0.0.1:9\r\n".to_owned()));
    assert_eq!(hangs.check.params, [("address".to_owned(), "{other}".to_owned())], "not a word that is known");
    assert_eq!(hangs.peer, Peer::Silent);
}

#[test]
fn expectations_are_read() {
    let script = read(SCRIPT).unwrap();
    let [serves, denied, hangs] = script.runs.as_slice() else { panic!("three runs") };
    let metrics = [
        ("n".to_owned(), Within { min: 2.0, max: 2.0 }),
        ("time".to_owned(), Within { min: f64::NEG_INFINITY, max: 1.5 }),
    ];
    let expected =
        Expect { ending: Some(Ending::Pass), text: Some("204".to_owned()), metrics: metrics.into_iter().collect() };
    assert_eq!(serves.expect, expected);
    assert_eq!((denied.expect.ending, denied.expect.text.as_deref()), (Some(Ending::Error), Some("not granted")));
    assert_eq!((hangs.expect.ending, &hangs.expect.text), (Some(Ending::Timeout), &None));
}

#[test]
fn mistake_is_reported_with_its_place() {
    for (text, expected) in [
        ("", "s.toml:1:1: `run` is missing; expected runs, each as [[run]]"),
        ("run = []\n", "s.toml:1:7: run: expected at least one [[run]]"),
        ("[[run]\n", "s.toml:1:7: not TOML: "),
        ("[[run]]\n", "s.toml:1:1: run[0]: `expect` is missing; expected the result of the run, like { verdict"),
        (
            "[[run]]\nexpect = { verdict = \"good\" }\n",
            "s.toml:2:22: run[0].expect.verdict = \"good\": expected \"pass\" or",
        ),
        (
            "[[run]]\nexpect = {}\n\n[[run]]\nexpekt = {}\nexpect = {}",
            "s.toml:5:1: run[1].expekt: unknown key (did you mean `expect`?)",
        ),
        ("[[run]]\nexpect = {}\nallow = { prozess = true }\n", "s.toml:3:11: run[0].allow.prozess: unknown key"),
        (
            "[[run]]\nexpect = {}\nallow = { tcp = [\"{peer}\", \"{peer}:1:1\"] }\n",
            "s.toml:3:28: run[0].allow.tcp[1] = \"{peer}:1:1\": expected",
        ),
        ("[[run]]\nexpect = {}\ntimeout = 3\n", "s.toml:3:11: run[0].timeout = 3: expected a duration with its unit"),
        (
            "[[run]]\nexpect = { metrics = { n = \"2\" } }\n",
            "s.toml:2:28: run[0].expect.metrics.n = \"2\": expected a number",
        ),
        (
            "[[run]]\nexpect = { verdict = \"pass\", error = \"x\" }\n",
            "s.toml:2:38: run[0].expect.error = \"x\": an error comes without",
        ),
        ("[[run]]\nexpect = {}\npeer = { body = \"x\" }\n", "s.toml:3:8: run[0].peer: expected { send"),
        ("[[run]]\nexpect = {}\nweight = 3\n", "s.toml:3:1: run[0].weight: unknown key"),
    ] {
        let error = read(text).expect_err(text);
        assert!(error.starts_with(expected), "expected {expected}\nfound    {error}");
    }
}
