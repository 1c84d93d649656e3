//! One healthy check beside hundreds of greedy ones: it keeps its interval, and the router keeps its advertisement interval.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use vouchd_tests::capture::{Capture, longest_gap};
use vouchd_tests::guest::Guest;
use vouchd_tests::pair::VRID;
use vouchd_tests::site::INTERFACE;
use vouchd_tests::vouchd::{Files, Vouchd};
use vouchd_tests::wait::{holds, until};
use vouchd_tests::{Need, Node, VIP, system_test};

const GREEDY: usize = 300;
const INTERVAL: Duration = Duration::from_secs(1);
const WATCHED: Duration = Duration::from_secs(10);

/// A plugin that runs `body` and passes. The address of the backend is at 64.
fn guest(import: &str, body: &str) -> Vec<u8> {
    Guest::new(body).top(format!("{import} (data (i32.const 64) \"127.0.0.1:9000\")")).module()
}

fn keeps_its_interval_beside(greedy: Vec<u8>, allow: &str) {
    system_test("one healthy check beside greedy ones", &[Need::Vouchd], |site| {
        // Accepts connections and never sends anything.
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
        ensure!(vouchd.status()?["checker"]["restarts"] == 0, "the checker was restarted");
        Ok(())
    });
}

#[test]
fn check_keeps_its_interval_beside_hundreds_that_compute() {
    keeps_its_interval_beside(guest("", "(loop $again (br $again))"), "");
}

#[test]
fn check_keeps_its_interval_beside_hundreds_that_wait() {
    let import = r#"(import "vouchd:check/tcp@0.1.0" "probe"
        (func $probe (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))"#;
    // Waits for bytes that never come.
    let body = "(call $probe (i32.const 64) (i32.const 14) (i32.const 64) (i32.const 1) (i32.const 1) (i32.const 64)
        (i32.const 1) (i32.const 100) (i32.const 0) (i32.const 2000))";
    keeps_its_interval_beside(guest(import, body), "tcp = [\"127.0.0.1:9000\"]");
}

/// More runs than an earlier version could have in flight.
const HANGING: usize = 150;

#[test]
fn quick_checks_whose_backend_hangs_delay_no_other() {
    system_test("a backend that begins to hang", &[Need::Vouchd], |site| {
        let hangs = Arc::new(AtomicBool::new(false));
        let silent = Arc::clone(&hangs);
        let listening = site.host(Node::Nginx01).in_network(move || {
            let listener = TcpListener::bind("127.0.0.1:9000").expect("a free port on a new host");
            std::thread::spawn(move || {
                let mut open = Vec::new();
                for mut peer in listener.incoming().flatten() {
                    if !silent.load(Ordering::SeqCst) {
                        let _ = peer.write_all(b"1");
                    }
                    open.push(peer);
                    // Those of earlier runs have ended.
                    let old = open.len().saturating_sub(1000);
                    open.drain(..old);
                }
            });
        })?;
        listening.join().expect("no panic");
        let import = r#"(import "vouchd:check/tcp@0.1.0" "probe"
            (func $probe (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))"#;
        // Waits for the `1`.
        let body =
            "(call $probe (i32.const 64) (i32.const 14) (i32.const 64) (i32.const 1) (i32.const 1) (i32.const 64)
            (i32.const 1) (i32.const 100) (i32.const 0) (i32.const 2000))
            (if (i32.load8_u (i32.const 2000)) (then unreachable))";
        let files = Files::without_builtins(site, Node::Nginx01)?;
        fs::write(files.plugin_dir().join("healthy.wasm"), guest("", ""))?;
        fs::write(files.plugin_dir().join("asking.wasm"), guest(import, body))?;
        let mut config = format!(
            "[instance.web]\ninterface = \"{INTERFACE}\"\nvirtual_router_id = {VRID}\naddresses = [\"{VIP}\"]\n\
             checks = [\"healthy\"]\n[check.healthy]\nplugin = \"healthy\"\ninterval = \"200ms\"\ntimeout = \"200ms\"\n"
        );
        for number in 0..HANGING {
            let _ = writeln!(
                config,
                "[check.q{number:03}]\nplugin = \"asking\"\ninterval = \"1s\"\ntimeout = \"3s\"\n\
                 allow = {{ tcp = [\"127.0.0.1:9000\"] }}"
            );
        }
        let vouchd = Vouchd::start_with(site, Node::Nginx01, files, &config)?;
        vouchd.wait_state("web", "active", Duration::from_secs(15))?;
        let count = |verdict: &str| {
            let status = vouchd.status().unwrap_or_default();
            let checks = status["checks"].as_array().into_iter().flatten();
            checks.filter(|check| check["verdict"] == verdict).count()
        };
        until("all to pass", Duration::from_secs(30), || count("pass") == HANGING + 1)?;
        let before = vouchd.instance("web")?["transitions"].clone();
        hangs.store(true, Ordering::SeqCst);
        let passes = || vouchd.check("healthy").is_ok_and(|check| check["verdict"] == "pass");
        holds("the healthy check passes", WATCHED, passes).with_context(|| format!("{:?}", vouchd.check("healthy")))?;
        let status = vouchd.status()?;
        let checks = status["checks"].as_array().into_iter().flatten();
        let overloaded =
            checks.filter(|check| check["message"].as_str().is_some_and(|text| text.contains("overloaded")));
        ensure!(overloaded.count() == 0, "a waiting run took a slot: {status}");
        ensure!(vouchd.instance("web")?["transitions"] == before, "{}", vouchd.instance("web")?);
        Ok(())
    });
}
