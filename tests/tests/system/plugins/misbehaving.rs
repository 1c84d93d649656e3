//! Plugins that misbehave in every way there is, and plugins that come, change and go while the daemon runs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::Value;
use vouchd_tests::capture::{Capture, longest_gap};
use vouchd_tests::client::Client;
use vouchd_tests::corpus::with_metadata;
use vouchd_tests::pair::{Make, Pair, PairPlan, Plan, VRID};
use vouchd_tests::site::INTERFACE;
use vouchd_tests::vouchd::{Files, Vouchd};
use vouchd_tests::wait::{holds, until};
use vouchd_tests::web::Web;
use vouchd_tests::{Need, Node, VIP, system_test};

/// A guest whose `check` has this body. Its result lies in memory at 1024 and is a pass with an empty message as long as
/// nothing is written there.
fn guest(imports: &str, body: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
            {imports}
            (memory (export "memory") 2)
            (global $top (mut i32) (i32.const 4096))
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                (local $at i32)
                (local.set $at (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
                (global.set $top (i32.add (local.get $at) (local.get 3)))
                (local.get $at))
            (func $recurse (param i32) (result i32)
                (i32.add (i32.const 1) (call $recurse (i32.add (local.get 0) (i32.const 1)))))
            (func (export "vouchd:check/checker@0.1.0#check") (param i32 i32 i32 i32 i32) (result i32)
                {body}
                (i32.const 1024)))"#
    );
    with_metadata(&text)
}

fn passing() -> Vec<u8> {
    guest("", "")
}

fn failing() -> Vec<u8> {
    guest("", "(i32.store8 (i32.const 1028) (i32.const 2))")
}

fn trapping() -> Vec<u8> {
    guest("", "unreachable")
}

/// Name, file, and words of which `status` must say at least one.
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
        ("recurses", guest("", "(drop (call $recurse (i32.const 0)))"), &["stack"]),
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

/// What is wrong with how one hostile plugin is treated; nothing, once all is settled.
fn complaint(status: &Value, (name, _, words): &Hostile) -> Option<String> {
    let checks = by_name(status, "checks");
    let instances = by_name(status, "instances");
    let (Some(check), Some(instance)) = (checks.get(*name), instances.get(*name)) else {
        return Some(format!("{name}: not in status"));
    };
    let message = check["message"].as_str().unwrap_or_default();
    let effective = instance["priority"]["effective"].as_u64();
    let settled = match check["verdict"].as_str() {
        // Did not end in time: for an unweighted check a hard fault.
        Some("fail") => instance["state"] == "initialize" && effective.is_none(),
        // Could not be carried out: the last resort, which serves because nobody else does.
        Some("error") => instance["state"] == "active" && effective == Some(1),
        _ => false,
    };
    if !settled {
        return Some(format!("{name}: {check} makes {instance}"));
    }
    let told = words.iter().any(|word| message.contains(word));
    (!told).then(|| format!("{name}: `{message}` has none of {words:?}"))
}

#[test]
fn a_hostile_plugin_never_passes_and_never_delays_an_advertisement() {
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
        let settled = until("every hostile plugin to be treated as one", Duration::from_secs(15), || {
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

/// A router of the pair that depends on the operator's plugin `own`.
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
fn the_same_broken_plugin_on_both_nodes_does_not_take_the_site_down() {
    system_test("a broken plugin everywhere", &[Need::Vouchd, Need::Nginx], |site| {
        // Only for the web servers and proxies; its routers make room for those of this test.
        let plan = PairPlan::new([Make::Vouchd; 2], Plan { check: None, ..Plan::default() });
        let mut pair = Pair::start(site, plan)?;
        pair.stop_router(Node::Nginx01)?;
        pair.stop_router(Node::Nginx02)?;
        let first = depends_on_own(site, Node::Nginx01, &trapping(), 100)?;
        let second = depends_on_own(site, Node::Nginx02, &trapping(), 80)?;
        // Both at priority 1: either may win, and for a moment both may believe that they have.
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
fn a_node_with_a_broken_plugin_does_not_beat_one_whose_checks_work() {
    system_test("a broken plugin on the better node", &[Need::Vouchd], |site| {
        let _first = depends_on_own(site, Node::Nginx01, &trapping(), 200)?;
        let _second = depends_on_own(site, Node::Nginx02, &passing(), 80)?;
        site.holders().wait_for(Node::Nginx02, VIP, Duration::from_secs(12))?;
        holds("the healthy node keeps the address", Duration::from_secs(6), || {
            site.holders().now(VIP) == [Node::Nginx02]
        })
    });
}

#[test]
fn a_plugin_and_a_drop_in_copied_in_while_running_are_checked_within_a_second() {
    system_test("a new plugin and drop-in", &[Need::Vouchd], |site| {
        let files = Files::new(site, Node::Nginx01)?;
        let config = format!(
            "[instance.web]\ninterface = \"{INTERFACE}\"\nvirtual_router_id = {VRID}\naddresses = [\"{VIP}\"]\n"
        );
        let vouchd = Vouchd::start_with(site, Node::Nginx01, files.clone(), &config)?;
        vouchd.wait_state("web", "active", Duration::from_secs(10))?;
        let before = vouchd.instance("web")?;
        let capture = Capture::start(site)?;
        let start = Instant::now();

        let plugin = files.plugin_dir().join("extra.wasm");
        let drop_in = format!("[check.extra]\nplugin = \"extra\"\n\n{}", instance("second", 0, "\"extra\""));
        fs::write(&plugin, passing())?;
        fs::write(files.drop_in("extra.toml"), drop_in)?;
        let copied = Instant::now();
        until("a verdict of the new check", Duration::from_secs(1), || {
            vouchd.check("extra").is_ok_and(|check| check["verdict"] == "pass")
        })?;
        println!("checked {:.3} s after the copy", copied.elapsed().as_secs_f64());
        vouchd.wait_state("second", "active", Duration::from_secs(6))?;
        let second = vouchd.instance("second")?;
        let loaded = vouchd.plugin("extra")?["sha256"].clone();

        fs::write(&plugin, b"\0asm, but not really")?;
        until("status to tell of the broken file", Duration::from_secs(3), || {
            vouchd.plugin("extra").is_ok_and(|plugin| plugin["error"].is_string())
        })?;
        holds("the broken file changes nothing else", Duration::from_secs(3), || {
            vouchd.check("extra").is_ok_and(|check| check["verdict"] == "pass")
                && vouchd
                    .instance("second")
                    .is_ok_and(|now| now["state"] == "active" && now["transitions"] == second["transitions"])
                && vouchd.plugin("extra").is_ok_and(|plugin| plugin["sha256"] == loaded)
        })?;

        fs::write(&plugin, failing())?;
        until("the verdict of the next version", Duration::from_secs(3), || {
            vouchd.check("extra").is_ok_and(|check| check["verdict"] == "fail")
        })?;

        let sent = capture.advertisements(Node::Nginx01, VRID, start);
        let gap = longest_gap(sent.iter().map(|a| a.at), start, Instant::now());
        ensure!(gap <= Duration::from_millis(1100), "a gap of {gap:?} between advertisements");
        ensure!(vouchd.instance("web")?["transitions"] == before["transitions"]);
        Ok(())
    });
}

#[test]
fn a_broken_drop_in_changes_nothing_but_status() {
    system_test("a broken drop-in", &[Need::Vouchd], |site| {
        let files = Files::new(site, Node::Nginx01)?;
        let config = format!(
            "[instance.web]\ninterface = \"{INTERFACE}\"\nvirtual_router_id = {VRID}\naddresses = [\"{VIP}\"]\n"
        );
        let vouchd = Vouchd::start_with(site, Node::Nginx01, files.clone(), &config)?;
        vouchd.wait_state("web", "active", Duration::from_secs(10))?;
        let before = vouchd.instance("web")?;
        fs::write(files.drop_in("bad.toml"), "[instance.web]\npriority = 300\n")?;
        until("status to tell of it", Duration::from_secs(3), || {
            vouchd
                .status()
                .is_ok_and(|status| status["config"]["error"].as_str().is_some_and(|error| error.contains("bad.toml:")))
        })?;
        let web = vouchd.instance("web")?;
        ensure!(web["state"] == "active" && web["transitions"] == before["transitions"], "{web}");
        Ok(())
    });
}

#[test]
fn a_router_whose_proxy_reaches_fewer_servers_gives_the_address_to_the_other() {
    system_test("servers of a backend", &[Need::Vouchd, Need::Haproxy], |site| {
        let _web = [Web::start(site, Node::Web01)?, Web::start(site, Node::Web02)?];
        let start = |node: Node, servers: [Node; 2], priority: u8| {
            let dir = site.dir(&format!("haproxy-{}", node.name()))?;
            let (config, socket) = (dir.join("haproxy.cfg"), dir.join("admin.sock"));
            let [a, b] = servers.map(Node::address);
            fs::write(
                &config,
                format!(
                    "global\n stats socket {} mode 666 level user\ndefaults\n timeout connect 1s\n timeout client 1s\n \
                     timeout server 1s\nbackend web\n server a {a}:80 check inter 100ms\n server b {b}:80 check inter 100ms\n",
                    socket.display()
                ),
            )?;
            let args: [&Path; 3] = [Path::new("-db"), Path::new("-f"), &config];
            let haproxy = site.host(node).daemon("haproxy", Path::new("/usr/sbin/haproxy"), args)?;
            let config = format!(
                "[check.web]\nplugin = \"haproxy\"\nparams = {{ socket = {socket:?}, backend = \"web\", per_down = -30 }}\n\
                 interval = \"200ms\"\nadjust = [-50, 0]\nallow = {{ unix = [{socket:?}] }}\n\n[instance.web]\n\
                 interface = \"{INTERFACE}\"\nvirtual_router_id = {VRID}\npriority = {priority}\n\
                 addresses = [\"{VIP}\"]\nchecks = [\"web\"]\n"
            );
            let files = Files::new(site, node)?;
            anyhow::Ok((haproxy, Vouchd::start_with(site, node, files, &config)?))
        };
        // Nobody listens where the second server of the better router should be.
        let (_first, better) = start(Node::Nginx01, [Node::Web01, Node::Nginx02], 120)?;
        let (_second, _other) = start(Node::Nginx02, [Node::Web01, Node::Web02], 100)?;
        site.holders().wait_for(Node::Nginx02, VIP, Duration::from_secs(15))?;
        let check = better.check("web")?;
        let message = check["message"].as_str().unwrap_or_default();
        ensure!(check["verdict"] == "pass" && message.contains("web has 1 of 2 servers up (b DOWN)"), "{check}");
        let instance = better.instance("web")?;
        ensure!(instance["priority"]["effective"] == 90, "{instance}");
        Ok(())
    });
}
