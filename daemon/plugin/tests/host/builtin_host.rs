//! The compiled plugins file, disk, pressure, vip, dns and tls, against this host and local servers.

use std::fs::{self, File};
use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, SystemTime};

use crate::common::{Params, builtin, found, host, metric, reason, report, run};
use vouchd_config::Grants;
use vouchd_config::grants::DnsGrant;
use vouchd_health::{RunResult, Verdict};
use vouchd_tests::local::{accept_tls, serve, signed_by_itself};

fn files(patterns: &[&str]) -> Grants {
    Grants { files: patterns.iter().map(|p| p.parse().unwrap()).collect(), ..Grants::default() }
}

#[tokio::test]
async fn file_is_judged_by_its_presence_age_and_contents() {
    let host = host();
    let Some(plugin) = builtin(&host, "file") else { return };
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().to_str().unwrap();
    fs::write(dir.path().join("ready"), "state: up\n").unwrap();
    let old = SystemTime::now() - Duration::from_secs(3 * 3600);
    File::options().write(true).open(dir.path().join("ready")).unwrap().set_modified(old).unwrap();
    let grants = files(&[&format!("{root}/*")]);
    let table: [(&str, Params<'_>, Verdict, &str); 9] = [
        ("ready", &[], Verdict::Pass, "was modified 3 h ago"),
        ("missing", &[], Verdict::Fail, "no file "),
        ("missing", &[("optional", "true")], Verdict::Pass, "no file "),
        ("missing", &[("exists", "false")], Verdict::Pass, "no file "),
        ("ready", &[("exists", "false")], Verdict::Fail, "expected no such file"),
        ("ready", &[("max_age", "1h")], Verdict::Fail, "expected at most 60 min"),
        ("ready", &[("min_age", "1h"), ("max_age", "1d")], Verdict::Pass, "3 h ago"),
        ("ready", &[("matches", "(?m)^state: up$")], Verdict::Pass, "3 h ago"),
        ("ready", &[("contains", "down")], Verdict::Fail, "does not contain \"down\""),
    ];
    for (name, params, verdict, message) in table {
        let path = format!("{root}/{name}");
        let mut all = vec![("path", path.as_str())];
        all.extend(params);
        let outcome = run(&host, &plugin, &all, &grants).await;
        let (got, text) = found(&outcome);
        assert_eq!(got, verdict, "{name} {params:?}: {text}");
        assert!(text.contains(message), "{name} {params:?}: {text}");
    }
    let path = format!("{root}/ready");
    let outcome = run(&host, &plugin, &[("path", &path)], &grants).await;
    assert_eq!(metric(&outcome, "size"), Some(10.0));
    assert!(metric(&outcome, "age").is_some_and(|age| (10_800.0..10_900.0).contains(&age)));
}

#[tokio::test]
async fn number_in_a_file_is_the_adjustment() {
    let host = host();
    let Some(plugin) = builtin(&host, "file") else { return };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("weight");
    let text = path.to_str().unwrap();
    let grants = files(&[text]);
    let params = [("path", text), ("weight", "true")];
    for (contents, verdict, adjust) in
        [("-20\n", Verdict::Pass, Some(-20)), ("0", Verdict::Pass, Some(0)), ("-254", Verdict::Fault, None)]
    {
        fs::write(&path, contents).unwrap();
        let outcome = run(&host, &plugin, &params, &grants).await;
        assert_eq!((report(&outcome).verdict, report(&outcome).adjust), (verdict, adjust), "{contents:?}");
    }
    fs::write(&path, "").unwrap();
    let outcome = run(&host, &plugin, &params, &grants).await;
    assert!(reason(&outcome).contains("expected a whole number from -254 to 254"), "{}", reason(&outcome));
}

#[tokio::test]
async fn disk_is_judged_by_its_free_space() {
    let host = host();
    let Some(plugin) = builtin(&host, "disk") else { return };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let grants = files(&[path]);
    let table: [(Params<'_>, Verdict, &str); 3] = [
        (&[("free.fail", "1B")], Verdict::Pass, "% free ("),
        (&[("free.fail", "99999TiB")], Verdict::Fail, "expected at least 99999 TiB"),
        (&[("free.warn", "99999TiB"), ("free.fail", "1B")], Verdict::Warn, "expected at least 99999 TiB"),
    ];
    for (params, verdict, message) in table {
        let mut all = vec![("path", path)];
        all.extend(params);
        let outcome = run(&host, &plugin, &all, &grants).await;
        let (got, text) = found(&outcome);
        assert_eq!(got, verdict, "{params:?}: {text}");
        assert!(text.contains(message), "{params:?}: {text}");
        assert!(metric(&outcome, "available").is_some_and(|bytes| bytes > 0.0));
        assert!(metric(&outcome, "available_share").is_some_and(|share| share > 0.0 && share <= 100.0));
    }
}

#[tokio::test]
async fn pressure_and_load_are_read_from_the_kernel() {
    let host = host();
    let Some(plugin) = builtin(&host, "pressure") else { return };
    let grants = files(&["/proc/pressure/*", "/proc/loadavg", "/sys/devices/system/cpu/online"]);
    let outcome = run(&host, &plugin, &[("load.fail", "100000")], &grants).await;
    assert_eq!(found(&outcome).0, Verdict::Pass, "{:?}", outcome.result);
    assert!(metric(&outcome, "load").is_some_and(|load| load >= 0.0));

    let outcome = run(&host, &plugin, &[("memory.warn", "100"), ("io_full.fail", "100")], &grants).await;
    if fs::read("/proc/pressure/memory").is_ok() {
        for name in ["memory", "memory_full", "io", "io_full"] {
            assert!(metric(&outcome, name).is_some_and(|share| (0.0..=100.0).contains(&share)), "{name}");
        }
    } else {
        assert!(matches!(outcome.result, RunResult::Error { .. }), "{:?}", outcome.result);
    }
}

#[tokio::test]
async fn only_addresses_of_this_host_are_held() {
    let host = host();
    let Some(plugin) = builtin(&host, "vip") else { return };
    let table: [(Params<'_>, Verdict, &str); 5] = [
        (&[("address", "127.0.0.1")], Verdict::Pass, "holds 127.0.0.1 on lo"),
        (&[("address", "127.0.0.1"), ("link", "none")], Verdict::Fail, "127.0.0.1 not on none"),
        (&[("address", "127.0.0.1"), ("held", "false")], Verdict::Fail, "holds 127.0.0.1 on lo, expected not to"),
        (&[("address", "192.0.2.77")], Verdict::Fail, "192.0.2.77 not on this host"),
        (&[("address", "192.0.2.77"), ("held", "false")], Verdict::Pass, "192.0.2.77 not on this host"),
    ];
    for (params, verdict, message) in table {
        let outcome = run(&host, &plugin, params, &Grants::default()).await;
        assert_eq!(found(&outcome), (verdict, message), "{params:?}");
    }
}

#[tokio::test]
async fn name_is_judged_by_its_addresses() {
    let host = host();
    let Some(plugin) = builtin(&host, "dns") else { return };
    let grants = Grants { dns: DnsGrant::Names(vec!["localhost".parse().unwrap()]), ..Grants::default() };
    let table: [(Params<'_>, Verdict, &str); 2] = [
        (&[("expect", "127.0.0.1")], Verdict::Pass, "localhost resolves to 127.0.0.1"),
        (&[("expect", "192.0.2.77")], Verdict::Fail, "expected 192.0.2.77"),
    ];
    for (params, verdict, message) in table {
        let mut all = vec![("name", "localhost")];
        all.extend(params);
        let outcome = run(&host, &plugin, &all, &grants).await;
        let (got, text) = found(&outcome);
        assert_eq!(got, verdict, "{params:?}: {text}");
        assert!(text.contains(message), "{params:?}: {text}");
    }
}

/// A TLS server with a self-signed certificate for `www.example.com` that ends with the year.
fn tls_server(last_year: i32) -> SocketAddr {
    let mut params = rcgen::CertificateParams::new(["www.example.com".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2000, 1, 1);
    params.not_after = rcgen::date_time_ymd(last_year, 12, 31);
    let config = signed_by_itself(params);
    serve(move |peer| {
        let mut stream = accept_tls(&config, peer);
        while stream.conn.is_handshaking() && stream.conn.complete_io(&mut stream.sock).is_ok_and(|(n, _)| n > 0) {}
    })
}

#[tokio::test]
async fn certificate_is_judged_by_its_issuer_and_end() {
    let host = host();
    let Some(plugin) = builtin(&host, "tls") else { return };
    let (lasting, expired) = (tls_server(2999), tls_server(2001));
    let deaf = serve(|mut stream| drop(stream.read(&mut [0; 16])));
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut grants = Grants::default();
    grants.tcp.push("127.0.0.1:*".parse().unwrap());
    let table: [(SocketAddr, Params<'_>, Verdict, &str); 7] = [
        (lasting, &[], Verdict::Fail, "certificate for www.example.com, valid for "),
        (lasting, &[("verify", "false")], Verdict::Pass, "TLSv1.3"),
        (lasting, &[("verify", "false"), ("fail_days", "9999999")], Verdict::Fail, "expected at least 9999999"),
        (expired, &[("verify", "false")], Verdict::Warn, "certificate for www.example.com, expired "),
        (expired, &[("verify", "false"), ("fail_days", "0")], Verdict::Fail, "expired "),
        (deaf, &[], Verdict::Fail, ": "),
        (closed, &[], Verdict::Fail, "connection refused"),
    ];
    for (address, params, verdict, message) in table {
        let address = address.to_string();
        let mut all = vec![("address", address.as_str()), ("sni", "www.example.com"), ("timeout", "1s")];
        all.extend(params);
        let outcome = run(&host, &plugin, &all, &grants).await;
        let (got, text) = found(&outcome);
        assert_eq!(got, verdict, "{params:?}: {text}");
        assert!(text.contains(message), "{params:?}: {text}");
    }
    let address = expired.to_string();
    let outcome = run(&host, &plugin, &[("address", &address)], &grants).await;
    assert!(metric(&outcome, "days").is_some_and(|days| days < -1000.0), "{:?}", outcome.result);
}

#[tokio::test]
async fn refusal_names_the_line_to_add() {
    let host = host();
    let table: [(&str, Params<'_>, &str); 5] = [
        ("file", &[("path", "/etc/hostname")], "allow = { files = [\"/etc/hostname\"] }"),
        ("disk", &[("path", "/srv"), ("free.fail", "1%")], "allow = { files = [\"/srv\"] }"),
        ("pressure", &[("cpu.warn", "50")], "allow = { files = [\"/proc/pressure/cpu\"] }"),
        ("dns", &[("name", "localhost")], "allow = { dns = [\"localhost\"] }"),
        ("tls", &[("address", "127.0.0.1:1")], "allow = { tcp = [\"127.0.0.1:1\"] }"),
    ];
    for (name, params, line) in table {
        let Some(plugin) = builtin(&host, name) else { return };
        let outcome = run(&host, &plugin, params, &Grants::default()).await;
        assert!(reason(&outcome).contains(line), "{name} {params:?}: {}", reason(&outcome));
    }
}
