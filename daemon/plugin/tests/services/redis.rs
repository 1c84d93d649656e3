//! `redis` against Debian's Redis, with a replica.

use std::fs;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;
use vouchd_config::Grants;
use vouchd_health::Verdict;

use crate::common::{Params, assert_report, builtin, host, metric, reason};
use crate::server::{Server, can_run, certificate, command, directory, done, free_port};
use crate::{checked, unix, until_report};

const USER: &str = "redis";
const DAEMON: &str = "/usr/bin/redis-server";
/// One that redis-cli takes without quotes; `checked` looks for its beginning.
const PASSWORD: &str = "zürich'9 x";

struct Redis {
    server: Server,
    socket: String,
    address: String,
    port: String,
}

impl Redis {
    fn start(directory: &Path, name: &str, args: &[&str]) -> Self {
        let socket = directory.join(format!("{name}.sock")).to_str().unwrap().to_owned();
        let port = free_port().to_string();
        let mut daemon = command(USER, Path::new(DAEMON));
        daemon.args(["--port", &port, "--bind", "127.0.0.1", "--unixsocket", &socket, "--unixsocketperm", "777"]);
        daemon.args(["--save", "", "--rdbcompression", "no", "--dbfilename", &format!("{name}.rdb"), "--dir"]);
        daemon.arg(directory).args(args);
        let mut server = Server::start(&mut daemon, directory.join(format!("{name}.log")));
        server.wait_until("the socket is there", || std::os::unix::net::UnixStream::connect(&socket).is_ok());
        Redis { server, socket, address: format!("127.0.0.1:{port}"), port }
    }

    fn client(&self, words: &[&str]) -> String {
        done(Command::new("redis-cli").args(["-e", "-s", &self.socket]).args(words))
    }
}

fn and<'a>(params: Params<'a>, more: Params<'a>) -> Vec<(&'a str, &'a str)> {
    [params, more].concat()
}

fn tcp(addresses: &[&str]) -> Grants {
    Grants { tcp: addresses.iter().map(|address| address.parse().unwrap()).collect(), ..Grants::default() }
}

#[tokio::test]
async fn redis_is_judged_by_its_role_and_its_replication() {
    if !can_run(Path::new(DAEMON), "redis-server", USER) {
        return;
    }
    let host = host();
    let Some(plugin) = builtin(&host, "redis") else { return };
    let directory = directory(USER);
    let master = Redis::start(directory.path(), "master", &["--repl-ping-replica-period", "1"]);
    let of = ["--replicaof", "127.0.0.1", &master.port, "--repl-diskless-sync-delay", "0"];
    let replica = Redis::start(directory.path(), "replica", &of);
    let grants = tcp(&[&master.address, &replica.address]);
    let of_master = [("address", master.address.as_str())];
    let of_replica = [("address", replica.address.as_str())];

    let one = and(&of_master, &[("role", "master"), ("replicas", "1")]);
    until_report(&host, &plugin, &one, &grants, Verdict::Pass, "master with 1 replica").await;
    let outcome = checked(&host, &plugin, &one, &grants).await;
    assert_eq!(metric(&outcome, "replicas"), Some(1.0));
    let two = and(&of_master, &[("replicas", "2")]);
    assert_report(&checked(&host, &plugin, &two, &grants).await, Verdict::Warn, "expected at least 2");
    let wrong = and(&of_master, &[("role", "replica")]);
    assert_report(&checked(&host, &plugin, &wrong, &grants).await, Verdict::Fail, "expected a replica");

    let fresh = and(&of_replica, &[("role", "replica"), ("max_silence", "6s")]);
    let text = format!("replica of {}, last contact", master.address);
    until_report(&host, &plugin, &fresh, &grants, Verdict::Pass, &text).await;
    assert!(metric(&checked(&host, &plugin, &fresh, &grants).await, "silence").is_some());
    let wrong = and(&of_replica, &[("role", "master")]);
    assert_report(&checked(&host, &plugin, &wrong, &grants).await, Verdict::Fail, "expected a master");
    let by_socket = [("socket", replica.socket.as_str())];
    assert_report(&checked(&host, &plugin, &by_socket, &unix(&replica.socket)).await, Verdict::Pass, &text);

    // A master that hangs: its link is up, and silent.
    master.server.freeze();
    assert_report(&checked(&host, &plugin, &of_master, &grants).await, Verdict::Fail, "no answer in time");
    let strict = and(&of_replica, &[("max_silence", "2s")]);
    until_report(&host, &plugin, &strict, &grants, Verdict::Fail, "expected at most 2 s").await;
    master.server.signal(Signal::SIGKILL);
    until_report(&host, &plugin, &of_replica, &grants, Verdict::Warn, "link down").await;
    until_report(&host, &plugin, &of_master, &grants, Verdict::Fail, "connection refused").await;

    replica.client(&["replicaof", "no", "one"]);
    let role = and(&of_replica, &[("role", "master")]);
    assert_report(&checked(&host, &plugin, &role, &grants).await, Verdict::Pass, "master with 0 replicas");
    let outcome = checked(&host, &plugin, &role, &Grants::default()).await;
    assert!(reason(&outcome).contains(&format!("allow = {{ tcp = [{:?}] }}", replica.address)), "{}", reason(&outcome));
}

#[tokio::test]
async fn redis_that_loads_its_data_set_fails() {
    if !can_run(Path::new(DAEMON), "redis-server", USER) {
        return;
    }
    let host = host();
    let Some(plugin) = builtin(&host, "redis") else { return };
    let directory = directory(USER);
    let full = Redis::start(directory.path(), "data", &[]);
    full.client(&["eval", "for i = 1, 300 do redis.call('set', 'k' .. i, string.rep('x', 500)) end", "0"]);
    full.client(&["save"]);
    drop(full);
    // 300 keys at 20 ms.
    let slow = ["--key-load-delay", "20000", "--loading-process-events-interval-bytes", "1024"];
    let redis = Redis::start(directory.path(), "data", &slow);
    let params = [("socket", redis.socket.as_str())];
    let grants = unix(&redis.socket);
    assert_report(&checked(&host, &plugin, &params, &grants).await, Verdict::Fail, "is loading its data set");
    until_report(&host, &plugin, &params, &grants, Verdict::Fail, "% done").await;
    until_report(&host, &plugin, &params, &grants, Verdict::Pass, "master with 0 replicas").await;
}

#[tokio::test]
async fn redis_login_and_tls_follow_the_parameters() {
    if !can_run(Path::new(DAEMON), "redis-server", USER) {
        return;
    }
    let host = host();
    let Some(plugin) = builtin(&host, "redis") else { return };
    let directory = directory(USER);
    let [cert, key] = certificate(directory.path(), USER).map(|path| path.to_str().unwrap().to_owned());
    let tls_port = free_port().to_string();
    let tls = ["--tls-port", &tls_port, "--tls-cert-file", &cert, "--tls-key-file", &key, "--tls-ca-cert-file", &cert];
    let args = [&tls[..], &["--tls-auth-clients", "no", "--requirepass", PASSWORD]].concat();
    let redis = Redis::start(directory.path(), "secret", &args);
    let [right, wrong] = ["right", "wrong"].map(|name| directory.path().join(name).to_str().unwrap().to_owned());
    fs::write(&right, format!("{PASSWORD}\n")).unwrap();
    fs::write(&wrong, "zürich\n").unwrap();
    let tls_address = format!("127.0.0.1:{tls_port}");
    let mut grants = tcp(&[&redis.address, &tls_address]);
    grants.files = vec![right.parse().unwrap(), wrong.parse().unwrap()];
    let plain = ("address", redis.address.as_str());
    let tls = [("address", tls_address.as_str()), ("tls", "true"), ("password_file", &right)];

    let outcome = checked(&host, &plugin, &[plain, ("password_file", &right)], &grants).await;
    assert_report(&outcome, Verdict::Pass, "master with 0 replicas");
    let outcome = checked(&host, &plugin, &[plain, ("user", "default"), ("password_file", &right)], &grants).await;
    assert_report(&outcome, Verdict::Pass, "master with 0 replicas");
    let secret = format!(">{PASSWORD}");
    let admin = ["-a", PASSWORD, "--no-auth-warning", "acl", "setuser", "vouchd", "on", &secret];
    redis.client(&[&admin[..], &["+ping"]].concat());
    let few = [plain, ("user", "vouchd"), ("password_file", &right)];
    let outcome = checked(&host, &plugin, &few, &grants).await;
    assert!(reason(&outcome).contains("does not report its replication: NOPERM"), "{}", reason(&outcome));
    redis.client(&[&admin[..], &["+info"]].concat());
    assert_report(&checked(&host, &plugin, &few, &grants).await, Verdict::Pass, "master with 0 replicas");
    let outcome = checked(&host, &plugin, &[plain], &grants).await;
    assert!(reason(&outcome).contains("asks for a login: expected `password_file`"), "{}", reason(&outcome));
    let outcome = checked(&host, &plugin, &[plain, ("password_file", &wrong)], &grants).await;
    assert!(reason(&outcome).contains("rejects the login: WRONGPASS"), "{}", reason(&outcome));

    assert_report(&checked(&host, &plugin, &tls, &grants).await, Verdict::Fail, "TLS: ");
    let foreign = [&tls[..], &[("tls_verify", "false")]].concat();
    assert_report(&checked(&host, &plugin, &foreign, &grants).await, Verdict::Pass, "master with 0 replicas");
}
