//! `docs/replacing-scripts.md`: its table counts correctly, and its configurations work: each check fails without its service
//! and passes with it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{builtin, host, run};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use vouchd_config::Config;
use vouchd_health::{RunResult, Verdict};
use vouchd_plugin::{Host, Plugin};

const PAGE: &str = include_str!("../../../../docs/replacing-scripts.md");

/// Checks of other machines: without a network there is no verdict on them.
const FAR: [&str; 3] = ["gateway", "metadata", "way-out"];
/// Checks whose service this test does not start. Other tests try the databases with real servers, and a login by the
/// operating system's user.
const NOT_SERVED: [&str; 3] = ["mysql", "mysql-writable", "postgresql"];
/// There is no systemd here; another test tries its plugin with a bus of its own.
const NO_SYSTEMD: &str = "systemd";
/// Checks that pass although nothing runs: of a file that must be absent, of an address that is elsewhere.
const PASS_ALONE: [&str; 2] = ["maintenance", "apiserver-at-the-address"];

/// The rows of the table: the number of scripts, their replacement, and the anchor of its section.
fn rows() -> Vec<(u32, String, String)> {
    let mut rows = Vec::new();
    for line in PAGE.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| | ")) {
        let cells: Vec<_> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [_, _, scripts, place] = cells[..] else { panic!("four cells: {line}") };
        let (text, anchor) = place.trim_matches(['[', ')', ' ']).split_once("](#").expect("a link to a section");
        rows.push((scripts.parse().unwrap(), text.to_owned(), anchor.to_owned()));
    }
    rows
}

/// The page's sections by anchor, with the checks of their blocks.
fn sections() -> BTreeMap<String, Config> {
    let mut sections = BTreeMap::new();
    for section in PAGE.split("\n## ").skip(1) {
        let heading = section.lines().next().unwrap_or_default().to_lowercase();
        let anchor: String = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-')).collect();
        let blocks: Vec<_> = section.split("\n```toml\n").skip(1).map(|b| b.split("\n```").next().unwrap()).collect();
        let config = vouchd_config::resolve(vec![(anchor.clone().into(), blocks.join("\n"))]);
        sections.insert(anchor.replace(' ', "-"), config.unwrap_or_else(|errors| panic!("{errors}")));
    }
    sections
}

#[test]
fn table_counts_37_scripts_and_replaces_at_least_30() {
    let (rows, sections) = (rows(), sections());
    assert_eq!(rows.iter().map(|(scripts, ..)| scripts).sum::<u32>(), 37);
    let mut replaced = 0;
    for (scripts, text, anchor) in &rows {
        let section = sections.get(anchor).unwrap_or_else(|| panic!("no section #{anchor}"));
        match text.as_str() {
            "nothing" | "your own plugin" => assert!(section.checks.is_empty(), "{anchor}"),
            "in part" => assert!(!section.checks.is_empty(), "{anchor}"),
            plugins => {
                let used: BTreeSet<_> = section.checks.iter().map(|check| check.plugin.as_str()).collect();
                let named = plugins.split(|c: char| !c.is_alphanumeric()).find(|word| used.contains(word));
                assert!(named.is_some(), "{anchor}: {plugins:?} are none of {used:?}");
                replaced += scripts;
            }
        }
    }
    assert!(replaced >= 30, "{replaced}");
    assert!(PAGE.contains(&format!("{replaced} need a plugin that ships")), "{replaced}");
}

/// Moves this thread to a machine of its own: another network, another `/run`, other users and hosts.
fn enter_own_machine() {
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).unwrap();
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
    mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), Some("size=8m,mode=755")).unwrap();
    ip(&["link", "set", "lo", "up"]);
    let passwd = fs::read_to_string("/etc/passwd").unwrap() + "oracle:x:1521:1521::/:/bin/false\n";
    replace("/etc/passwd", &passwd);
}

fn ip(args: &[&str]) {
    assert!(Command::new("ip").args(args).status().unwrap().success(), "ip {args:?}");
}

/// Replaces a file, for this machine only.
fn replace(path: &str, contents: &str) {
    let copy = Path::new("/run").join(path.replace('/', "-"));
    fs::write(&copy, contents).unwrap();
    mount(Some(&copy), path, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
}

/// Ends with the test.
struct Service(Child);

impl Service {
    fn start(command: &mut Command) -> Self {
        Service(command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap())
    }

    /// A process with this name, which waits.
    fn named(name: &str) -> Self {
        let path = Path::new("/run/programs").join(name);
        fs::create_dir_all("/run/programs").unwrap();
        fs::copy("/bin/cat", &path).unwrap();
        Service::start(&mut Command::new(path))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Greets each client, and answers its first request.
fn listen(address: &str, greeting: &'static str, answer: &'static str) {
    let listener = TcpListener::bind(address).unwrap();
    thread::spawn(move || {
        let talk = |mut stream: TcpStream| {
            stream.write_all(greeting.as_bytes())?;
            if !answer.is_empty() && stream.read(&mut [0; 4096])? > 0 {
                stream.write_all(answer.as_bytes())?;
            }
            std::io::Result::Ok(())
        };
        listener.incoming().flatten().for_each(|stream| drop(talk(stream)));
    });
}

/// Serves the pages that the checks fetch.
const NGINX: &str = "daemon off; master_process off; pid /run/nginx.pid; error_log stderr;
events { worker_connections 64; }
http {
    access_log off;
    ssl_certificate /run/cert.pem;
    ssl_certificate_key /run/key.pem;
    server { listen 127.0.0.1:80; location = /nginx_status { stub_status; } }
    server { listen 127.0.0.1:443 ssl; server_name www.example.com; location = /health { return 200 ok; } }
    server { listen 127.0.0.1:6443 ssl; listen 192.0.2.1:6443 ssl; location = /healthz { return 200 ok; } }
    server { listen 100.100.100.200:80; location = /latest/meta-data/instance-id { return 200 i-0123; } }
}
";

const HAPROXY: &str = "global
    stats socket /run/haproxy/admin.sock mode 666 level user
defaults
    mode http
    timeout connect 1s
    timeout client 1s
    timeout server 1s
frontend statistics
    bind 127.0.0.1:8404
    stats enable
    stats uri /stats
frontend www
    bind 127.0.0.1:8080
    default_backend web
backend web
    server a 127.0.0.1:80 check inter 100ms
";

/// Starts everything that the checks look for.
fn start_services() -> Vec<Service> {
    for address in ["192.0.2.1/32", "192.0.2.254/32", "198.51.100.7/32", "100.100.100.200/32"] {
        ip(&["address", "add", address, "dev", "lo"]);
    }
    replace("/etc/hosts", "127.0.0.1 localhost www.example.com\n");
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]);
    openssl.args(["-subj", "/CN=www.example.com", "-keyout", "/run/key.pem", "-out", "/run/cert.pem"]);
    assert!(openssl.stderr(Stdio::null()).status().unwrap().success());
    for directory in ["app", "asterisk", "firewall", "haproxy", "oracle"] {
        fs::create_dir(Path::new("/run").join(directory)).unwrap();
    }
    for (file, contents) in [("app/state", "active\n"), ("oracle/answered", ""), ("firewall/rules", "ok\n")] {
        fs::write(Path::new("/run").join(file), contents).unwrap();
    }
    fs::write("/run/nginx.conf", NGINX).unwrap();
    fs::write("/run/haproxy.cfg", HAPROXY).unwrap();
    listen("127.0.0.1:25", "220 mail.example.com ESMTP\r\n", "");
    listen("127.0.0.1:1521", "", "");
    listen("127.0.0.1:2049", "", "");
    listen("127.0.0.1:5000", "", "");
    listen("127.0.0.1:5060", "", "SIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n");
    let asterisk = Service::named("asterisk");
    fs::write("/run/asterisk/asterisk.pid", format!("{}\n", asterisk.0.id())).unwrap();
    let mut services = vec![
        asterisk,
        Service::start(Command::new("/usr/sbin/nginx").args(["-c", "/run/nginx.conf"])),
        Service::start(Command::new("/usr/sbin/haproxy").args(["-q", "-db", "-f", "/run/haproxy.cfg"])),
        Service::start(Command::new("/bin/cat").arg0("ora_pmon_ORCL").uid(1521)),
    ];
    services.extend(["traefik", "dockerd", "freeradius"].map(Service::named));
    services
}

/// The plugins that the page uses; `None`, with the test noted as skipped, if one was not built.
fn plugins(host: &Host, config: &Config) -> Option<BTreeMap<String, Plugin>> {
    let names: BTreeSet<_> = config.checks.iter().map(|check| check.plugin.clone()).collect();
    names.into_iter().map(|name| builtin(host, name.as_str()).map(|plugin| (name.to_string(), plugin))).collect()
}

/// Each check's verdict and message by name; no verdict if the check could not be carried out.
async fn verdicts(
    host: &Host,
    plugins: &BTreeMap<String, Plugin>,
    config: &Config,
) -> BTreeMap<String, (Option<Verdict>, String)> {
    let mut verdicts = BTreeMap::new();
    for check in config.checks.iter().filter(|check| check.plugin != NO_SYSTEMD) {
        let params: Vec<_> = check.params.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let outcome = run(host, &plugins[check.plugin.as_str()], &params, &check.grants).await;
        let said = match outcome.result {
            RunResult::Report(report) => (Some(report.verdict), report.message),
            RunResult::TimedOut { .. } => (Some(Verdict::Fail), "timed out".to_owned()),
            RunResult::Error { reason } => (None, reason),
        };
        verdicts.insert(check.name.to_string(), said);
    }
    verdicts
}

#[test]
fn replacement_of_a_script_fails_without_its_service_and_passes_with_it() {
    if !nix::unistd::geteuid().is_root() {
        return vouchd_skip::skip("no root, to have a machine of its own", "run the tests as root");
    }
    for (program, package) in
        [("/usr/sbin/nginx", "nginx-light"), ("/usr/sbin/haproxy", "haproxy"), ("/usr/bin/openssl", "openssl")]
    {
        if !Path::new(program).exists() {
            return vouchd_skip::skip(&format!("no {program}"), &format!("install the package {package}"));
        }
    }
    // Threads that start from now on are on that machine, too.
    enter_own_machine();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let blocks: Vec<_> = PAGE.split("\n```toml\n").skip(1).map(|b| b.split("\n```").next().unwrap()).collect();
        let config = vouchd_config::resolve(vec![("page".into(), blocks.join("\n"))]).unwrap();
        let host = host();
        let Some(plugins) = plugins(&host, &config) else { return };
        let is_process = |name: &str| {
            config.checks.iter().any(|check| check.name.as_str() == name && check.plugin.as_str() == "process")
        };
        // Processes are not separated: another test may run an nginx.
        for (name, (verdict, message)) in verdicts(&host, &plugins, &config).await {
            let expected = match name.as_str() {
                alone if PASS_ALONE.contains(&alone) => Some(Verdict::Pass),
                far if FAR.contains(&far) => None,
                _ => Some(Verdict::Fail),
            };
            assert!(verdict.is_some() || message.contains("this host"), "{name}: {message}");
            assert!(verdict == expected || is_process(&name), "{name} without its service: {verdict:?}: {message}");
        }
        let services = start_services();
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let mut wrong = verdicts(&host, &plugins, &config).await;
            wrong.retain(|name, (verdict, _)| {
                let expected = if NOT_SERVED.contains(&name.as_str()) { Verdict::Fail } else { Verdict::Pass };
                *verdict != Some(expected)
            });
            if wrong.is_empty() {
                break;
            }
            assert!(Instant::now() < deadline, "with all services: {wrong:#?}");
            thread::sleep(Duration::from_millis(200));
        }
        drop(services);
    });
}
