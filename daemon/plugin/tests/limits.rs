//! What a check's limit cuts decides nothing: each built-in plugin that reads an answer, against one that is too long.

mod common;

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::thread;
use std::time::Duration;

use common::{builtin, found, host, reason, run, run_with};
use vouchd_config::{Grants, Limits};
use vouchd_health::Verdict;

/// Says this to whoever comes, after a question where there is one to wait for. The address.
fn serve(asked: bool, said: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            if asked {
                let _ = stream.read(&mut [0; 4096]);
            }
            let _ = stream.write_all(&said);
        }
    });
    address
}

fn reaching(address: &str) -> Grants {
    Grants {
        tcp: vec![address.parse().unwrap()],
        http: vec![format!("http://{address}/").parse().unwrap()],
        ..Grants::default()
    }
}

/// HAProxy with a backend of so many servers, of which the last is the one that is up.
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
async fn a_large_haproxy_is_read_to_its_end() {
    let host = host();
    let Some(plugin) = builtin(&host, "haproxy") else { return };
    // About 700 KiB, and more than a MiB.
    let large = serve(true, haproxy(3_000));
    let params = [("address", large.as_str()), ("backend", "web")];
    let outcome = run(&host, &plugin, &params, &reaching(&large)).await;
    assert_eq!(found(&outcome).0, Verdict::Pass, "{:?}", outcome.result);

    let huge = serve(true, haproxy(6_000));
    let params = [("address", huge.as_str()), ("backend", "web")];
    let outcome = run(&host, &plugin, &params, &reaching(&huge)).await;
    assert!(reason(&outcome).contains("limits.probe_bytes"), "{}", reason(&outcome));
    let more = Limits { probe_bytes: 4 << 20, cpu: Duration::from_secs(5), ..Limits::default() };
    let outcome = run_with(&host, &plugin, &params, &reaching(&huge), &more, Duration::from_secs(10)).await;
    assert_eq!(found(&outcome).0, Verdict::Pass, "{:?}", outcome.result);
}

#[tokio::test]
async fn no_plugin_decides_on_a_cut_answer() {
    let host = host();
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let limits = Limits { probe_bytes: 4096, ..Limits::default() };
    // The wanted text is there, but after the limit; or is to be absent.
    let long = [vec![b'x'; 5000], b"needle".to_vec()].concat();
    let web = serve(true, [b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), long.clone()].concat());
    let chatty = serve(false, long.clone());
    let bulk = format!("+PONG\r\n${}\r\nrole:master\r\n{}", long.len() + 13, String::from_utf8_lossy(&long));
    let redis = serve(true, bulk.into_bytes());
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
