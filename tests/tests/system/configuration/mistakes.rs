//! Mistakes in the configuration are reported with the place, the value and what was expected.

use std::fs;

use anyhow::ensure;
use serde_json::Value;
use vouchd_tests::command::vouchd;
use vouchd_tests::vouchd::{Files, builtin_plugins};
use vouchd_tests::{Need, Node, system_test};

use super::check;

const GOOD: &str = r#"
[check.nginx]
plugin = "process"
params = { name = "nginx" }
interval = "1s"
weight = -40
allow = { process = ["nginx"] }

[instance.web]
interface = "ens33"
virtual_router_id = 55
priority = 100
addresses = ["192.168.175.100"]
checks = ["nginx"]

[instance.other]
interface = "ens33"
virtual_router_id = 56
addresses = ["192.168.175.99"]
"#;

/// A change that makes [`GOOD`] invalid.
struct Bad {
    name: &'static str,
    change: (&'static str, &'static str),
    /// Text of the line that the error must name.
    line: &'static str,
    /// Words that the error must have.
    words: &'static [&'static str],
}

const BAD: [Bad; 11] = [
    Bad {
        name: "an unknown key",
        change: ("priority = 100", "prioritty = 100"),
        line: "prioritty",
        words: &["prioritty", "priority"],
    },
    Bad { name: "a wrong type", change: ("priority = 100", "priority = \"high\""), line: "priority", words: &["high"] },
    Bad { name: "a syntax error", change: ("priority = 100", "priority = = 100"), line: "priority", words: &[] },
    Bad {
        name: "the same virtual router twice",
        change: ("virtual_router_id = 56", "virtual_router_id = 55 # again"),
        line: "# again",
        words: &["55", "web"],
    },
    Bad {
        name: "a plugin that is not there",
        change: ("plugin = \"process\"", "plugin = \"proces\""),
        line: "proces\"",
        words: &["proces", "process"],
    },
    Bad {
        name: "a bad address",
        change: ("192.168.175.100", "192.168.175.1000"),
        line: "192.168.175.1000",
        words: &["192.168.175.1000"],
    },
    Bad {
        name: "a weight out of range",
        change: ("weight = -40", "weight = -400"),
        line: "weight",
        words: &["-400", "253"],
    },
    Bad {
        name: "virtual router 0",
        change: ("virtual_router_id = 55", "virtual_router_id = 0"),
        line: "virtual_router_id = 0",
        words: &["0", "1", "255"],
    },
    Bad {
        name: "virtual router 256",
        change: ("virtual_router_id = 55", "virtual_router_id = 256"),
        line: "virtual_router_id = 256",
        words: &["256", "1", "255"],
    },
    Bad {
        name: "a multicast address",
        change: ("[\"192.168.175.100\"]", "[\"192.168.175.100\", \"ff02::12\"]"),
        line: "ff02",
        words: &["ff02::12", "multicast", "host"],
    },
    Bad {
        name: "a check that is not there",
        change: ("checks = [\"nginx\"]", "checks = [\"ngnix\"]"),
        line: "checks",
        words: &["ngnix", "nginx"],
    },
];

#[test]
fn good_configuration_is_accepted() {
    system_test("a good configuration", &[Need::Vouchd], |site| {
        let (output, _) = check(site, GOOD)?;
        ensure!(output.code == Some(0), "{output:?}");
        Ok(())
    });
}

#[test]
fn bad_configuration_is_rejected_with_place_and_expectation() {
    system_test("bad configurations", &[Need::Vouchd], |site| {
        let mut wrong = Vec::new();
        for bad in &BAD {
            let text = GOOD.replacen(bad.change.0, bad.change.1, 1);
            let (output, path) = check(site, &text)?;
            let file = fs::read_to_string(&path)?;
            let line = 1 + file.lines().position(|line| line.contains(bad.line)).unwrap_or(0);
            let place = format!("{}:{line}:", path.display());
            let text = output.text();
            let column =
                text.split_once(&place).map(|(_, rest)| rest.split(':').next().unwrap_or_default().parse::<u32>());
            let has_words = bad.words.iter().all(|word| text.contains(word));
            if output.code != Some(2) || !matches!(column, Some(Ok(1..))) || !has_words {
                wrong.push(format!(
                    "{}: expected exit status 2, {place}COLUMN and {:?}, found {:?}:\n{text}",
                    bad.name, bad.words, output.code
                ));
            }
        }
        ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
        Ok(())
    });
}

#[test]
fn daemon_does_not_start_with_a_bad_configuration() {
    system_test("run with a bad configuration", &[Need::Vouchd], |site| {
        let files = Files::new(site, Node::Nginx01)?;
        files.write_config("nginx01", &GOOD.replace("weight = -40", "weight = -400"))?;
        let output = vouchd(["run".as_ref(), "-c".as_ref(), files.config().as_os_str()])?;
        ensure!(output.code == Some(2), "{output:?}");
        ensure!(output.stderr.contains("vouchd.toml:") && output.stderr.contains("-400"), "{output:?}");
        Ok(())
    });
}

/// Plugin, wrong parameters, the place of the error, and its words.
const PARAMS: [(&str, &str, &str, &str); 8] = [
    (
        "process",
        "{ name = \"nginx\", mni = 1 }",
        "mni",
        "params.mni = 1: plugin process has no such parameter (did you mean `min`?)",
    ),
    ("process", "{ name = \"nginx\", min = \"many\" }", "\"many\"", "params.min = \"many\": expected a whole number"),
    ("http", "{ status = 200 }", "params", "params: `url` is missing; plugin http needs it"),
    ("file", "{ path = \"/x\", max_age = 5 }", "5", "params.max_age = 5: expected a duration with its unit"),
    ("disk", "{ path = \"/\", free = { wran = \"5%\" } }", "wran", "expected one of: free.warn, free.fail"),
    ("pressure", "{ window = 70000, cpu.warn = 5 }", "70000", "expected a whole number from 0 to 65535"),
    ("tls", "{ address = \"a:1\", verify = 1 }", "1 }", "params.verify = 1: expected true or false"),
    ("vip", "{ address = [\"192.0.2.1\"], link = [\"a\", \"b\"] }", "\"b\"", "expected a string, found a list"),
];

#[test]
fn wrong_plugin_parameter_is_reported_with_its_place() {
    system_test("wrong parameters", &[Need::Vouchd], |site| {
        for (plugin, params, at, words) in PARAMS {
            let line = format!("params = {params}");
            let text = format!("[check.c]\nplugin = \"{plugin}\"\n{line}\n");
            let (output, path) = check(site, &text)?;
            let row = 1 + fs::read_to_string(&path)?.lines().position(|found| found == line).unwrap_or(0);
            let column = 1 + line.rfind(at).unwrap_or(0);
            let place = format!("{}:{row}:{column}: check.c.params", path.display());
            let text = output.text();
            ensure!(output.code == Some(2), "{plugin} {params}: {output:?}");
            ensure!(
                text.contains(&place) && text.contains(words),
                "{plugin} {params}: expected {place} and {words:?}, found:\n{text}"
            );
        }
        let text = "[check.c]\nplugin = \"file\"\nparams = { path = \"/x\", max_age = \"1d\" }\n";
        let (output, _) = check(site, text)?;
        ensure!(output.code == Some(0), "{output:?}");
        Ok(())
    });
}

#[test]
fn inspect_shows_parameters_without_running_the_plugin() {
    system_test("plugin inspect", &[Need::Vouchd], |_| {
        let file = builtin_plugins().join("disk.wasm");
        let output = vouchd(["plugin".as_ref(), "inspect".as_ref(), "--json".as_ref(), file.as_os_str()])?;
        ensure!(output.code == Some(0), "{output:?}");
        let found: Value = serde_json::from_str(&output.stdout)?;
        ensure!(found["error"].is_null() && found["params_error"].is_null(), "{found}");
        ensure!(found["plugin"]["allow"] == "allow = { files = [\"/PATH\"] }", "{found}");
        let params: Vec<_> = found["params"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|p| (&p["name"], &p["type"], &p["required"]))
            .collect();
        let expected = [
            ("path", "text", true),
            ("free", "table", false),
            ("free.warn", "text", false),
            ("free.fail", "text", false),
            ("inodes", "table", false),
            ("inodes.warn", "text", false),
            ("inodes.fail", "text", false),
        ];
        ensure!(params.len() == expected.len(), "{params:?}");
        for (found, (name, kind, needed)) in params.into_iter().zip(expected) {
            ensure!(
                found == (&name.into(), &kind.into(), &needed.into()),
                "{found:?}, expected {name} {kind} {needed}"
            );
        }
        Ok(())
    });
}
