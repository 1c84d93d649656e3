//! Attempts over HTTP.

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener};

use vouchd_config::Grants;

use super::server::{ok, serve};
use super::{UNLESS_OK, attempt, placed, said};
use crate::common::{host, reporting, run_again};

/// An HTTP request, without its URL.
#[derive(Default)]
struct Fetch<'a> {
    method: Option<&'a str>,
    header: Option<(&'a str, &'a str)>,
    sni: Option<&'a str>,
    follow: u8,
}

fn fetch(url: &str, with: &Fetch<'_>) -> Vec<u8> {
    let (url_data, url) = placed(3000, url);
    let (method_data, method) = placed(20000, with.method.unwrap_or("GET"));
    let (name, value) = with.header.unwrap_or_default();
    let (name_data, _) = placed(21000, name);
    let (value_data, _) = placed(22000, value);
    let (sni_data, sni) = placed(23000, with.sni.unwrap_or_default());
    let list = [21000, u32::try_from(name.len()).unwrap(), 22000, u32::try_from(value.len()).unwrap()];
    let list: String = list.iter().flat_map(|n| n.to_le_bytes()).fold(String::new(), |mut out, b| {
        let _ = write!(out, "\\{b:02x}");
        out
    });
    let top = format!(
        r#"(import "vouchd:check/http@0.1.0" "fetch" (func $fetch (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
        {url_data} {method_data} {name_data} {value_data} {sni_data} (data (i32.const 24000) "{list}")"#
    );
    let body = format!(
        "(call $fetch {method} {url} (i32.const 24000) (i32.const {}) (i32.const 0) (i32.const 0) (i32.const 400) (i32.const 100)
            (i32.const 0) (i32.const {}) {sni} (i32.const {}) (i32.const 0) (i32.const 60000)) {UNLESS_OK}",
        u8::from(with.header.is_some()),
        u8::from(with.sni.is_some()),
        with.follow,
    );
    reporting(0, "got in", &top, &body)
}

/// Whether the environment of this process names a proxy. If not, runs the test again in a process where it does, and the
/// proxy must receive nothing.
fn has_proxy(test: &str) -> bool {
    if std::env::var_os("http_proxy").is_some_and(|proxy| proxy.to_string_lossy().contains("vouchd-test")) {
        return true;
    }
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    proxy.set_nonblocking(true).unwrap();
    let url = format!("http://vouchd-test:x@{}", proxy.local_addr().unwrap());
    run_again(test, |again| {
        for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
            again.env(name, &url);
        }
        for name in ["no_proxy", "NO_PROXY"] {
            again.env_remove(name);
        }
    });
    assert!(proxy.accept().is_err(), "the proxy of the environment was used");
    false
}

const DENIED: &str = "allow = { ";
const HTTP: &str = "http = [";
const INVALID: &str = "";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn url_never_leads_beyond_the_grant() {
    if !has_proxy("escapes::urls::url_never_leads_beyond_the_grant") {
        return;
    }
    let (secret, at_secret) = serve(TcpListener::bind("127.0.0.1:0").unwrap(), |_| ok());
    let s = secret.port();
    let (open, at_open) = serve(TcpListener::bind("127.0.0.1:0").unwrap(), move |path| {
        let Some(to) = path.strip_prefix("/public/to/") else { return ok() };
        let to = match to {
            "port" => format!("http://127.0.0.1:{s}/"),
            "scheme-relative" => format!("//127.0.0.1:{s}/public/"),
            "user" => format!("http://127.0.0.1@127.0.0.1:{s}/"),
            "name" => format!("http://localhost:{s}/"),
            "mapped" => format!("http://[::ffff:127.0.0.1]:{s}/"),
            "decimal" => format!("http://2130706433:{s}/"),
            "path" => "/secret".to_owned(),
            "up" => "../../secret".to_owned(),
            "encoded" => "/public/%2e%2e/secret".to_owned(),
            "file" => "file:///etc/passwd".to_owned(),
            "gopher" => format!("gopher://127.0.0.1:{s}/"),
            "twice" => "/public/to/port".to_owned(),
            _ => path.to_owned(),
        };
        format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
    });
    // The same port at another address, for URLs that obscure the host alone.
    let (neighbour, at_neighbour) =
        serve(TcpListener::bind(SocketAddr::from(([127, 0, 0, 2], open.port()))).unwrap(), |_| ok());
    let o = open.port();
    let plain: Vec<(String, &str)> = vec![
        (format!("http://127.0.0.1:{s}/"), HTTP),
        (format!("http://127.0.0.1:{s}/public/"), HTTP),
        (format!("http://127.0.0.2:{o}/public/"), HTTP),
        (format!("http://127.0.0.1:{o}@127.0.0.1:{s}/public/"), HTTP),
        (format!("http://127.0.0.1:{o}\\@127.0.0.1:{s}/public/"), DENIED),
        (format!("http://user:password@127.0.0.1:{s}/public/"), HTTP),
        (format!("http://127.0.0.1:{s}#@127.0.0.1:{o}/public/"), HTTP),
        (format!("http://127.0.0.1:{s}?@127.0.0.1:{o}/public/"), HTTP),
        (format!("http://127.0.0.1:{s}\\.example/public/"), DENIED),
        (format!("http:127.0.0.1:{s}/public/"), HTTP),
        (format!("http:\\\\127.0.0.1:{s}/public/"), HTTP),
        (format!("HTTP://127.0.0.1:{s}/public/"), HTTP),
        (format!("\u{0}http://127.0.0.1:{s}/"), HTTP),
        (format!("http://127.0.\t0.1\n:{s}/public/"), HTTP),
        (format!("http://2130706433:{s}/"), HTTP),
        (format!("http://2130706434:{o}/public/"), HTTP),
        (format!("http://0x7f000002:{o}/public/"), HTTP),
        (format!("http://0177.0.0.02:{o}/public/"), HTTP),
        (format!("http://127.2:{o}/public/"), HTTP),
        (format!("http://127.0.2:{o}/public/"), HTTP),
        (format!("http://127.0.0.2.:{o}/public/"), HTTP),
        (format!("http://%31%32%37.0.0.2:{o}/public/"), HTTP),
        (format!("http://\u{ff11}\u{ff12}\u{ff17}.0.0.2:{o}/public/"), HTTP),
        (format!("http://127\u{3002}0\u{3002}0\u{3002}2:{o}/public/"), HTTP),
        (format!("http://[::ffff:127.0.0.2]:{o}/public/"), HTTP),
        (format!("http://[::ffff:7f00:2]:{o}/public/"), HTTP),
        (format!("http://[::127.0.0.2]:{o}/public/"), HTTP),
        (format!("http://[::1]:{o}/public/"), HTTP),
        (format!("http://0:{s}/"), HTTP),
        (format!("http://0.0.0.0:{o}/public/"), HTTP),
        (format!("http://localhost:{o}/public/"), HTTP),
        (format!("http://LOCALHOST.:{s}/public/"), HTTP),
        (format!("http://l\u{f6}calhost:{s}/"), HTTP),
        (format!("https://127.0.0.1:{o}/public/"), HTTP),
        ("http://169.254.169.254/latest/meta-data/".to_owned(), HTTP),
        (format!("ftp://127.0.0.1:{s}/"), INVALID),
        ("file:///etc/passwd".to_owned(), INVALID),
        (format!("unix://127.0.0.1:{s}/"), INVALID),
        (format!("http://127.0.0.1:{o}/secret"), HTTP),
        (format!("http://127.0.0.1:{o}/PUBLIC/"), HTTP),
        (format!("http://127.0.0.1:{o}/publication"), HTTP),
        (format!("http://127.0.0.1:{o}//public/"), HTTP),
        (format!("http://127.0.0.1:{o}/public/../secret"), HTTP),
        (format!("http://127.0.0.1:{o}/public/%2e%2e/secret"), HTTP),
        (format!("http://127.0.0.1:{o}/public/.%2E/secret"), HTTP),
        (format!("http://127.0.0.1:{o}/public/..%2fsecret"), DENIED),
        (format!("http://127.0.0.1:{o}/public/..%5csecret"), DENIED),
        (format!("http://127.0.0.1:{o}/public/%252e%252e/secret"), DENIED),
        (format!("http://127.0.0.1:{o}/public/%25252e%25252e%25252fsecret"), DENIED),
        (format!("http://127.0.0.1:{o}/public/..;/secret"), DENIED),
        (format!("http://127.0.0.1:{o}/public\\..\\secret"), HTTP),
        (format!("http://127.0.0.1:{o}/?/public/"), HTTP),
        (format!("http://127.0.0.1:{o}/#/public/"), HTTP),
    ];
    let granted = format!("http://127.0.0.1:{o}/public/*");
    let mut grants = Grants::default();
    grants.http.push(granted.parse().unwrap());
    let host = host();

    // The grant works, with a proxy in the environment or not.
    let outcome = attempt(&host, &grants, &fetch(&format!("http://127.0.0.1:{o}/public/x"), &Fetch::default())).await;
    assert_eq!(said(&outcome), "GOT IN");
    assert_eq!(at_open.take(), ["GET /public/x HTTP/1.1"]);

    let mut count = 0;
    let mut complaints = Vec::new();
    for (url, words) in &plain {
        count += 1;
        let outcome = attempt(&host, &grants, &fetch(url, &Fetch { follow: 5, ..Fetch::default() })).await;
        let said = said(&outcome);
        let arrived = [at_open.take(), at_secret.take(), at_neighbour.take()].concat();
        println!("{url:?}: {}", said.lines().next().unwrap_or_default());
        if said == "GOT IN" || said == "timed out" || !said.contains(words) || !arrived.is_empty() {
            complaints.push(format!("{url:?}: {said}; arrived: {arrived:?}"));
        }
    }
    for to in [
        "port",
        "scheme-relative",
        "user",
        "name",
        "mapped",
        "decimal",
        "path",
        "up",
        "encoded",
        "twice",
        "file",
        "gopher",
    ] {
        count += 1;
        let url = format!("http://127.0.0.1:{o}/public/to/{to}");
        let outcome = attempt(&host, &grants, &fetch(&url, &Fetch { follow: 9, ..Fetch::default() })).await;
        let said = said(&outcome);
        println!("redirect to {to}: {said}");
        let elsewhere = [at_secret.take(), at_neighbour.take()].concat();
        let strayed = at_open.take().iter().any(|request| !request.starts_with("GET /public/to/"));
        let words = if matches!(to, "file" | "gopher") { "expected a URL" } else { HTTP };
        if !said.contains(words) || strayed || !elsewhere.is_empty() {
            complaints.push(format!("redirect to {to}: {said}; arrived: {elsewhere:?}"));
        }
    }
    // A loop of redirects ends.
    let circle = format!("http://127.0.0.1:{o}/public/to/circle");
    attempt(&host, &grants, &fetch(&circle, &Fetch { follow: 255, ..Fetch::default() })).await;
    let circled = at_open.take().len();
    assert!(circled <= 256, "{circled} requests in a circle");

    // The server name for TLS must not choose the address.
    let mut by_name = Grants::default();
    by_name.http.push(format!("http://127.0.0.1:{o}/*").parse().unwrap());
    let url = format!("http://127.0.0.1:{o}/x");
    for sni in [
        "127.0.0.2",
        "0x7f000002",
        "2130706434",
        "[::1]",
        "[::ffff:127.0.0.2]",
        "127.0.0.2.",
        "a b",
        "a@127.0.0.2",
        "127.0.0.2:1",
    ] {
        count += 1;
        let outcome = attempt(&host, &by_name, &fetch(&url, &Fetch { sni: Some(sni), ..Fetch::default() })).await;
        let arrived = at_neighbour.take();
        println!("sni {sni}: {}", said(&outcome));
        if said(&outcome) == "GOT IN" || !arrived.is_empty() {
            complaints.push(format!("sni {sni}: {}; arrived: {arrived:?}", said(&outcome)));
        }
        at_open.take();
    }
    // A name that a URL spells differently is still only a name.
    let outcome =
        attempt(&host, &by_name, &fetch(&url, &Fetch { sni: Some("B\u{fc}cher.EXAMPLE"), ..Fetch::default() })).await;
    assert_eq!(said(&outcome), "GOT IN", "connected to what the URL names");
    assert_eq!(at_open.take().len(), 1);

    // Nothing can be smuggled into the request.
    let smuggled = "GET /secret HTTP/1.1\r\nhost: x\r\n\r\nGET";
    for with in [
        Fetch { method: Some(smuggled), ..Fetch::default() },
        Fetch { method: Some("GET /secret"), ..Fetch::default() },
        Fetch { header: Some(("x", "y\r\n\r\nGET /secret HTTP/1.1")), ..Fetch::default() },
        Fetch { header: Some(("x\r\ny", "z")), ..Fetch::default() },
        Fetch { header: Some(("x: y\r\nz", "z")), ..Fetch::default() },
        // Nor by setting where it ends: the rest would be another request.
        Fetch { method: Some("CONNECT"), ..Fetch::default() },
        Fetch { header: Some(("content-length", "99")), ..Fetch::default() },
        Fetch { header: Some(("Content-Length", "0")), method: Some("POST"), ..Fetch::default() },
        Fetch { header: Some(("transfer-encoding", "chunked")), ..Fetch::default() },
        Fetch { header: Some(("Transfer-Encoding", "identity")), method: Some("POST"), ..Fetch::default() },
        Fetch { header: Some(("trailer", "host")), ..Fetch::default() },
        Fetch { header: Some(("upgrade", "h2c")), ..Fetch::default() },
    ] {
        count += 1;
        let outcome = attempt(&host, &by_name, &fetch(&url, &with)).await;
        let arrived = at_open.take();
        if said(&outcome) == "GOT IN" || !arrived.is_empty() {
            complaints.push(format!("{:?} {:?}: {}; arrived {arrived:?}", with.method, with.header, said(&outcome)));
        }
    }
    println!("{count} attempts by URL; listeners at {secret}, {neighbour} heard nothing");
    assert!(count >= 60, "{count}");
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}
