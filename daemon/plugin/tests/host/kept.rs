//! Kept connections are closed when descriptors run out.

use std::fs::File;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

use crate::common::{builtin, found, host, is_alone, run};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use vouchd_config::grants::Grants;
use vouchd_health::Verdict;
use vouchd_tests::local::serve;

/// Answers every request, and keeps its connections.
fn server() -> SocketAddr {
    serve(|mut peer| {
        while peer.read(&mut [0; 4096]).is_ok_and(|length| length > 0) {
            let _ = peer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhere");
        }
    })
}

/// Allows no further descriptor for as long as this lives.
struct Full(u64, u64);

impl Full {
    fn now() -> Self {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        let next = File::open("/dev/null").unwrap().as_raw_fd();
        setrlimit(Resource::RLIMIT_NOFILE, u64::try_from(next).unwrap(), hard).unwrap();
        Full(soft, hard)
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        setrlimit(Resource::RLIMIT_NOFILE, self.0, self.1).unwrap();
    }
}

#[tokio::test]
async fn kept_connections_give_way_to_other_checks() {
    // The limit is the process's.
    if !is_alone("kept::kept_connections_give_way_to_other_checks") {
        return;
    }
    let host = host();
    let (Some(http), Some(tcp), Some(file)) = (builtin(&host, "http"), builtin(&host, "tcp"), builtin(&host, "file"))
    else {
        return;
    };
    let servers: Vec<_> = (0..6).map(|_| server()).collect();
    let (address, url) = (servers[0].to_string(), format!("http://{}/", servers[0]));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ready").to_str().unwrap().to_owned();
    std::fs::write(&path, "yes").unwrap();
    let grants = Grants {
        http: servers.iter().map(|server| format!("http://{server}/").parse().unwrap()).collect(),
        tcp: vec!["127.0.0.1:*".parse().unwrap()],
        files: vec![path.parse().unwrap()],
        ..Grants::default()
    };
    let checks = [
        (&tcp, vec![("address", address.as_str())]),
        (&file, vec![("path", path.as_str())]),
        (&http, vec![("url", url.as_str())]),
    ];
    for is_full in [false, true] {
        for (plugin, params) in &checks {
            for server in &servers {
                let url = format!("http://{server}/");
                let kept = run(&host, &http, &[("url", &url), ("reuse", "true")], &grants).await;
                assert_eq!(found(&kept).0, Verdict::Pass, "{kept:?}");
            }
            let _full = is_full.then(Full::now);
            let outcome = run(&host, plugin, params, &grants).await;
            assert_eq!(found(&outcome).0, Verdict::Pass, "{params:?}: {outcome:?}");
        }
    }
}
