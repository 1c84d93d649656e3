//! Endless backends delay the checks that ask them, and nothing else.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use vouchd_tests::pair::VRID;
use vouchd_tests::site::INTERFACE;
use vouchd_tests::vouchd::{Files, Vouchd};
use vouchd_tests::wait::{holds, until};
use vouchd_tests::{Need, Node, VIP, system_test};

/// More lookups than an earlier version could have in flight (64).
const LOOKUPS: usize = 80;

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Name of a backend, what it sends first, and what it sends endlessly after that.
const ENDLESS: [(&str, &str, &str); 6] = [
    ("zeros", CHUNKED, "0"),
    ("extension", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", "x"),
    ("trailers", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", "x: y\r\n"),
    ("header", "HTTP/1.1 200 OK\r\nx: ", "x"),
    ("interim", "", "HTTP/1.1 103 Early Hints\r\n\r\n"),
    ("bytes", CHUNKED, "1\r\nx\r\n"),
];

/// Serves each connection on a new thread, until the test ends.
fn serve(port: u16, talk: impl Fn(TcpStream) + Clone + Send + 'static) {
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("a free port on a new host");
    std::thread::spawn(move || {
        for peer in listener.incoming().flatten() {
            let talk = talk.clone();
            std::thread::spawn(move || talk(peer));
        }
    });
}

fn start_backends() {
    serve(9000, |mut peer| {
        let _ = peer.read(&mut [0; 4096]);
        let _ = peer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
    for ((_, begin, again), port) in ENDLESS.into_iter().zip(9001..) {
        let again = again.repeat((64 << 10) / again.len());
        serve(port, move |mut peer| {
            let _ = peer.read(&mut [0; 4096]);
            let _ = peer.write_all(begin.as_bytes());
            while peer.write_all(again.as_bytes()).is_ok() {}
        });
    }
}

#[test]
fn endless_backend_delays_only_its_own_checks() {
    system_test("endless backends", &[Need::Vouchd], |site| {
        let node = Node::Nginx01;
        site.host(node).in_network(start_backends)?.join().expect("no panic in there");
        let mut config = format!(
            "[instance.web]\ninterface = \"{INTERFACE}\"\nvirtual_router_id = {VRID}\naddresses = [\"{VIP}\"]\n\
             checks = [\"healthy\"]\n"
        );
        let mut check = |name: &str, port: u16, interval: &str| {
            let url = format!("http://127.0.0.1:{port}/");
            let _ = writeln!(
                config,
                "[check.{name}]\nplugin = \"http\"\ninterval = \"{interval}\"\ntimeout = \"1s\"\n\
                 params = {{ url = {url:?}, contains = \"ok\" }}\nallow = {{ http = [{url:?}] }}"
            );
        };
        check("healthy", 9000, "500ms");
        for ((name, ..), port) in ENDLESS.into_iter().zip(9001..) {
            for number in 0..4 {
                check(&format!("{name}{number}"), port, "200ms");
            }
        }
        let vouchd = Vouchd::start_with(site, node, Files::new(site, node)?, &config)?;
        vouchd.wait_state("web", "active", Duration::from_secs(30))?;
        until("every check to have run three times", Duration::from_secs(60), || {
            vouchd.status().is_ok_and(|status| {
                let checks = status["checks"].as_array().into_iter().flatten();
                checks.into_iter().all(|check| check["runs"].as_u64() >= Some(3))
            })
        })?;
        let runs = || vouchd.check("healthy").ok().and_then(|check| check["runs"].as_u64()).context("no runs");
        let (start, before) = (Instant::now(), runs()?);
        holds("the healthy check passes", Duration::from_secs(8), || {
            vouchd.check("healthy").is_ok_and(|check| check["verdict"] == "pass")
        })
        .with_context(|| format!("{:?}", vouchd.check("healthy")))?;
        let (done, due) = (runs()? - before, start.elapsed().as_millis() as u64 / 500);
        println!("{done} runs of the healthy check, {due} were due");
        ensure!(done * 10 >= due * 8, "{done} runs where {due} were due");
        let checker = &vouchd.status()?["checker"];
        ensure!(checker["restarts"] == 0, "the checker was restarted: {checker}");
        ensure!(vouchd.instance("web")?["state"] == "active", "{}", vouchd.instance("web")?);
        for (name, ..) in ENDLESS {
            let check = vouchd.check(&format!("{name}0"))?;
            ensure!(check["verdict"] != "pass", "{check}");
        }
        Ok(())
    });
}

#[test]
fn lookups_at_a_silent_name_server_delay_no_other_check() {
    system_test("a silent name server", &[Need::Vouchd], |site| {
        let node = Node::Nginx01;
        let resolv = site.dir("names")?.join("resolv.conf");
        std::fs::write(&resolv, "nameserver 127.0.0.9\n")?;
        site.host(node).sh(&format!("mount --bind {} /etc/resolv.conf", resolv.display()))?;
        site.host(node)
            .in_network(|| {
                serve(9000, |mut peer| {
                    let _ = peer.read(&mut [0; 4096]);
                    let _ = peer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
                });
                // Receives questions and never answers, until the test ends.
                let silent = std::net::UdpSocket::bind("127.0.0.9:53").expect("a free port on a new host");
                std::mem::forget(silent);
            })?
            .join()
            .expect("no panic in there");
        let mut config = format!(
            "[instance.web]\ninterface = \"{INTERFACE}\"\nvirtual_router_id = {VRID}\naddresses = [\"{VIP}\"]\n\
             checks = [\"healthy\"]\n[check.healthy]\nplugin = \"http\"\ninterval = \"500ms\"\ntimeout = \"1s\"\n\
             params = {{ url = \"http://localhost:9000/\" }}\n\
             allow = {{ http = [\"http://localhost:9000/\"] }}\n"
        );
        for number in 0..LOOKUPS {
            let _ = writeln!(
                config,
                "[check.n{number:02}]\nplugin = \"dns\"\ninterval = \"200ms\"\ntimeout = \"1s\"\n\
                 params = {{ name = \"n{number}.example\", timeout = \"1ms\" }}\n\
                 allow = {{ dns = [\"n{number}.example\"] }}"
            );
        }
        let vouchd = Vouchd::start_with(site, node, Files::new(site, node)?, &config)?;
        vouchd.wait_state("web", "active", Duration::from_secs(30))?;
        until("every lookup to fail twice", Duration::from_secs(60), || {
            vouchd.status().is_ok_and(|status| {
                let checks = status["checks"].as_array().into_iter().flatten();
                checks.into_iter().all(|check| check["runs"].as_u64() >= Some(2))
            })
        })?;
        holds("the healthy check passes", Duration::from_secs(5), || {
            vouchd.check("healthy").is_ok_and(|check| check["verdict"] == "pass")
        })
        .with_context(|| format!("{:?}", vouchd.check("healthy")))?;
        // A name server that does not answer is an error, and no property of the name.
        let check = vouchd.check("n00")?;
        ensure!(check["verdict"] == "error", "{check}");
        ensure!(check["message"].as_str().is_some_and(|text| text.contains("no name server")), "{check}");
        Ok(())
    });
}
