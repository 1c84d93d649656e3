//! Hundreds of greedy checks beside one that is not: it keeps its interval, and the router its own.

use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use vouchd_tests::capture::{Capture, longest_gap};
use vouchd_tests::corpus::with_metadata;
use vouchd_tests::pair::VRID;
use vouchd_tests::site::INTERFACE;
use vouchd_tests::vouchd::{Files, Vouchd};
use vouchd_tests::wait::{holds, until};
use vouchd_tests::{Need, Node, VIP, system_test};

const GREEDY: usize = 300;
const INTERVAL: Duration = Duration::from_secs(1);
const WATCHED: Duration = Duration::from_secs(10);

/// Passes when it is done.
fn guest(import: &str, body: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
            {import}
            (memory (export "memory") 2)
            (data (i32.const 64) "127.0.0.1:9000")
            (global $top (mut i32) (i32.const 4096))
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                (local $at i32)
                (local.set $at (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
                (global.set $top (i32.add (local.get $at) (local.get 3)))
                (local.get $at))
            (func (export "vouchd:check/checker@0.1.0#check") (param i32 i32 i32 i32 i32) (result i32)
                {body}
                (i32.const 1024)))"#
    );
    with_metadata(&text)
}

fn keeps_its_interval_beside(greedy: Vec<u8>, allow: &str) {
    system_test("one healthy check beside greedy ones", &[Need::Vouchd], |site| {
        // Takes connections, and never says a word.
        let listening = site.host(Node::Nginx01).in_network(|| TcpListener::bind("127.0.0.1:9000"))?;
        let _silent = listening.join().expect("no panic")?;
        let files = Files::without_builtins(site, Node::Nginx01)?;
        fs::write(files.plugin_dir().join("healthy.wasm"), guest("", ""))?;
        fs::write(files.plugin_dir().join("greedy.wasm"), &greedy)?;
        let mut config = format!(
            "[instance.web]\ninterface = \"{INTERFACE}\"\nvirtual_router_id = {VRID}\naddresses = [\"{VIP}\"]\n\
             checks = [\"healthy\"]\n[check.healthy]\nplugin = \"healthy\"\ninterval = \"{}ms\"\n",
            INTERVAL.as_millis()
        );
        for number in 0..GREEDY {
            let _ = writeln!(
                config,
                "[check.g{number:03}]\nplugin = \"greedy\"\ninterval = \"100ms\"\ntimeout = \"1s\"\nallow = {{ {allow} }}"
            );
        }
        let vouchd = Vouchd::start_with(site, Node::Nginx01, files, &config)?;
        vouchd.wait_state("web", "active", Duration::from_secs(15))?;
        until("every check to have run", Duration::from_secs(30), || {
            vouchd.status().is_ok_and(|status| {
                status["checks"].as_array().into_iter().flatten().all(|check| check["runs"].as_u64() > Some(0))
            })
        })?;
        let runs = || vouchd.check("healthy").ok().and_then(|check| check["runs"].as_u64()).context("no runs");
        let capture = Capture::start(site)?;
        until("the healthy check to pass", Duration::from_secs(20), || {
            vouchd.check("healthy").is_ok_and(|check| check["verdict"] == "pass")
        })?;
        let (start, before) = (Instant::now(), runs()?);
        holds("the healthy check passes", WATCHED, || {
            vouchd.check("healthy").is_ok_and(|check| check["verdict"] == "pass")
        })
        .with_context(|| format!("{:?}", vouchd.check("healthy")))?;
        let done = u32::try_from(runs()? - before)?;
        let expected = (start.elapsed().as_millis() / INTERVAL.as_millis()) as u32;
        println!("{done} runs of the healthy check, expected {expected}, beside {GREEDY} greedy checks");
        ensure!(done * 10 >= expected * 8, "{done} runs where {expected} were due");
        let sent = capture.advertisements(Node::Nginx01, VRID, start);
        let gap = longest_gap(sent.iter().map(|a| a.at), start, Instant::now());
        println!("longest gap between advertisements: {:.3} s", gap.as_secs_f64());
        ensure!(gap <= Duration::from_millis(1100), "a gap of {gap:?} between advertisements");
        ensure!(vouchd.status()?["checker"]["restarts"] == 0, "the checker was started again");
        Ok(())
    });
}

#[test]
fn a_check_keeps_its_interval_beside_hundreds_that_compute() {
    keeps_its_interval_beside(guest("", "(loop $again (br $again))"), "");
}

#[test]
fn a_check_keeps_its_interval_beside_hundreds_that_wait() {
    let import = r#"(import "vouchd:check/tcp@0.1.0" "probe"
        (func $probe (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))"#;
    // Until an end that never comes.
    let body = "(call $probe (i32.const 64) (i32.const 14) (i32.const 64) (i32.const 1) (i32.const 1) (i32.const 64)
        (i32.const 1) (i32.const 100) (i32.const 0) (i32.const 2000))";
    keeps_its_interval_beside(guest(import, body), "tcp = [\"127.0.0.1:9000\"]");
}
