//! An answer that the check's limit cuts decides nothing: each plugin that reads answers, against one that is too long.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::thread;
use std::time::Duration;

use crate::common::{builtin, found, host, reason, run, run_with};
use vouchd_config::{Grants, Limits};
use vouchd_health::Verdict;
use vouchd_tests::local::serve;

/// Sends this to every client, after its request if `asked`. Returns the address.
fn say(asked: bool, said: Vec<u8>) -> String {
    let address = serve(move |mut stream| {
        if asked {
            let _ = stream.read(&mut [0; 4096]);
        }
        let _ = stream.write_all(&said);
    });
    address.to_string()
}

fn reaching(address: &str) -> Grants {
    Grants {
        tcp: vec![address.parse().unwrap()],
        http: vec![format!("http://{address}/").parse().unwrap()],
        ..Grants::default()
    }
}

/// HAProxy's answer about a backend with this many servers, of which only the last is up.
fn haproxy(servers: usize) -> Vec<u8> {
    let mut said =
        "Name: HAProxy\nVersion: 2.6.12\nCurrConns: 7\nStopping: 0\n\n# pxname,svname,status,desc,\n".to_owned();
    for server in 1..servers {
        let _ = writeln!(said, "web,server{server},DOWN,{},", "x".repeat(200));
    }
    said += "web,last,UP,,\nweb,BACKEND,UP,,\n\n";
    said.into_bytes()
}

#[tokio::test]
async fn large_answer_of_haproxy_is_read_to_its_end() {
    let host = host();
    let Some(plugin) = builtin(&host, "haproxy") else { return };
    // About 700 KiB, then more than 1 MiB.
    let large = say(true, haproxy(3_000));
    let params = [("address", large.as_str()), ("backend", "web")];
    let outcome = run(&host, &plugin, &params, &reaching(&large)).await;
    assert_eq!(found(&outcome).0, Verdict::Pass, "{:?}", outcome.result);

    let huge = say(true, haproxy(6_000));
    let params = [("address", huge.as_str()), ("backend", "web")];
    let outcome = run(&host, &plugin, &params, &reaching(&huge)).await;
    assert!(reason(&outcome).contains("limits.probe_bytes"), "{}", reason(&outcome));
    let more = Limits { probe_bytes: 4 << 20, cpu: Duration::from_secs(5), ..Limits::default() };
    let outcome = run_with(&host, &plugin, &params, &reaching(&huge), &more, Duration::from_secs(10)).await;
    assert_eq!(found(&outcome).0, Verdict::Pass, "{:?}", outcome.result);
}

#[tokio::test]
async fn cut_answer_decides_nothing() {
    let host = host();
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let limits = Limits { probe_bytes: 4096, ..Limits::default() };
    // The expected text comes after the limit, or must be absent.
    let long = [vec![b'x'; 5000], b"needle".to_vec()].concat();
    let web = say(true, [b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), long.clone()].concat());
    let chatty = say(false, long.clone());
    let bulk = format!("+PONG\r\n${}\r\nrole:master\r\n{}", long.len() + 13, String::from_utf8_lossy(&long));
    let redis = say(true, bulk.into_bytes());
    let (file, socket) = (path("file"), path("socket"));
    std::fs::write(&file, &long).unwrap();
    let listener = UnixListener::bind(&socket).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = stream.unwrap().write_all(&long);
        }
    });
    let mut grants =
        Grants { files: vec![file.parse().unwrap()], unix: vec![socket.parse().unwrap()], ..Grants::default() };
    for address in [&web, &chatty, &redis] {
        let reaching = reaching(address);
        grants.tcp.extend(reaching.tcp);
        grants.http.extend(reaching.http);
    }
    let url = format!("http://{web}/");
    let table: [(&str, &[(&str, &str)]); 7] = [
        ("http", &[("url", &url), ("contains", "needle")]),
        ("http", &[("url", &url), ("matches", "^x*$")]),
        ("tcp", &[("address", &chatty), ("expect", "needle")]),
        ("unix", &[("path", &socket), ("expect", "needle")]),
        ("file", &[("path", &file), ("contains", "needle")]),
        ("file", &[("path", &file), ("matches", "^x*$")]),
        ("redis", &[("address", &redis)]),
    ];
    for (name, params) in table {
        let Some(plugin) = builtin(&host, name) else { return };
        let timeout = Duration::from_secs(5);
        let outcome = run_with(&host, &plugin, params, &grants, &limits, timeout).await;
        let reason = reason(&outcome);
        assert!(reason.contains("limits.probe_bytes") && reason.contains("4096"), "{name} {params:?}: {reason}");
    }
}
