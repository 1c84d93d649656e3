//! Attempts to reach what was not granted. A guest here passes only if it got in; listeners prove that nothing arrived.

mod common;

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use common::{host, reporting, run_with};
use vouchd_config::Limits;
use vouchd_config::grants::{Grants, ProcessGrant};
use vouchd_health::{RunResult, Verdict};
use vouchd_plugin::{Host, Outcome};

/// What was asked of a server, one line a request; a connection that said nothing is an empty line.
#[derive(Clone, Default)]
struct Arrived(Arc<Mutex<Vec<String>>>);

impl Arrived {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

/// Answers every request with what `answer` makes of its path.
fn serve(listener: TcpListener, answer: impl Fn(&str) -> String + Send + 'static) -> (SocketAddr, Arrived) {
    let address = listener.local_addr().unwrap();
    let arrived = Arrived::default();
    let log = arrived.clone();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let request = first_line(&stream);
            let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
            log.0.lock().unwrap().push(request);
            let _ = (&stream).write_all(answer(&path).as_bytes());
        }
    });
    (address, arrived)
}

fn first_line(stream: &TcpStream) -> String {
    let _ = stream.set_read_timeout(Some(Duration::from_millis(200)));
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    let _ = reader.read_line(&mut first);
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|n| n > 0) && line.trim() != "" {
        line.clear();
    }
    first.trim().to_owned()
}

fn ok() -> String {
    "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok".to_owned()
}

fn escape(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, b| {
        let _ = write!(out, "\\{b:02x}");
        out
    })
}

/// A pass only if the call left 0 ("ok") at 60000.
const UNLESS_OK: &str = "(if (i32.load8_u (i32.const 60000)) (then (i32.store8 (i32.const 1028) (i32.const 2))))";

/// A text as pointer and length of what is placed at `at`.
fn placed(at: u32, text: &str) -> (String, String) {
    (format!("(data (i32.const {at}) \"{}\")", escape(text)), format!("(i32.const {at}) (i32.const {})", text.len()))
}

/// What an HTTP attempt asks for beside its URL.
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

fn connect(addr: &str) -> Vec<u8> {
    let (data, addr) = placed(3000, addr);
    let top = format!(
        r#"(import "vouchd:check/simple@0.1.0" "tcp-connect" (func $connect (param i32 i32 i32) (result i32))) {data}"#
    );
    let body = format!(
        "(if (i32.lt_s (call $connect {addr} (i32.const 400)) (i32.const 0)) (then (i32.store8 (i32.const 1028) (i32.const 2))))"
    );
    reporting(0, "got in", &top, &body)
}

/// A search for processes; a pass only if it found one.
fn find(name: Option<&str>, cmdline: Option<&str>, pid_file: Option<&str>) -> Vec<u8> {
    let mut data = String::new();
    let mut arguments = String::new();
    for (at, text) in [(3000, name), (20000, cmdline), (21000, pid_file), (22000, None)] {
        let (placed, text_arguments) = placed(at, text.unwrap_or_default());
        data += &placed;
        let _ = write!(arguments, "(i32.const {}) {text_arguments} ", u8::from(text.is_some()));
    }
    let top = format!(
        r#"(import "vouchd:check/process@0.1.0" "find" (func $find (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32))) {data}"#
    );
    let none = "(if (i32.eqz (i32.load (i32.const 60008))) (then (i32.store8 (i32.const 1028) (i32.const 2))))";
    reporting(0, "got in", &top, &format!("(call $find {arguments} (i32.const 60000)) {none} {UNLESS_OK}"))
}

async fn attempt(host: &Host, grants: &Grants, bytes: &[u8]) -> Outcome {
    let plugin = host.load(bytes).expect("the attempt's module");
    run_with(host, &plugin, &[], grants, &Limits::default(), Duration::from_secs(1)).await
}

/// The reason, or what the first probe answered where the plugin made a verdict of it.
fn said(outcome: &Outcome) -> String {
    match &outcome.result {
        RunResult::Error { reason } => reason.clone(),
        RunResult::Report(report) if report.verdict == Verdict::Pass => "GOT IN".to_owned(),
        RunResult::Report(_) => outcome.probes.first().map_or_else(String::new, |probe| probe.answer.clone()),
        RunResult::TimedOut { .. } => "timed out".to_owned(),
    }
}

/// Runs this test again in a process whose environment names a proxy, which must hear nothing.
fn behind_a_proxy(test: &str) -> bool {
    if std::env::var_os("http_proxy").is_some_and(|proxy| proxy.to_string_lossy().contains("vouchd-test")) {
        return true;
    }
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    proxy.set_nonblocking(true).unwrap();
    let url = format!("http://vouchd-test:x@{}", proxy.local_addr().unwrap());
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", test, "--nocapture"]);
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        again.env(name, &url);
    }
    for name in ["no_proxy", "NO_PROXY"] {
        again.env_remove(name);
    }
    assert!(again.status().unwrap().success(), "the attempts behind a proxy");
    assert!(proxy.accept().is_err(), "the proxy of the environment was used");
    false
}

const DENIED: &str = "allow = { ";
const HTTP: &str = "http = [";
const INVALID: &str = "";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_url_leads_to_what_was_not_granted() {
    if !behind_a_proxy("no_url_leads_to_what_was_not_granted") {
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
    // The same port at another address, for what confuses the host alone.
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

    // The grant works at all, the proxy of the environment or not.
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
    // A loop of redirects comes to an end.
    let circle = format!("http://127.0.0.1:{o}/public/to/circle");
    attempt(&host, &grants, &fetch(&circle, &Fetch { follow: 255, ..Fetch::default() })).await;
    let circled = at_open.take().len();
    assert!(circled <= 256, "{circled} requests in a circle");

    // Where the granted host is a name, the server name for TLS must not choose the address.
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
    // A name that is spelled differently once it is in a URL is still only a name.
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_address_leads_to_what_was_not_granted() {
    let (secret, at_secret) = serve(TcpListener::bind("127.0.0.1:0").unwrap(), |_| ok());
    let (open, at_open) = serve(TcpListener::bind("127.0.0.1:0").unwrap(), |_| ok());
    let (s, o) = (secret.port(), open.port());
    let (_, at_neighbour) = serve(TcpListener::bind(SocketAddr::from(([127, 0, 0, 2], o))).unwrap(), |_| ok());
    let (_, at_far) = serve(TcpListener::bind(SocketAddr::from(([127, 0, 0, 4], o))).unwrap(), |_| ok());
    let only = [format!("127.0.0.1:{o}")];
    let network = [format!("127.0.0.0/31:{o}")];
    let table: Vec<(&[String], String)> = vec![
        (&[], format!("127.0.0.1:{o}")),
        (&only, format!("127.0.0.1:{s}")),
        (&only, format!("127.0.0.2:{o}")),
        (&only, format!("localhost:{o}")),
        (&only, format!("LOCALHOST:{s}")),
        (&only, format!("localhost.:{s}")),
        (&only, format!("0:{o}")),
        (&only, format!("0.0.0.0:{o}")),
        (&only, format!("127.2:{o}")),
        (&only, format!("2130706434:{o}")),
        (&only, format!("0x7f000002:{o}")),
        (&only, format!("0177.0.0.2:{o}")),
        (&only, format!("127.0.0.1.:{s}")),
        (&only, format!("127.0.0.1 :{s}")),
        (&only, format!(" 127.0.0.2:{o}")),
        (&only, format!("127.0.0.1:{o}:{s}")),
        (&only, format!("127.0.0.1:{o}@127.0.0.1:{s}")),
        (&only, format!("[::1]:{o}")),
        (&only, format!("[::ffff:127.0.0.1]:{s}")),
        (&only, format!("[::ffff:127.0.0.2]:{o}")),
        (&only, format!("[::ffff:7f00:2]:{o}")),
        (&only, format!("[127.0.0.2]:{o}")),
        (&only, format!("127.0.0.1\u{0}.x:{s}")),
        (&only, format!("127.0.0.1%lo:{s}")),
        (&only, format!("127.0.0.1:{}", u32::from(s) + 65536)),
        (&only, format!("127.0.0.1:+{s}")),
        (&only, format!("127.0.0.1:0{s}")),
        (&only, format!("127.0.0.1/{o}:{s}")),
        (&only, format!("*:{o}")),
        (&network, format!("127.0.0.2:{o}")),
        (&network, format!("127.0.0.4:{o}")),
        (&network, format!("127.0.0.1:{s}")),
        (&network, format!("[::ffff:127.0.0.4]:{o}")),
        (&only, "169.254.169.254:80".to_owned()),
    ];
    let host = host();
    let granted = |patterns: &[String]| {
        let mut grants = Grants::default();
        grants.tcp.extend(patterns.iter().map(|pattern| pattern.parse().unwrap()));
        grants
    };
    let outcome = attempt(&host, &granted(&only), &connect(&only[0])).await;
    assert_eq!(said(&outcome), "GOT IN");
    thread::sleep(Duration::from_millis(250)); // until the server has given up on a request
    assert_eq!(at_open.take().len(), 1);
    let mut complaints = Vec::new();
    for (patterns, addr) in &table {
        let outcome = attempt(&host, &granted(patterns), &connect(addr)).await;
        let said = said(&outcome);
        println!("{addr:?}: {said}");
        let refused =
            said.contains("tcp = [") || said.contains("nothing could grant it") || said.contains("is not an address");
        if !refused {
            complaints.push(format!("{addr:?}: {said}"));
        }
    }
    thread::sleep(Duration::from_millis(300));
    let arrived = [at_open.take(), at_secret.take(), at_neighbour.take(), at_far.take()].concat();
    println!("{} attempts by address; arrived: {arrived:?}", table.len());
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    assert!(arrived.is_empty(), "{arrived:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_query_finds_a_process_that_was_not_granted() {
    let own = std::fs::read_to_string("/proc/self/comm").unwrap().trim().to_owned();
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let pid = std::process::id().to_string();
    std::fs::write(path("pid"), &pid).unwrap();
    std::os::unix::fs::symlink(path("pid"), path("link")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", path("zero")).unwrap();
    std::os::unix::fs::symlink(path("circle"), path("circle")).unwrap();
    nix::unistd::mkfifo(&path("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let names = |names: &[&str]| Grants {
        process: ProcessGrant::Names(names.iter().map(|n| (*n).to_owned()).collect()),
        ..Grants::default()
    };
    let (nothing, other) = (Grants::default(), names(&["no-such-process"]));
    let host = host();
    let all = Grants { process: ProcessGrant::All, ..Grants::default() };
    assert_eq!(said(&attempt(&host, &all, &find(Some(&own), None, None)).await), "GOT IN");
    assert_eq!(said(&attempt(&host, &all, &find(None, None, Some(&text(&path("link"))))).await), "GOT IN");
    // Query, and what the refusal says; nothing where the answer is that there is none.
    type Query = (Option<String>, Option<String>, Option<String>);
    let some = |text: &str| Some(text.to_owned());
    let table: Vec<(&Grants, Query, &str)> = vec![
        (&nothing, (some(&own), None, None), "process = ["),
        (&nothing, (None, some("."), None), "process = true"),
        (&nothing, (None, None, some(&text(&path("pid")))), "process = true"),
        (&other, (some(&own), None, None), "process = ["),
        (&other, (some(&own.to_uppercase()), None, None), "process = ["),
        (&other, (some("NO-SUCH-PROCESS"), None, None), "process = ["),
        (&other, (some("no-such-process\0"), None, None), "process = ["),
        (&other, (some("no-such-process/"), None, None), "process = ["),
        (&other, (some(" no-such-process"), None, None), "process = ["),
        (&other, (some("*"), None, None), "process = ["),
        (&other, (some(".*"), None, None), "process = ["),
        (&other, (some(""), None, None), "process = ["),
        (&other, (some("a\"] } # "), None, None), "process = ["),
        (&other, (some("a\nb"), None, None), "process = ["),
        (&other, (None, some(".*"), None), "0 found"),
        (&other, (None, some(&own), None), "0 found"),
        (&other, (some("no-such-process"), some(".*"), None), "0 found"),
        (&other, (None, some("("), None), "not a regular expression"),
        (&other, (None, some("(a{1000}){1000}{1000}"), None), "not a regular expression"),
        (&other, (None, None, some(&text(&path("pid")))), "0 found"),
        (&other, (None, None, some(&text(&path("link")))), "0 found"),
        (&other, (some("no-such-process"), None, some("/proc/self/stat")), "0 found"),
        (&all, (None, None, some(&text(&path("fifo")))), "not a regular file"),
        (&all, (None, None, some(&text(&path("zero")))), "not a regular file"),
        (&all, (None, None, some("/dev/stdin")), ""),
        (&all, (None, None, some("/")), "not a regular file"),
        (&all, (None, None, some(&text(&path("circle")))), "pid file"),
        (&all, (None, None, some("/etc/passwd")), "0 found"),
        (&all, (None, None, some("/proc/self/environ")), "0 found"),
        (&all, (None, None, some(&"../".repeat(3000))), "pid file"),
        (&all, (None, None, None), "expected a name"),
    ];
    let mut complaints = Vec::new();
    for (grants, (name, cmdline, pid_file), words) in &table {
        let module = find(name.as_deref(), cmdline.as_deref(), pid_file.as_deref());
        let said = said(&attempt(&host, grants, &module).await);
        println!("{name:?} {cmdline:?}: {said}");
        if said == "GOT IN" || said == "timed out" || !said.contains(words) {
            complaints.push(format!("{name:?} {cmdline:?} {pid_file:?}: {said}"));
        }
    }
    println!("{} attempts by process", table.len());
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// A guest passes only if the system interface gave it something.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_system_interface_gives_nothing() {
    let table = [
        (
            r#""path_open" (func $f (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32))"#,
            "(call $f (i32.const 3) (i32.const 0) (i32.const 3000) (i32.const 10) (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 60000))",
        ),
        (
            r#""path_open" (func $f (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32))"#,
            "(call $f (i32.const 0) (i32.const 0) (i32.const 3000) (i32.const 10) (i32.const 1) (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 60000))",
        ),
        (r#""fd_prestat_get" (func $f (param i32 i32) (result i32))"#, "(call $f (i32.const 3) (i32.const 60000))"),
        (
            r#""fd_readdir" (func $f (param i32 i32 i32 i64 i32) (result i32))"#,
            "(call $f (i32.const 3) (i32.const 4000) (i32.const 100) (i64.const 0) (i32.const 60000))",
        ),
        (
            r#""path_filestat_get" (func $f (param i32 i32 i32 i32 i32) (result i32))"#,
            "(call $f (i32.const 3) (i32.const 0) (i32.const 3000) (i32.const 10) (i32.const 4000))",
        ),
        (
            r#""path_unlink_file" (func $f (param i32 i32 i32) (result i32))"#,
            "(call $f (i32.const 3) (i32.const 3000) (i32.const 10))",
        ),
        (
            r#""path_symlink" (func $f (param i32 i32 i32 i32 i32) (result i32))"#,
            "(call $f (i32.const 3000) (i32.const 10) (i32.const 3) (i32.const 3000) (i32.const 10))",
        ),
        (
            r#""path_create_directory" (func $f (param i32 i32 i32) (result i32))"#,
            "(call $f (i32.const 3) (i32.const 3000) (i32.const 10))",
        ),
        (
            r#""sock_accept" (func $f (param i32 i32 i32) (result i32))"#,
            "(call $f (i32.const 3) (i32.const 0) (i32.const 60000))",
        ),
        (
            r#""fd_write" (func $f (param i32 i32 i32 i32) (result i32))"#,
            "(call $f (i32.const 4) (i32.const 4000) (i32.const 1) (i32.const 60000))",
        ),
    ];
    let host = host();
    for (import, call) in table {
        let top = format!(
            "(import \"wasi_snapshot_preview1\" {import}) (data (i32.const 3000) \"etc/passwd\")
            (data (i32.const 4000) \"\\b8\\0b\\00\\00\\05\\00\\00\\00\")"
        );
        let body = format!("(if {call} (then (i32.store8 (i32.const 1028) (i32.const 2))))");
        let outcome = attempt(&host, &Grants::default(), &reporting(0, "got in", &top, &body)).await;
        match &outcome.result {
            RunResult::Report(report) => assert_eq!(report.verdict, Verdict::Fail, "{import}"),
            RunResult::Error { .. } => {}
            RunResult::TimedOut { .. } => panic!("{import}: timed out"),
        }
    }
}
