//! Plugins that misbehave, as checks of a router.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::Value;
use vouchd_tests::capture::{Capture, longest_gap};
use vouchd_tests::client::Client;
use vouchd_tests::guest::Guest;
use vouchd_tests::pair::{Make, Pair, PairPlan, Plan, VRID};
use vouchd_tests::site::INTERFACE;
use vouchd_tests::vouchd::{Files, Vouchd};
use vouchd_tests::wait::{holds, until};
use vouchd_tests::{Need, Node, VIP, system_test};

fn guest(top: &str, body: &str) -> Vec<u8> {
    Guest::new(body).top(top).module()
}

fn passing() -> Vec<u8> {
    guest("", "")
}

fn trapping() -> Vec<u8> {
    guest("", "unreachable")
}

/// Name, file, and words of which `status` must show at least one.
type Hostile = (&'static str, Vec<u8>, &'static [&'static str]);

fn hostile() -> Vec<Hostile> {
    const LOG: &str = r#"(import "vouchd:check/log@0.1.0" "log" (func $log (param i32 i32 i32)))"#;
    const PROCESSES: &str =
        r#"(import "vouchd:check/simple@0.1.0" "process-count" (func $count (param i32 i32) (result i32)))"#;
    const HTTP: &str =
        r#"(import "vouchd:check/simple@0.1.0" "http-get" (func $get (param i32 i32 i32) (result i32)))"#;
    let good = passing();
    vec![
        ("loops", guest("", "(loop $again (br $again))"), &["timed out", "CPU", "cpu"]),
        ("allocates", guest("", "(loop $again (drop (memory.grow (i32.const 16))) (br $again))"), &["memory"]),
        ("traps", trapping(), &["unreachable", "trap"]),
        (
            "recurses",
            guest(
                "(func $recurse (param i32) (result i32)
                    (i32.add (i32.const 1) (call $recurse (i32.add (local.get 0) (i32.const 1)))))",
                "(drop (call $recurse (i32.const 0)))",
            ),
            &["stack"],
        ),
        (
            "garbage-verdict",
            guest("", "(i32.store8 (i32.const 1028) (i32.const 77))"),
            &["discriminant", "invalid", "not a", "verdict", "result"],
        ),
        (
            "garbage-pointer",
            guest("", "(i32.store (i32.const 1032) (i32.const -8)) (i32.store (i32.const 1036) (i32.const 64))"),
            &["pointer", "out of bounds", "invalid", "memory", "string"],
        ),
        (
            "garbage-text",
            guest(
                "",
                "(i32.store (i32.const 64) (i32.const -1)) (i32.store (i32.const 1032) (i32.const 64))
                 (i32.store (i32.const 1036) (i32.const 4))",
            ),
            &["utf-8", "UTF-8", "invalid", "string"],
        ),
        (
            "prints",
            guest(LOG, "(loop $again (call $log (i32.const 1) (i32.const 0) (i32.const 4096)) (br $again))"),
            &["timed out", "CPU", "cpu", "log"],
        ),
        (
            "pries-processes",
            guest(
                PROCESSES,
                "(i32.store (i32.const 64) (i32.const 0x74696e69))
                 (drop (call $count (i32.const 64) (i32.const 4)))",
            ),
            &["allow"],
        ),
        (
            "pries-http",
            guest(
                &format!("{HTTP} (data (i32.const 64) \"http://127.0.0.1/\")"),
                "(drop (call $get (i32.const 64) (i32.const 17) (i32.const 100)))",
            ),
            &["allow"],
        ),
        (
            "wants-system",
            wat::parse_str(
                r#"(module (import "env" "system" (func (param i32) (result i32)))
                   (memory (export "memory") 1) (func (export "_start")))"#,
            )
            .expect("a test's own text"),
            &["needs `env#system`"],
        ),
        ("not-wasm", b"#!/bin/sh\nexit 0\n".to_vec(), &["wasm", "WebAssembly"]),
        ("empty", Vec::new(), &["wasm", "WebAssembly", "empty"]),
        ("half", good[..good.len() / 2].to_vec(), &["wasm", "WebAssembly", "unexpected", "end"]),
        ("removed", good, &["gone", "removed", "no file", "missing"]),
    ]
}

fn place(index: usize) -> (u8, String) {
    (u8::try_from(100 + index).unwrap_or(255), format!("192.168.175.{}", 200 + index))
}

fn instance(name: &str, index: usize, check: &str) -> String {
    let (vrid, address) = place(index);
    format!(
        "[instance.{name}]\ninterface = \"{INTERFACE}\"\nvirtual_router_id = {vrid}\npriority = 150\n\
         addresses = [\"{address}\"]\nchecks = [{check}]\n"
    )
}

/// The entries of a list of `status`, by name.
fn by_name(status: &Value, list: &str) -> BTreeMap<String, Value> {
    status[list]
        .as_array()
        .into_iter()
        .flatten()
        .map(|entry| (entry["name"].as_str().unwrap_or_default().to_owned(), entry.clone()))
        .collect()
}

/// What is wrong with the status of a hostile plugin's check and instance; `None` once it is right.
fn complaint(status: &Value, (name, _, words): &Hostile) -> Option<String> {
    let checks = by_name(status, "checks");
    let instances = by_name(status, "instances");
    let (Some(check), Some(instance)) = (checks.get(*name), instances.get(*name)) else {
        return Some(format!("{name}: not in status"));
    };
    let message = check["message"].as_str().unwrap_or_default();
    let effective = instance["priority"]["effective"].as_u64();
    let settled = match check["verdict"].as_str() {
        // Timed out: a fault, since the check has no weight.
        Some("fail") => instance["state"] == "initialize" && effective.is_none(),
        // Could not be carried out: priority 1, active because there is no other router.
        Some("error") => instance["state"] == "active" && effective == Some(1),
        _ => false,
    };
    if !settled {
        return Some(format!("{name}: {check} makes {instance}"));
    }
    let is_reported = words.iter().any(|word| message.contains(word));
    (!is_reported).then(|| format!("{name}: `{message}` has none of {words:?}"))
}

#[test]
fn hostile_plugins_never_pass_and_never_delay_an_advertisement() {
    system_test("hostile plugins", &[Need::Vouchd], |site| {
        let plugins = hostile();
        let files = Files::new(site, Node::Nginx01)?;
        let mut config = format!(
            "[instance.calm]\ninterface = \"{INTERFACE}\"\nvirtual_router_id = {VRID}\naddresses = [\"{VIP}\"]\n"
        );
        for (index, (name, bytes, _)) in plugins.iter().enumerate() {
            fs::write(files.plugin_dir().join(format!("{name}.wasm")), bytes)?;
            let _ = writeln!(config, "[check.{name}]\nplugin = \"{name}\"\ntimeout = \"300ms\"");
            config += &instance(name, index, &format!("\"{name}\""));
        }
        let last = plugins.len();
        config += &instance("said-fail", last, "{ name = \"traps\", on_error = \"fail\" }");
        config += &instance("said-hold", last + 1, "{ name = \"removed\", on_error = \"hold\" }");
        let vouchd = Vouchd::start_with(site, Node::Nginx01, files, &config)?;

        until("the good plugin to pass", Duration::from_secs(10), || {
            vouchd.check("removed").is_ok_and(|check| check["verdict"] == "pass")
        })?;
        vouchd.wait_state("calm", "active", Duration::from_secs(10))?;
        vouchd.wait_state("said-hold", "active", Duration::from_secs(10))?;
        fs::remove_file(vouchd.files.plugin_dir().join("removed.wasm"))?;

        let capture = Capture::start(site)?;
        let start = Instant::now();
        let settled = until("every hostile plugin to be reported", Duration::from_secs(15), || {
            vouchd.status().is_ok_and(|status| plugins.iter().all(|plugin| complaint(&status, plugin).is_none()))
        });
        let status = vouchd.status()?;
        let complaints: Vec<_> = plugins.iter().filter_map(|plugin| complaint(&status, plugin)).collect();
        settled.with_context(|| format!("{complaints:#?}"))?;
        for (name, ..) in &plugins {
            println!("{name}: {}", vouchd.check(name)?["message"]);
        }

        holds("no hostile plugin passes", Duration::from_secs(5), || {
            vouchd.status().is_ok_and(|status| {
                by_name(&status, "checks")
                    .values()
                    .all(|check| check["verdict"] == "fail" || check["verdict"] == "error")
            })
        })?;
        let said_fail = vouchd.instance("said-fail")?;
        ensure!(said_fail["state"] == "initialize", "on_error = \"fail\": {said_fail}");
        let said_hold = vouchd.instance("said-hold")?;
        ensure!(said_hold["state"] == "active", "on_error = \"hold\": {said_hold}");
        ensure!(said_hold["priority"]["effective"] == 150, "on_error = \"hold\": {said_hold}");

        let sent = capture.advertisements(Node::Nginx01, VRID, start);
        let gap = longest_gap(sent.iter().map(|a| a.at), start, Instant::now());
        println!("longest gap between advertisements: {:.3} s", gap.as_secs_f64());
        ensure!(gap <= Duration::from_millis(1100), "a gap of {gap:?} between advertisements");
        Ok(())
    });
}

/// Starts a router that depends on the operator's plugin `own`.
fn depends_on_own(site: &vouchd_tests::Site, node: Node, bytes: &[u8], priority: u8) -> anyhow::Result<Vouchd> {
    let files = Files::new(site, node)?;
    fs::write(files.plugin_dir().join("own.wasm"), bytes)?;
    let config = format!(
        "[check.own]\nplugin = \"own\"\n\n[instance.web]\ninterface = \"{INTERFACE}\"\n\
         virtual_router_id = {VRID}\npriority = {priority}\naddresses = [\"{VIP}\"]\nchecks = [\"own\"]\n"
    );
    Vouchd::start_with(site, node, files, &config)
}

#[test]
fn same_broken_plugin_on_both_nodes_leaves_one_active() {
    system_test("a broken plugin everywhere", &[Need::Vouchd, Need::Nginx], |site| {
        // For its web servers and proxies. This test starts other routers.
        let plan = PairPlan::new([Make::Vouchd; 2], Plan { check: None, ..Plan::default() });
        let mut pair = Pair::start(site, plan)?;
        pair.stop_router(Node::Nginx01)?;
        pair.stop_router(Node::Nginx02)?;
        let first = depends_on_own(site, Node::Nginx01, &trapping(), 100)?;
        let second = depends_on_own(site, Node::Nginx02, &trapping(), 80)?;
        // Both have priority 1: either may win, and both may be active for a moment.
        let gives_way = |backup: &Vouchd, active: Node| {
            backup.instance("web").is_ok_and(|instance| {
                instance["state"] == "backup" && instance["active"]["address"] == active.address().to_string()
            })
        };
        until("one node to give way to the other", Duration::from_secs(10), || {
            gives_way(&first, Node::Nginx02) || gives_way(&second, Node::Nginx01)
        })?;
        until("one node to have the address", Duration::from_secs(3), || site.holders().now(VIP).len() == 1)?;
        let client = Client::start(site)?;
        let start = Instant::now();
        holds("one node has the address", Duration::from_secs(8), || site.holders().now(VIP).len() == 1)?;
        client.outage_at_most("broken on both nodes", Duration::from_millis(200), start)
    });
}

#[test]
fn node_with_a_broken_plugin_loses_to_one_with_working_checks() {
    system_test("a broken plugin on the better node", &[Need::Vouchd], |site| {
        let _first = depends_on_own(site, Node::Nginx01, &trapping(), 200)?;
        let _second = depends_on_own(site, Node::Nginx02, &passing(), 80)?;
        site.holders().wait_for(Node::Nginx02, VIP, Duration::from_secs(12))?;
        holds("the healthy node keeps the address", Duration::from_secs(6), || {
            site.holders().now(VIP) == [Node::Nginx02]
        })
    });
}
