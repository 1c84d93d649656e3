//! `haproxy` and `unix` against Debian's HAProxy.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use nix::sys::signal::Signal;
use vouchd_config::Grants;
use vouchd_health::Verdict;

use crate::common::{Params, assert_report, builtin, host, metric, reason, report};
use crate::server::{Server, can_run, command, directory, free_port};
use crate::{checked, unix, until_report};

const USER: &str = "haproxy";
const DAEMON: &str = "/usr/sbin/haproxy";

struct Haproxy {
    server: Server,
    socket: String,
    address: String,
    _directory: tempfile::TempDir,
}

impl Haproxy {
    /// Starts it with a backend `web` of three servers, of which the third is not checked, and a socket of the lowest level.
    fn start(servers: [SocketAddr; 2]) -> Self {
        let directory = directory(USER);
        let socket = directory.path().join("admin.sock").to_str().unwrap().to_owned();
        let config = directory.path().join("haproxy.cfg");
        let (address, port) = (format!("127.0.0.1:{}", free_port()), free_port());
        let text = format!(
            "global\n stats socket {socket} mode 666 level user\n stats socket {address} level user\n\
             defaults\n mode tcp\n timeout client 1s\n timeout server 1s\n timeout connect 1s\n\
             frontend www\n bind 127.0.0.1:{port}\n default_backend web\n\
             backend web\n default-server inter 50ms fall 1 rise 1\n server a {} check\n server b {} check\n \
             server c 127.0.0.1:1\n",
            servers[0], servers[1]
        );
        fs::write(&config, text).unwrap();
        let mut daemon = command(USER, Path::new(DAEMON));
        daemon.arg("-db").arg("-f").arg(&config);
        let mut server = Server::start(&mut daemon, directory.path().join("log"));
        server.wait_until("the socket is there", || std::os::unix::net::UnixStream::connect(&socket).is_ok());
        Haproxy { server, socket, address, _directory: directory }
    }
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[tokio::test]
async fn haproxy_is_judged_by_the_servers_of_its_backends() {
    if !can_run(Path::new(DAEMON), "haproxy", USER) {
        return;
    }
    let host = host();
    let Some(plugin) = builtin(&host, "haproxy") else { return };
    let ((a, first), (_b, second)) = (listener(), listener());
    let haproxy = Haproxy::start([first, second]);
    let grants = Grants { tcp: vec![haproxy.address.parse().unwrap()], ..unix(&haproxy.socket) };
    let socket = ("socket", haproxy.socket.as_str());

    let outcome = checked(&host, &plugin, &[socket], &grants).await;
    assert_report(&outcome, Verdict::Pass, "HAProxy 2.");
    assert_report(&outcome, Verdict::Pass, ": answers");
    let web =
        [socket, ("backend", "web"), ("frontend", "www"), ("servers", "2"), ("warn_servers", "3"), ("per_down", "-5")];
    until_report(&host, &plugin, &web, &grants, Verdict::Pass, "www is open; web has 3 of 3 servers up").await;
    let by_tcp = [("address", haproxy.address.as_str()), ("backend", "web")];
    assert_report(&checked(&host, &plugin, &by_tcp, &grants).await, Verdict::Pass, "web has 3 of 3 servers up");

    drop(a);
    until_report(
        &host,
        &plugin,
        &web,
        &grants,
        Verdict::Warn,
        "web has 2 of 3 servers up (a DOWN), expected at least 3",
    )
    .await;
    let outcome = checked(&host, &plugin, &web, &grants).await;
    assert_eq!(report(&outcome).adjust, Some(-5));
    assert_eq!((metric(&outcome, "servers_up"), metric(&outcome, "servers")), (Some(2.0), Some(3.0)));
    let all = [socket, ("backend", "web"), ("servers", "3")];
    assert_report(&checked(&host, &plugin, &all, &grants).await, Verdict::Fail, "expected at least 3");

    let table: [(Params<'_>, &str); 3] = [
        (&[socket, ("backend", "nowhere")], "no backend nowhere"),
        (&[socket, ("frontend", "web")], "no frontend web"),
        (&[socket, ("backend", "www")], "no backend www"),
    ];
    for (params, text) in table {
        assert_report(&checked(&host, &plugin, params, &grants).await, Verdict::Fail, text);
    }
    let outcome = checked(&host, &plugin, &[socket], &Grants::default()).await;
    assert!(reason(&outcome).contains(&format!("allow = {{ unix = [{:?}] }}", haproxy.socket)), "{}", reason(&outcome));

    haproxy.server.freeze();
    assert_report(&checked(&host, &plugin, &web, &grants).await, Verdict::Fail, "no answer in time");
    haproxy.server.thaw();
    haproxy.server.signal(Signal::SIGKILL);
    until_report(&host, &plugin, &web, &grants, Verdict::Fail, "connection refused").await;
}

#[tokio::test]
async fn unix_socket_is_judged_by_its_answer() {
    if !can_run(Path::new(DAEMON), "haproxy", USER) {
        return;
    }
    let host = host();
    let Some(plugin) = builtin(&host, "unix") else { return };
    let haproxy = Haproxy::start([listener().1, listener().1]);
    let grants = unix(&haproxy.socket);
    let table: [(Params<'_>, Verdict, &str); 4] = [
        (&[], Verdict::Pass, "accepts connections"),
        (&[("send", "show info\n"), ("expect", "Name: HAProxy")], Verdict::Pass, "answers \"Name: HAProxy\""),
        (&[("send", "show info\n"), ("expect", "Name: nginx")], Verdict::Fail, "expected \"Name: nginx\""),
        (&[("expect", "hello")], Verdict::Fail, "no answer in time"),
    ];
    for (params, verdict, text) in table {
        let params = [&[("path", haproxy.socket.as_str())], params].concat();
        assert_report(&checked(&host, &plugin, &params, &grants).await, verdict, text);
    }
    let outcome = checked(&host, &plugin, &[("path", "/run/other.sock")], &grants).await;
    assert!(reason(&outcome).contains("\"/run/other.sock\"] }"), "{}", reason(&outcome));
    haproxy.server.signal(Signal::SIGKILL);
    let path = [("path", haproxy.socket.as_str())];
    until_report(&host, &plugin, &path, &grants, Verdict::Fail, "connection refused").await;
}
