//! `postgresql` against Debian's PostgreSQL.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use vouchd_config::{ExitCodes, Grants, Limits};
use vouchd_health::Verdict;
use vouchd_plugin::{Host, Outcome, Plugin, Run};

use crate::common::{Params, assert_report, builtin, host, reason, report};
use crate::server::{Server, can_run, certificate, command, directory, done, free_port};
use crate::{PASSWORD, checked};

const USER: &str = "postgres";

/// The users' methods of login.
const ACCESS: &str = "local all all peer
host replication copy 127.0.0.1/32 trust
host all trusted 127.0.0.1/32 trust
host all clear 127.0.0.1/32 password
host all hashed 127.0.0.1/32 md5
host all vouchd 127.0.0.1/32 scram-sha-256
";

const ACCOUNTS: &str = "CREATE ROLE copy LOGIN REPLICATION;
    CREATE ROLE trusted LOGIN;
    CREATE ROLE root LOGIN;
    CREATE ROLE clear LOGIN PASSWORD 'zürich''9\\x';
    CREATE ROLE vouchd LOGIN PASSWORD 'zürich''9\\x';
    SET password_encryption = 'md5';
    CREATE ROLE hashed LOGIN PASSWORD 'zürich''9\\x';";

/// The smallest settings that it runs with.
const SMALL: &str = "listen_addresses = '127.0.0.1'
fsync = off
shared_buffers = 1MB
max_connections = 8
max_wal_size = 8MB
min_wal_size = 2MB
wal_level = replica
wal_retrieve_retry_interval = 500ms
";

/// Debian's directory of the newest server.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions.max_by_key(|entry| entry.file_name().to_string_lossy().parse().unwrap_or(0));
    newest.map(|entry| entry.path().join("bin")).unwrap_or_default()
}

struct Postgres {
    server: Server,
    port: u16,
    /// With the data, the socket and the log.
    directory: tempfile::TempDir,
}

impl Postgres {
    /// Starts a server on files that `make` puts into a directory, and waits until it accepts connections.
    fn start(settings: &str, make: impl FnOnce(&Path)) -> Self {
        let directory = directory(USER);
        let data = directory.path().join("data");
        make(&data);
        let port = free_port();
        let place = directory.path().display();
        let all = format!("{SMALL}port = {port}\nunix_socket_directories = '{place}'\n{settings}");
        fs::write(data.join("postgresql.conf"), all).unwrap();
        fs::write(data.join("pg_hba.conf"), ACCESS).unwrap();
        let mut daemon = command(USER, &programs().join("postgres"));
        let server = Server::start(daemon.arg("-D").arg(&data), directory.path().join("log"));
        let mut postgres = Postgres { server, port, directory };
        postgres.server.wait_until("it listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        postgres
    }

    fn serve(settings: &str, make: impl FnOnce(&Path)) -> Self {
        let mut postgres = Self::start(settings, make);
        let mut client = postgres.client("SELECT 1");
        postgres.server.wait_until("queries are answered", || client.output().unwrap().status.success());
        postgres
    }

    fn client(&self, sql: &str) -> Command {
        let mut client = command(USER, &programs().join("psql"));
        client.args(["--no-psqlrc", "--tuples-only", "--no-align", "--quiet", "--dbname=postgres"]);
        client.arg(format!("--host={}", self.directory.path().display())).arg(format!("--port={}", self.port));
        client.arg(format!("--command={sql}"));
        client
    }

    fn sql(&self, sql: &str) -> String {
        done(&mut self.client(sql))
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn socket(&self) -> String {
        format!("{}/.s.PGSQL.{}", self.directory.path().display(), self.port)
    }
}

/// The files of a new server.
fn initdb(data: &Path) {
    let mut initdb = command(USER, &programs().join("initdb"));
    initdb.args(["--no-sync", "--encoding=UTF8", "--locale=C", "--wal-segsize=1", "--auth=peer", "-D"]);
    done(initdb.arg(data));
}

/// The plugin, and a file with the password.
struct Checks {
    host: Host,
    plugin: Plugin,
    secret: tempfile::NamedTempFile,
}

impl Checks {
    /// `None`, with the test noted as skipped, if it can't run.
    fn new() -> Option<Self> {
        if !can_run(&programs().join("postgres"), "postgresql", USER) {
            return None;
        }
        let host = host();
        let plugin = builtin(&host, "postgresql")?;
        let secret = tempfile::NamedTempFile::new().unwrap();
        fs::write(secret.path(), format!("{PASSWORD}\n")).unwrap();
        Some(Checks { host, plugin, secret })
    }

    fn grants(&self, postgres: &Postgres) -> Grants {
        Grants {
            tcp: vec![postgres.address().parse().unwrap()],
            unix: vec![postgres.socket().parse().unwrap()],
            files: vec![self.secret.path().to_str().unwrap().parse().unwrap()],
            ..Grants::default()
        }
    }

    /// Checks without a login.
    async fn knocked(&self, postgres: &Postgres) -> Outcome {
        checked(&self.host, &self.plugin, &[("address", &postgres.address())], &self.grants(postgres)).await
    }

    /// Checks over TCP with the password.
    async fn logged_in(&self, postgres: &Postgres, user: &str, params: Params<'_>) -> Outcome {
        let (address, secret) = (postgres.address(), self.secret.path().to_str().unwrap());
        let all = [&[("address", address.as_str()), ("user", user), ("password_file", secret)], params].concat();
        checked(&self.host, &self.plugin, &all, &self.grants(postgres)).await
    }

    /// Runs until the verdict is this one.
    async fn wait_for(&self, postgres: &Postgres, params: Params<'_>, verdict: Verdict) -> Outcome {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let outcome = self.logged_in(postgres, "vouchd", params).await;
            if report(&outcome).verdict == verdict || Instant::now() > deadline {
                return outcome;
            }
            thread::sleep(Duration::from_millis(100));
        }
    }
}

#[tokio::test]
async fn postgresql_server_is_judged_by_its_service_and_role() {
    let Some(checks) = Checks::new() else {
        return;
    };
    let files = directory(USER);
    let [certificate, key] = certificate(files.path(), USER);
    let tls = format!("ssl = on\nssl_cert_file = '{}'\nssl_key_file = '{}'\n", certificate.display(), key.display());
    let postgres = Postgres::serve(&tls, initdb);
    postgres.sql(ACCOUNTS);

    let (at, grants) = (postgres.address(), checks.grants(&postgres));
    assert_report(&checks.knocked(&postgres).await, Verdict::Pass, "accepts connections, and asks for a login");
    for user in ["vouchd", "hashed", "trusted"] {
        let outcome = checks.logged_in(&postgres, user, &[("role", "primary")]).await;
        assert_report(&outcome, Verdict::Pass, &format!("at {at}: primary"));
    }
    let outcome = checks.logged_in(&postgres, "vouchd", &[("role", "standby")]).await;
    assert_report(&outcome, Verdict::Fail, "primary, expected standby");
    let outcome = checks.logged_in(&postgres, "vouchd", &[("lag.fail", "1s")]).await;
    assert_report(&outcome, Verdict::Pass, ": primary");

    // TLS with a self-signed certificate.
    let encrypted = checks.logged_in(&postgres, "vouchd", &[("tls", "true"), ("tls_verify", "false")]).await;
    assert_report(&encrypted, Verdict::Pass, "primary");
    assert_report(&checks.logged_in(&postgres, "vouchd", &[("tls", "true")]).await, Verdict::Fail, "TLS: ");

    // Over the unix socket: as the user of the process, without a password.
    let socket = postgres.socket();
    let as_root = [("socket", socket.as_str()), ("user", "root")];
    assert_report(&checked(&checks.host, &checks.plugin, &as_root, &grants).await, Verdict::Pass, "primary");
    let stranger = [("socket", socket.as_str())];
    let outcome = checked(&checks.host, &checks.plugin, &stranger, &grants).await;
    assert_report(&outcome, Verdict::Pass, "answers, and rejects an unknown user");

    // Problems of the check.
    let outcome = checks.logged_in(&postgres, "clear", &[]).await;
    assert!(reason(&outcome).contains("asks for the password in clear text"), "{}", reason(&outcome));
    let outcome = checks.logged_in(&postgres, "nobody", &[]).await;
    assert!(reason(&outcome).contains("no pg_hba.conf entry"), "{}", reason(&outcome));
    let outcome = checked(&checks.host, &checks.plugin, &[("address", &at), ("user", "vouchd")], &grants).await;
    assert!(reason(&outcome).contains("expected the parameter `password_file`"), "{}", reason(&outcome));
    fs::write(checks.secret.path(), "wrong").unwrap();
    let outcome = checks.logged_in(&postgres, "vouchd", &[]).await;
    assert!(reason(&outcome).contains("password authentication failed"), "{}", reason(&outcome));
    let outcome = checked(&checks.host, &checks.plugin, &[("address", &at)], &Grants::default()).await;
    assert!(reason(&outcome).contains(&format!("allow = {{ tcp = [\"{at}\"] }}")), "{}", reason(&outcome));

    // Problems of the server.
    let crowd: Vec<_> = (0..10).map(|_| begin(&at)).collect();
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut outcome = checks.knocked(&postgres).await;
    while report(&outcome).verdict == Verdict::Pass && Instant::now() < deadline {
        outcome = checks.knocked(&postgres).await;
    }
    assert_report(&outcome, Verdict::Fail, "too many clients already (53300)");
    drop(crowd);

    postgres.server.freeze();
    let outcome = checks.knocked(&postgres).await;
    assert_report(&outcome, Verdict::Fail, "waiting for an answer to a connection: no answer in time");
    postgres.server.thaw();
    drop(postgres);
    let outcome = checked(&checks.host, &checks.plugin, &[("address", &at)], &grants).await;
    assert_report(&outcome, Verdict::Fail, "connection refused");
    let outcome = checked(&checks.host, &checks.plugin, &stranger, &grants).await;
    assert_report(&outcome, Verdict::Fail, "there is no socket");
}

/// A connection on which the server waits for a password.
fn begin(address: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    let body = b"\0\x03\0\0user\0vouchd\0database\0postgres\0\0";
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    stream.write_all(&[&length, body.as_slice()].concat()).unwrap();
    stream
}

#[tokio::test]
async fn starting_postgresql_server_fails() {
    let Some(checks) = Checks::new() else { return };
    // It waits for its archive, which takes a minute.
    let starting = Postgres::start("restore_command = 'sleep 60'\n", |data| {
        initdb(data);
        fs::write(data.join("recovery.signal"), "").unwrap();
    });
    let outcome = checks.knocked(&starting).await;
    assert_report(&outcome, Verdict::Fail, "the database system is starting up (57P03)");
    let outcome = checks.logged_in(&starting, "vouchd", &[]).await;
    assert_report(&outcome, Verdict::Fail, "the database system is starting up (57P03)");
}

#[tokio::test]
async fn postgresql_standby_is_judged_by_its_lag() {
    let Some(checks) = Checks::new() else { return };
    let primary = Postgres::serve("", initdb);
    primary.sql(ACCOUNTS);
    let standby = Postgres::serve("", |data| {
        let mut copy = command(USER, &programs().join("pg_basebackup"));
        copy.args(["--host=127.0.0.1", "--username=copy", "--checkpoint=fast", "--no-sync", "--write-recovery-conf"]);
        done(copy.arg(format!("--port={}", primary.port)).arg("--pgdata").arg(data));
    });
    let bounds: Params<'_> = &[("role", "standby"), ("lag.warn", "1s"), ("lag.fail", "1h")];
    let caught_up = checks.wait_for(&standby, bounds, Verdict::Pass).await;
    assert_report(&caught_up, Verdict::Pass, "standby, 0.0 s behind");
    assert_eq!(report(&caught_up).metrics[0].name, "lag");

    // It receives, but does not replay.
    primary.sql("CREATE TABLE t (a INT)");
    standby.sql("SELECT pg_wal_replay_pause()");
    primary.sql("INSERT INTO t VALUES (1)");
    let behind = checks.wait_for(&standby, bounds, Verdict::Warn).await;
    assert_report(&behind, Verdict::Warn, " s behind, expected at most 1s");
    assert!(report(&behind).metrics[0].value > 1.0, "{behind:?}");
    standby.sql("SELECT pg_wal_replay_resume()");
    assert_report(&checks.wait_for(&standby, bounds, Verdict::Pass).await, Verdict::Pass, "standby, 0.0 s behind");

    drop(primary);
    let lost = checks.wait_for(&standby, &[("lag.fail", "1s")], Verdict::Fail).await;
    assert_report(&lost, Verdict::Fail, "not receiving from a primary");
    standby.sql("SELECT pg_promote()");
    let promoted = checks.wait_for(&standby, &[("role", "primary")], Verdict::Pass).await;
    assert_report(&promoted, Verdict::Pass, ": primary");
}

#[tokio::test]
async fn password_is_hashed_once_and_its_keys_are_remembered() {
    let Some(checks) = Checks::new() else { return };
    let postgres = Postgres::serve("", initdb);
    postgres.sql(ACCOUNTS);
    let (address, secret) = (postgres.address(), checks.secret.path().to_str().unwrap().to_owned());
    let params = [("address", address), ("user", "vouchd".to_owned()), ("password_file", secret)];
    let params = params.map(|(name, value)| (name.to_owned(), value));
    let (grants, limits) = (checks.grants(&postgres), Limits::default());
    let login = async |memo: Vec<u8>| {
        let run = Run {
            check: "test",
            params: &params,
            grants: &grants,
            limits: &limits,
            timeout: Duration::from_secs(3),
            memo,
            exit_codes: ExitCodes::default(),
        };
        let outcome = checks.host.run(&checks.plugin, run).await;
        assert_report(&outcome, Verdict::Pass, "primary");
        outcome
    };
    let first = login(Vec::new()).await;
    let memo = first.memo.clone().expect("the keys are kept");
    let second = login(memo.clone()).await;
    println!("CPU of a login with 4096 rounds: {:?}, with remembered keys: {:?}", first.cpu, second.cpu);
    assert!(second.cpu < first.cpu, "{:?} {:?}", first.cpu, second.cpu);
    // Far below what a run may take.
    assert!(first.cpu < limits.cpu / 2, "{:?}", first.cpu);
    // A new password has another salt: the keys are computed again.
    postgres.sql("ALTER ROLE vouchd PASSWORD 'other'");
    fs::write(checks.secret.path(), "other").unwrap();
    let third = login(memo.clone()).await;
    assert!(third.memo.is_some_and(|keys| keys != memo));
}
