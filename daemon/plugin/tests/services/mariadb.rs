//! `mysql` against Debian's MariaDB.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use vouchd_config::Grants;
use vouchd_health::Verdict;
use vouchd_plugin::{Host, Outcome, Plugin};

use crate::common::{Params, assert_report, builtin, host, reason, report};
use crate::server::{Server, can_run, certificate, command, directory, done, free_port};
use crate::{PASSWORD, checked};

const USER: &str = "mysql";
const DAEMON: &str = "/usr/sbin/mariadbd";
const GALERA: &str = "/usr/lib/galera/libgalera_smm.so";

/// The smallest files that it runs with.
const SMALL: [&str; 6] = [
    "--innodb-log-file-size=4M",
    "--innodb-data-file-path=ibdata1:12M:autoextend",
    "--innodb-buffer-pool-size=8M",
    "--innodb-flush-log-at-trx-commit=0",
    "--performance-schema=OFF",
    "--aria-log-file-size=8M",
];

struct MariaDb {
    server: Server,
    data: PathBuf,
    port: u16,
    _directory: tempfile::TempDir,
}

/// The files of a server that was never started.
fn install() -> tempfile::TempDir {
    let directory = directory(USER);
    let data = format!("--datadir={}", directory.path().join("data").display());
    let mut install = command(USER, Path::new("/usr/bin/mariadb-install-db"));
    done(install.args(["--no-defaults", "--skip-test-db", "--skip-name-resolve", &data]).args(SMALL));
    directory
}

impl MariaDb {
    fn start(installed: &Path, args: &[&str]) -> Self {
        let directory = directory(USER);
        let data = directory.path().join("data");
        let copied = Command::new("cp").arg("-a").arg(installed.join("data")).arg(&data).status().unwrap();
        assert!(copied.success());
        let port = free_port();
        let mut daemon = command(USER, Path::new(DAEMON));
        daemon.args([
            "--no-defaults",
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
            "--thread-handling=one-thread-per-connection",
        ]);
        daemon.arg(format!("--port={port}")).arg(format!("--datadir={}", data.display()));
        daemon.arg(format!("--socket={}", data.join("s").display()));
        daemon.arg(format!("--pid-file={}", data.join("pid").display())).args(SMALL).args(args);
        let server = Server::start(&mut daemon, directory.path().join("log"));
        let mut database = MariaDb { server, data, port, _directory: directory };
        let mut client = database.client("SELECT 1");
        database.server.wait_until("queries are answered", || client.output().unwrap().status.success());
        database
    }

    fn client(&self, sql: &str) -> Command {
        let mut client = Command::new("mariadb");
        client.args([
            "--no-defaults",
            "--user=root",
            "--batch",
            "--skip-column-names",
            "--connect-timeout=2",
            "--default-character-set=utf8mb4",
        ]);
        client.arg(format!("--socket={}", self.data.join("s").display())).arg(format!("--execute={sql}"));
        client.stderr(Stdio::piped());
        client
    }

    fn sql(&self, sql: &str) -> String {
        done(&mut self.client(sql))
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn socket(&self) -> String {
        self.data.join("s").to_str().unwrap().to_owned()
    }
}

/// The plugin, and a file with the password.
struct Checks {
    host: Host,
    plugin: Plugin,
    secret: tempfile::NamedTempFile,
}

impl Checks {
    fn new() -> Option<Self> {
        let host = host();
        let plugin = builtin(&host, "mysql")?;
        let secret = tempfile::NamedTempFile::new().unwrap();
        fs::write(secret.path(), format!("{PASSWORD}\n")).unwrap();
        Some(Checks { host, plugin, secret })
    }

    fn grants(&self, database: &MariaDb) -> Grants {
        Grants {
            tcp: vec![database.address().parse().unwrap()],
            unix: vec![database.socket().parse().unwrap()],
            files: vec![self.secret.path().to_str().unwrap().parse().unwrap()],
            ..Grants::default()
        }
    }

    /// Checks by the server's greeting.
    async fn greeted(&self, database: &MariaDb) -> Outcome {
        checked(&self.host, &self.plugin, &[("address", &database.address())], &self.grants(database)).await
    }

    /// Checks over TCP with the password.
    async fn logged_in(&self, database: &MariaDb, params: Params<'_>) -> Outcome {
        let (address, secret) = (database.address(), self.secret.path().to_str().unwrap());
        let all = [&[("address", address.as_str()), ("user", "vouchd"), ("password_file", secret)], params].concat();
        checked(&self.host, &self.plugin, &all, &self.grants(database)).await
    }
}

/// A user with the privileges that the check needs.
const ACCOUNTS: &str = "SET sql_log_bin = 0;
     CREATE USER vouchd@'127.0.0.1' IDENTIFIED BY 'zürich''9\\\\x';
     GRANT REPLICA MONITOR, BINLOG MONITOR ON *.* TO vouchd@'127.0.0.1';";

fn ready() -> Option<(Checks, tempfile::TempDir)> {
    if !can_run(Path::new(DAEMON), "mariadb-server", USER) {
        return None;
    }
    Some((Checks::new()?, install()))
}

#[tokio::test]
async fn mariadb_server_is_judged_by_its_service_and_role() {
    let Some((checks, installed)) = ready() else { return };
    let [certificate, key] = certificate(installed.path(), USER);
    let tls = [format!("--ssl-cert={}", certificate.display()), format!("--ssl-key={}", key.display())];
    let database = MariaDb::start(installed.path(), &[&tls[0], &tls[1]]);
    database.sql(ACCOUNTS);

    let at = database.address();
    assert_report(&checks.greeted(&database).await, Verdict::Pass, "MariaDB 1");
    assert_report(&checks.greeted(&database).await, Verdict::Pass, &format!("at {at} greets"));
    assert_report(&checks.logged_in(&database, &[]).await, Verdict::Pass, "writable");
    let role = checks.logged_in(&database, &[("role", "read-only")]).await;
    assert_report(&role, Verdict::Fail, "writable, expected read-only");
    database.sql("SET GLOBAL read_only = 1");
    let role = checks.logged_in(&database, &[("role", "writable")]).await;
    assert_report(&role, Verdict::Fail, "read-only, expected writable");
    let role = checks.logged_in(&database, &[("role", "read-only")]).await;
    assert_report(&role, Verdict::Pass, "read-only");
    let galera = checks.logged_in(&database, &[("galera", "true")]).await;
    assert_report(&galera, Verdict::Fail, "not a node of a Galera cluster");
    let lag = checks.logged_in(&database, &[("lag.fail", "5s")]).await;
    assert_report(&lag, Verdict::Fail, "has no replication source");
    database.sql("SET GLOBAL read_only = 0");

    // TLS with a self-signed certificate.
    let encrypted = checks.logged_in(&database, &[("tls", "true"), ("tls_verify", "false")]).await;
    assert_report(&encrypted, Verdict::Pass, "writable");
    assert_report(&checks.logged_in(&database, &[("tls", "true")]).await, Verdict::Fail, "TLS: ");

    // Over the unix socket: as the user of the process, without a password.
    let (grants, socket) = (checks.grants(&database), database.socket());
    let as_root = [("socket", socket.as_str()), ("user", "root")];
    assert_report(&checked(&checks.host, &checks.plugin, &as_root, &grants).await, Verdict::Pass, "writable");

    // Problems of the check.
    let wrong = [("address", at.as_str()), ("user", "vouchd")];
    let outcome = checked(&checks.host, &checks.plugin, &wrong, &grants).await;
    assert!(reason(&outcome).contains("Access denied for user 'vouchd'"), "{}", reason(&outcome));
    let outcome = checked(&checks.host, &checks.plugin, &wrong, &Grants::default()).await;
    assert!(reason(&outcome).contains(&format!("allow = {{ tcp = [\"{at}\"] }}")), "{}", reason(&outcome));

    // Problems of the server.
    database.sql("SET GLOBAL max_connections = 10");
    let crowd: Vec<_> = (0..12).map(|_| TcpStream::connect(&at).unwrap()).collect();
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut outcome = checks.greeted(&database).await;
    while report(&outcome).verdict == Verdict::Pass && Instant::now() < deadline {
        outcome = checks.greeted(&database).await;
    }
    assert_report(&outcome, Verdict::Fail, "Too many connections (1040)");
    drop(crowd);

    database.server.freeze();
    let outcome = checks.greeted(&database).await;
    assert_report(&outcome, Verdict::Fail, "waiting for its greeting: no answer in time");
    let outcome = checks.logged_in(&database, &[]).await;
    assert_report(&outcome, Verdict::Fail, "waiting for its greeting: no answer in time");
    database.server.thaw();
    let MariaDb { server, .. } = database;
    drop(server);
    let outcome = checked(&checks.host, &checks.plugin, &[("address", &at)], &grants).await;
    assert_report(&outcome, Verdict::Fail, "connection refused");
}

#[tokio::test]
async fn mariadb_replica_is_judged_by_its_lag() {
    let Some((checks, installed)) = ready() else { return };
    let source = MariaDb::start(installed.path(), &["--server-id=1", "--log-bin=bin"]);
    let replica = MariaDb::start(installed.path(), &["--server-id=2", "--read-only=1"]);
    source.sql(ACCOUNTS);
    replica.sql(ACCOUNTS);
    source.sql("CREATE DATABASE shop; GRANT REPLICATION SLAVE ON *.* TO copy@'127.0.0.1' IDENTIFIED BY 'copy'");
    replica.sql(&format!(
        "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {}, MASTER_USER = 'copy', MASTER_PASSWORD = 'copy', \
         MASTER_LOG_FILE = 'bin.000001', MASTER_LOG_POS = 4, MASTER_CONNECT_RETRY = 1; START SLAVE",
        source.port
    ));
    let bounds: Params<'_> = &[("role", "read-only"), ("lag.warn", "1s"), ("lag.fail", "1h")];
    let caught_up = wait_for(&checks, &replica, bounds, Verdict::Pass).await;
    assert_report(&caught_up, Verdict::Pass, " s behind");
    assert_eq!(report(&caught_up).metrics[0].name, "lag");
    assert_report(&checks.logged_in(&source, &[("lag.fail", "1s")]).await, Verdict::Pass, "writable, not a replica");

    replica.sql("STOP SLAVE SQL_THREAD");
    let stopped = checks.logged_in(&replica, bounds).await;
    assert_report(&stopped, Verdict::Fail, "replication has stopped, applier: No");
    source.sql("CREATE TABLE shop.t (a INT)");
    replica.sql("START SLAVE SQL_THREAD");
    wait_for(&checks, &replica, bounds, Verdict::Pass).await;

    // The applier waits for a lock and falls behind.
    let mut lock = replica.client("LOCK TABLES shop.t READ; SELECT SLEEP(60)").spawn().unwrap();
    thread::sleep(Duration::from_millis(300));
    source.sql("INSERT INTO shop.t VALUES (1)");
    let behind = wait_for(&checks, &replica, bounds, Verdict::Warn).await;
    assert_report(&behind, Verdict::Warn, " s behind, expected at most 1s");
    assert!(report(&behind).metrics[0].value >= 2.0, "{behind:?}");
    let behind = checks.logged_in(&replica, &[("lag.warn", "0s"), ("lag.fail", "1s")]).await;
    assert_report(&behind, Verdict::Fail, " s behind, expected at most 1s");
    lock.kill().unwrap();
    lock.wait().unwrap();

    drop(source);
    let lost = wait_for(&checks, &replica, bounds, Verdict::Fail).await;
    assert_report(&lost, Verdict::Fail, "replication has stopped, receiver: ");
}

/// Runs until the verdict is this one.
async fn wait_for(checks: &Checks, database: &MariaDb, params: Params<'_>, verdict: Verdict) -> Outcome {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let outcome = checks.logged_in(database, params).await;
        if report(&outcome).verdict == verdict || Instant::now() > deadline {
            return outcome;
        }
        thread::sleep(Duration::from_millis(100));
    }
}

#[tokio::test]
async fn galera_node_passes_when_it_is_synced_with_the_majority() {
    let Some((checks, installed)) = ready() else { return };
    if !can_run(Path::new(GALERA), "galera-4", USER) {
        return;
    }
    let (first, second) = (free_port(), free_port());
    let node = start_node(installed.path(), first, "gcomm://");
    node.sql(ACCOUNTS);
    let galera: Params<'_> = &[("galera", "true")];
    assert_report(&checks.logged_in(&node, galera).await, Verdict::Pass, "writable, Synced in a cluster of 1");
    node.sql("SET GLOBAL wsrep_desync = ON");
    assert_report(&checks.logged_in(&node, galera).await, Verdict::Warn, "Donor/Desynced in a cluster of 1");
    node.sql("SET GLOBAL wsrep_desync = OFF");
    let other = start_node(installed.path(), second, &format!("gcomm://127.0.0.1:{first}"));
    assert_report(&wait_for(&checks, &node, galera, Verdict::Pass).await, Verdict::Pass, "Synced in a cluster of 2");
    // One of two is no majority; a node that leaves in good order is not counted.
    other.server.signal(Signal::SIGKILL);
    let alone = wait_for(&checks, &node, galera, Verdict::Fail).await;
    assert_report(&alone, Verdict::Fail, "which is non-Primary, expected Primary");
}

/// A node whose files belong to the cluster.
fn start_node(installed: &Path, port: u16, cluster: &str) -> MariaDb {
    let settings = format!(
        "--wsrep-provider-options=gmcast.listen_addr=tcp://127.0.0.1:{port};ist.recv_addr=127.0.0.1:{};gcache.size=1M;\
         evs.keepalive_period=PT0.3S;evs.suspect_timeout=PT1S;evs.inactive_timeout=PT2S",
        free_port()
    );
    let (provider, cluster) = (format!("--wsrep-provider={GALERA}"), format!("--wsrep-cluster-address={cluster}"));
    let fixed = ["--wsrep-on=ON", "--wsrep-node-address=127.0.0.1", "--binlog-format=ROW", "--wsrep-sst-method=skip"];
    MariaDb::start(installed, &[fixed.as_slice(), &[&provider, &cluster, &settings]].concat())
}
