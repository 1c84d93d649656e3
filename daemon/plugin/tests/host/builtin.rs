//! The compiled plugins process, http and tcp, against real processes and local servers.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::common::{Params, builtin, found, host, reason, run, run_with};
use vouchd_config::Limits;
use vouchd_config::grants::{Grants, ProcessGrant};
use vouchd_health::Verdict;
use vouchd_plugin::Kind;
use vouchd_tests::local::{accept_tls, http_answer, self_signed, serve};

/// A process with a unique name: a copy of `sleep`.
struct Sleeper {
    child: Child,
    name: String,
    _dir: tempfile::TempDir,
}

impl Sleeper {
    fn start(name: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::copy("/bin/sleep", &path).unwrap();
        let child = Command::new(&path).arg("60").stdin(Stdio::null()).spawn().unwrap();
        // Until it has executed the copy.
        let cmdline = format!("/proc/{}/cmdline", child.id());
        while !std::fs::read_to_string(&cmdline).unwrap().contains(name) {
            thread::sleep(Duration::from_millis(1));
        }
        Sleeper { child, name: name.to_owned(), _dir: dir }
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn processes(names: &[&str]) -> Grants {
    let names = names.iter().map(|n| (*n).to_owned()).collect();
    Grants { process: ProcessGrant::Names(names), ..Grants::default() }
}

#[tokio::test]
async fn running_process_passes_and_a_dead_one_fails_even_unreaped() {
    let host = host();
    let Some(plugin) = builtin(&host, "process") else { return };
    assert_eq!(plugin.kind(), Kind::Module);
    assert_eq!(plugin.metadata().version.as_deref(), Some("0.1.0"));
    assert_eq!(plugin.metadata().description.as_deref(), Some("Are enough processes running?"));
    let mut sleeper = Sleeper::start("vouchd-t-alive");
    let grants = processes(&[&sleeper.name]);
    let params = [("name", "vouchd-t-alive")];
    let outcome = run(&host, &plugin, &params, &grants).await;
    assert_eq!(found(&outcome), (Verdict::Pass, "1 process named vouchd-t-alive"));
    assert_eq!(outcome.watch.processes.len(), 1);
    assert_eq!(outcome.watch.processes[0].pid, sleeper.child.id());
    assert_eq!(outcome.probes[0].what, "process vouchd-t-alive");

    sleeper.child.kill().unwrap();
    let raw = outcome.watch.processes[0].fd.as_raw_fd();
    wait_readable(raw);
    // Not reaped: the next run finds a zombie, even while the snapshot is shared.
    let outcome = run(&host, &plugin, &params, &grants).await;
    assert_eq!(found(&outcome), (Verdict::Fail, "no process named vouchd-t-alive"));
}

fn wait_readable(raw: i32) {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    // SAFETY: the descriptor belongs to the outcome, which the caller holds.
    let fd = unsafe { std::os::fd::BorrowedFd::borrow_raw(raw) };
    let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
    assert_eq!(poll(&mut fds, PollTimeout::from(5000u16)).unwrap(), 1, "the pidfd shows the end");
}

#[tokio::test]
async fn process_is_found_by_long_name_command_line_and_pid_file() {
    let host = host();
    let Some(plugin) = builtin(&host, "process") else { return };
    let sleeper = Sleeper::start("vouchd-test-with-a-long-name");
    let mut grants = processes(&[&sleeper.name]);
    let dir = tempfile::tempdir().unwrap();
    let pid_file = dir.path().join("pid");
    std::fs::write(&pid_file, format!("{}\n", sleeper.child.id())).unwrap();
    let pid_file = pid_file.to_str().unwrap();
    // A pid file needs the grant of a file.
    let denied = run(&host, &plugin, &[("pid_file", pid_file)], &grants).await;
    assert!(reason(&denied).contains(&format!("files = [\"{pid_file}\"]")), "{}", reason(&denied));
    let relative = run(&host, &plugin, &[("pid_file", "run/pid")], &grants).await;
    assert!(reason(&relative).contains("expected an absolute path"), "{}", reason(&relative));
    grants.files = vec![pid_file.parse().unwrap(), "/nonexistent/pid".parse().unwrap()];
    let table: [(Params<'_>, Verdict); 6] = [
        (&[("name", "vouchd-test-with-a-long-name")], Verdict::Pass),
        (&[("cmdline", "a-long-name 60$")], Verdict::Pass),
        (&[("cmdline", "a-long-name 61$")], Verdict::Fail),
        (&[("pid_file", pid_file)], Verdict::Pass),
        (&[("pid_file", "/nonexistent/pid")], Verdict::Fail),
        (&[("name", "vouchd-test-with-a-long-name"), ("min", "2")], Verdict::Fail),
    ];
    for (params, verdict) in table {
        let outcome = run(&host, &plugin, params, &grants).await;
        assert_eq!(found(&outcome).0, verdict, "{params:?}: {:?}", outcome.result);
    }
    let owner = nix::unistd::getuid().to_string();
    for (user, verdict) in [(owner.as_str(), Verdict::Pass), ("4000000000", Verdict::Fail)] {
        let params = [("name", "vouchd-test-with-a-long-name"), ("user", user)];
        let outcome = run(&host, &plugin, &params, &grants).await;
        assert_eq!(found(&outcome).0, verdict, "{user}: {:?}", outcome.result);
    }
}

#[tokio::test]
async fn refusal_names_the_line_to_add() {
    let host = host();
    let table: [(&str, Params<'_>, &str); 5] = [
        ("process", &[("name", "sshd")], "allow = { process = [\"sshd\"] }"),
        ("process", &[("cmdline", "sshd")], "allow = { process = true }"),
        ("tcp", &[("address", "127.0.0.1:1")], "allow = { tcp = [\"127.0.0.1:1\"] }"),
        ("http", &[("url", "http://127.0.0.1:1/x")], "allow = { http = [\"http://127.0.0.1:1/x\"] }"),
        ("http", &[("url", "file:///etc/passwd")], "http:// or https://"),
    ];
    for (name, params, line) in table {
        let Some(plugin) = builtin(&host, name) else { return };
        let outcome = run(&host, &plugin, params, &Grants::default()).await;
        assert!(reason(&outcome).contains(line), "{name} {params:?}: {}", reason(&outcome));
    }
}

/// Answers each request with the result of `respond`; holds the connection if that is `None`.
fn answer(respond: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> SocketAddr {
    serve(move |mut stream| {
        let mut buffer = [0; 4096];
        let n = stream.read(&mut buffer).unwrap_or(0);
        match respond(&String::from_utf8_lossy(&buffer[..n])) {
            Some(response) => drop(stream.write_all(response.as_bytes())),
            None => while stream.read(&mut buffer).is_ok_and(|n| n > 0) {},
        }
    })
}

fn http_server() -> SocketAddr {
    answer(|request| {
        let path = request.split_whitespace().nth(1).unwrap_or_default();
        let host = request.lines().find_map(|l| l.strip_prefix("host: ")).unwrap_or_default().to_owned();
        match path {
            "/" => Some(http_answer("200 OK", "", &format!("welcome to {host}"))),
            "/broken" => Some(http_answer("500 Internal Server Error", "", "")),
            "/moved" => Some(http_answer("302 Found", "Location: /\r\n", "")),
            "/away" => Some(http_answer("302 Found", "Location: http://127.0.0.2:9/secret\r\n", "")),
            "/loop" => Some(http_answer("302 Found", "Location: /loop\r\n", "")),
            "/rude" => Some(String::new()),
            "/hang" => None,
            _ => Some(http_answer("404 Not Found", "", "")),
        }
    })
}

#[tokio::test]
async fn http_answers_decide() {
    let host = host();
    let Some(plugin) = builtin(&host, "http") else { return };
    let server = http_server();
    let mut grants = Grants::default();
    grants.http.push(format!("http://{server}/*").parse().unwrap());
    let table: [(&str, Params<'_>, Verdict, &str); 11] = [
        ("/", &[], Verdict::Pass, "HTTP 200 in "),
        ("/", &[("contains", "welcome")], Verdict::Pass, "HTTP 200 in "),
        ("/", &[("host", "www.example.com"), ("contains", "to www.example.com")], Verdict::Pass, "HTTP 200 in "),
        ("/", &[("headers.host", "a.example"), ("matches", "^welcome to a\\.")], Verdict::Pass, "HTTP 200 in "),
        ("/", &[("contains", "goodbye")], Verdict::Fail, "HTTP 200, but the body does not contain"),
        ("/broken", &[], Verdict::Fail, "HTTP 500, expected 200-399"),
        ("/moved", &[("status", "200")], Verdict::Fail, "HTTP 302, expected 200"),
        ("/moved", &[("status", "200"), ("redirects", "1")], Verdict::Pass, "HTTP 200 in "),
        ("/loop", &[("status", "200"), ("redirects", "3")], Verdict::Fail, "HTTP 302, expected 200"),
        ("/rude", &[], Verdict::Fail, "connection closed before message completed"),
        ("/hang", &[("timeout", "100ms")], Verdict::Fail, "no answer in time"),
    ];
    for (path, params, verdict, message) in table {
        let url = format!("http://{server}{path}");
        let mut all = vec![("url", url.as_str())];
        all.extend(params);
        let outcome = run(&host, &plugin, &all, &grants).await;
        let (got, text) = found(&outcome);
        assert_eq!(got, verdict, "{path} {params:?}: {text}");
        assert!(text.contains(message), "{path} {params:?}: {text}");
    }
    let away = format!("http://{server}/away");
    let outcome = run(&host, &plugin, &[("url", &away), ("redirects", "1")], &grants).await;
    assert!(reason(&outcome).contains("http://127.0.0.2:9/secret"), "{}", reason(&outcome));
}

#[tokio::test]
async fn probe_times_out_before_its_run() {
    let host = host();
    let Some(plugin) = builtin(&host, "http") else { return };
    let server = http_server();
    let mut grants = Grants::default();
    grants.http.push(format!("http://{server}/*").parse().unwrap());
    let url = format!("http://{server}/hang");
    let timeout = Duration::from_millis(200);
    let outcome = run_with(&host, &plugin, &[("url", &url)], &grants, &Limits::default(), timeout).await;
    assert_eq!(found(&outcome), (Verdict::Fail, format!("{url}: no answer in time").as_str()));
    assert!(outcome.duration < Duration::from_millis(400), "{:?}", outcome.duration);
}

#[tokio::test]
async fn tcp_answers_decide() {
    let host = host();
    let Some(plugin) = builtin(&host, "tcp") else { return };
    let server = answer(|request| (request == "PING\r\n").then(|| "+PONG\r\n".to_owned()));
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut grants = Grants::default();
    grants.tcp.push("127.0.0.0/8:*".parse().unwrap());
    let (server, closed) = (server.to_string(), closed.to_string());
    let table: [(&str, Params<'_>, Verdict, &str); 5] = [
        (&server, &[], Verdict::Pass, "accepts connections"),
        (&server, &[("send", "PING\r\n"), ("expect", "+PONG")], Verdict::Pass, "answers \"+PONG\""),
        (&server, &[("send", "PING\r\n"), ("expect", "-ERR")], Verdict::Fail, "expected \"-ERR\""),
        (&server, &[("send", "HELLO"), ("expect", "x"), ("timeout", "100ms")], Verdict::Fail, "no answer in time"),
        (&closed, &[], Verdict::Fail, "connection refused"),
    ];
    for (address, params, verdict, message) in table {
        let mut all = vec![("address", address)];
        all.extend(params);
        let outcome = run(&host, &plugin, &all, &grants).await;
        let (got, text) = found(&outcome);
        assert_eq!(got, verdict, "{params:?}: {text}");
        assert!(text.contains(message), "{params:?}: {text}");
    }
}

#[tokio::test]
async fn wrong_parameter_is_an_error_that_names_it() {
    let host = host();
    for (name, known) in [("process", "`name`, `cmdline`"), ("http", "`url`, `method`"), ("tcp", "`address`, `send`")] {
        let Some(plugin) = builtin(&host, name) else { return };
        let outcome = run(&host, &plugin, &[("colour", "blue")], &Grants::default()).await;
        assert!(reason(&outcome).contains("unknown parameter `colour`"), "{}", reason(&outcome));
        assert!(reason(&outcome).contains(known), "{}", reason(&outcome));
    }
}

/// A TLS server with a self-signed certificate for `name`; the answer's body is the server name that the client sent.
fn tls_server(name: &str) -> SocketAddr {
    let config = self_signed(name);
    serve(move |peer| {
        let mut stream = accept_tls(&config, peer);
        if stream.read(&mut [0; 4096]).is_ok() {
            let name = stream.conn.server_name().unwrap_or("no name").to_owned();
            let _ = stream.write_all(http_answer("200 OK", "", &name).as_bytes());
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    })
}

#[tokio::test]
async fn foreign_certificate_fails_unless_verification_is_off() {
    let host = host();
    let Some(plugin) = builtin(&host, "http") else { return };
    let server = tls_server("www.example.com");
    let url = format!("https://{server}/");
    let mut grants = Grants::default();
    grants.http.push(url.parse().unwrap());
    let outcome = run(&host, &plugin, &[("url", &url)], &grants).await;
    let (verdict, text) = found(&outcome);
    assert_eq!(verdict, Verdict::Fail);
    assert!(text.contains("TLS: "), "{text}");
    let table: [Params<'_>; 2] =
        [&[("contains", "no name")], &[("sni", "www.example.com"), ("contains", "www.example.com")]];
    for params in table {
        let mut all = vec![("url", url.as_str()), ("tls_verify", "false")];
        all.extend(params);
        let outcome = run(&host, &plugin, &all, &grants).await;
        assert_eq!(found(&outcome).0, Verdict::Pass, "{params:?}: {:?}", outcome.result);
    }
}

#[tokio::test]
async fn kept_connection_serves_the_next_run() {
    let host = host();
    let Some(plugin) = builtin(&host, "http") else { return };
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&accepted);
    let address = serve(move |mut stream| {
        count.fetch_add(1, Ordering::SeqCst);
        while stream.read(&mut [0; 4096]).is_ok_and(|n| n > 0) {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let url = format!("http://{address}/");
    let mut grants = Grants::default();
    grants.http.push(url.parse().unwrap());
    for (reuse, connections) in [("true", 1), ("false", 4)] {
        for _ in 0..3 {
            let params = [("url", url.as_str()), ("reuse", reuse), ("contains", "ok")];
            let outcome = run(&host, &plugin, &params, &grants).await;
            assert_eq!(found(&outcome).0, Verdict::Pass, "{:?}", outcome.result);
        }
        assert_eq!(accepted.load(Ordering::SeqCst), connections, "reuse = {reuse}");
    }
}
