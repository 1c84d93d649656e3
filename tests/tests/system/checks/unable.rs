//! Whatever a host cannot do or see is an error of the check, never a verdict about the service.

use std::fmt::Write as _;
use std::process::Command;
use std::time::Duration;

use anyhow::{bail, ensure};
use vouchd_tests::command::install_into;
use vouchd_tests::host::Host;
use vouchd_tests::pair::Plan;
use vouchd_tests::site::INTERFACE;
use vouchd_tests::vouchd::{Files, Vouchd, binary, builtin_plugins, config};
use vouchd_tests::wait::until;
use vouchd_tests::web::Web;
use vouchd_tests::{Need, Node, system_test};

const NEEDS: [Need; 1] = [Need::Vouchd];

/// Tests a built-in plugin on this host, and returns the output.
fn run(host: &Host, plugin: &str, allow: &str, options: &str) -> anyhow::Result<String> {
    let (vouchd, plugin) = (binary(), builtin_plugins().join(format!("{plugin}.wasm")));
    let (vouchd, plugin) = (vouchd.display(), plugin.display());
    host.sh(&format!("{vouchd} plugin test {plugin} --timeout 5s --allow '{{ {allow} }}' {options} 2>&1 || true"))
}

fn expect(said: &str, begins: &str, contains: &str) -> anyhow::Result<()> {
    ensure!(
        said.starts_with(begins) && said.contains(contains),
        "expected {begins:?} with {contains:?}, found: {said}"
    );
    Ok(())
}

#[test]
fn missing_route_is_an_error() {
    system_test("no route", &NEEDS, |site| {
        let host = site.host(Node::Nginx01);
        let tcp =
            |address: &str| run(host, "tcp", &format!(r#"tcp = ["{address}"]"#), &format!("-p address={address}"));
        // Nobody listens: a verdict about the service.
        expect(&tcp("127.0.0.1:9")?, "fail:", "connection refused")?;
        expect(&tcp("203.0.113.7:80")?, "error:", "no route for connecting to 203.0.113.7:80")?;
        let neighbour = format!("{}:80", Node::Nginx02.address());
        expect(&tcp(&neighbour)?, "fail:", "connection refused")?;
        host.sh(&format!("ip link set {INTERFACE} down"))?;
        expect(&tcp(&neighbour)?, "error:", "no route for connecting to")?;
        host.sh("ip route add prohibit 203.0.113.0/24 && ip route add unreachable 198.51.100.0/24")?;
        expect(&tcp("203.0.113.7:80")?, "error:", "does not permit connecting")?;
        expect(&tcp("198.51.100.7:80")?, "error:", "unreachable")?;
        let http = run(host, "http", r#"http = ["http://192.0.2.77/"]"#, "-p url=http://192.0.2.77/")?;
        expect(&http, "error:", "no route for connecting to 192.0.2.77:80")
    });
}

/// In the daemon's checker, with checks of services that run all the time.
#[test]
fn lack_of_descriptors_is_an_error() {
    system_test("no descriptor left", &NEEDS, |site| {
        let host = site.host(Node::Nginx01);
        let _web = Web::start(site, Node::Nginx01)?;
        host.sh("sleep 300 > /dev/null 2>&1 &")?;
        let mut rest = String::new();
        for (name, params, allow) in [
            ("tcp", r#"address = "127.0.0.1:80""#, r#"tcp = ["127.0.0.1:80"]"#),
            ("http", r#"url = "http://127.0.0.1/""#, r#"http = ["http://127.0.0.1/"]"#),
            ("process", r#"name = "sleep""#, r#"process = ["sleep"]"#),
        ] {
            let _ =
                write!(rest, "[check.{name}]\nplugin = \"{name}\"\nparams = {{ {params} }}\nallow = {{ {allow} }}\n");
            rest.push_str("interval = \"100ms\"\n\n");
        }
        rest += &config(Node::Nginx01, &Plan { check: None, ..Plan::default() });
        rest += "checks = [\"tcp\", \"http\", \"process\"]\n";
        let vouchd = Vouchd::start_with(site, Node::Nginx01, Files::new(site, Node::Nginx01)?, &rest)?;
        let shows = |name: &str, words: &str| vouchd.check(name).is_ok_and(|check| check.to_string().contains(words));
        for (name, words) in [("tcp", "accepts connections"), ("http", "HTTP 200"), ("process", "named sleep")] {
            until(&format!("{name} to pass"), Duration::from_secs(60), || shows(name, words))?;
        }
        let checker = vouchd.checker()?;
        // As its own user, who may do that.
        let status = std::fs::read_to_string(format!("/proc/{checker}/status"))?;
        let id = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)?.split_whitespace().next());
        let (Some(uid), Some(gid)) = (id("Uid:"), id("Gid:")) else { bail!("{status}") };
        let done = Command::new("setpriv")
            .args([format!("--reuid={uid}"), format!("--regid={gid}"), "--clear-groups".to_owned()])
            .args(["prlimit", "--pid", &checker.to_string(), "--nofile=3:3"])
            .status()?;
        ensure!(done.success(), "prlimit: {done}");
        for name in ["tcp", "http", "process"] {
            until(&format!("{name} to be an error"), Duration::from_secs(10), || {
                shows(name, "no file descriptor left, limit 3")
            })?;
            let check = vouchd.check(name)?;
            ensure!(!check.to_string().contains("\"fail\""), "{check}");
        }
        Ok(())
    });
}

/// If nobody listens on a port of the range for outgoing connections, a connection may connect to itself.
#[test]
fn self_connection_is_no_connection() {
    system_test("self-connection", &NEEDS, |site| {
        let host = site.host(Node::Nginx01);
        host.sh("echo 40000 40003 > /proc/sys/net/ipv4/ip_local_port_range")?;
        for address in ["127.0.0.1:40001", "[::1]:40001"] {
            for (plugin, allow, param) in [
                ("tcp", format!(r#"{{ tcp = ["{address}"] }}"#), format!("address={address}")),
                ("tls", format!(r#"{{ tcp = ["{address}"] }}"#), format!("address={address}")),
                ("http", format!(r#"{{ http = ["http://{address}/"] }}"#), format!("url=http://{address}/")),
            ] {
                let before = "for run in $(seq 24); do";
                let plugin = builtin_plugins().join(format!("{plugin}.wasm"));
                let said = host.sh(&format!(
                    "{before} {} plugin test {} --cache /run/compiled --allow '{allow}' -p '{param}' 2>&1 | head -n 1; done",
                    binary().display(),
                    plugin.display(),
                ))?;
                let others: Vec<_> = said
                    .lines()
                    .filter(|line| !line.starts_with("fail:") || !line.contains("connection refused"))
                    .collect();
                ensure!(said.lines().count() == 24 && others.is_empty(), "{param}: {others:?}");
            }
        }
        Ok(())
    });
}

#[test]
fn hidden_processes_are_an_error_that_says_what_to_do() {
    system_test("hidepid", &NEEDS, |site| {
        let host = site.host(Node::Nginx01);
        host.sh("sleep 300 > /dev/null 2>&1 &")?;
        // Where another user can run it.
        let dir = site.dir("open")?;
        let (vouchd, plugin) = (install_into(&dir)?, dir.join("process.wasm"));
        std::fs::copy(builtin_plugins().join("process.wasm"), &plugin)?;
        let process = |before: &str| {
            host.sh(&format!(
                "{before} {} plugin test {} --timeout 5s --allow '{{ process = [\"sleep\"] }}' -p name=sleep 2>&1 || true",
                vouchd.display(),
                plugin.display()
            ))
        };
        let nobody = "setpriv --reuid=65534 --regid=65534 --clear-groups --bounding-set=-all --inh-caps=-all";
        expect(&process(nobody)?, "pass:", "named sleep")?;
        for how in ["hidepid=1", "hidepid=2"] {
            host.sh(&format!("umount /proc; mount -t proc -o {how} proc /proc"))?;
            expect(&process(nobody)?, "error:", "the processes of others are hidden from the checker")?;
            expect(&process(nobody)?, "error:", "SupplementaryGroups=")?;
            // root sees them anyway.
            expect(&process("")?, "pass:", "named sleep")?;
        }
        host.sh("umount /proc; mount -t proc -o hidepid=2,gid=27 proc /proc")?;
        expect(&process(nobody)?, "error:", "the group 27")?;
        let member = "setpriv --reuid=65534 --regid=65534 --groups=27 --bounding-set=-all --inh-caps=-all";
        expect(&process(member)?, "pass:", "named sleep")
    });
}

#[test]
fn process_count_is_never_truncated() {
    system_test("1100 processes", &NEEDS, |site| {
        let host = site.host(Node::Nginx01);
        host.sh("for n in $(seq 1100); do sleep 300 > /dev/null 2>&1 & done")?;
        let process =
            |options: &str| run(host, "process", r#"process = ["sleep"]"#, &format!("-p name=sleep {options}"));
        // The host's own init runs one more.
        expect(&process("-p max=1050")?, "fail:", "expected at most 1050")?;
        expect(&process("-p min=1100")?, "pass:", "processes named sleep")?;
        let cut = process("-p max=1050 --limits '{ probe_bytes = \"16KiB\" }'")?;
        expect(&cut, "error:", "limits.probe_bytes")
    });
}

/// The command line of the check has the text that it looks for.
#[test]
fn check_does_not_find_its_own_process() {
    system_test("own processes", &NEEDS, |site| {
        let host = site.host(Node::Nginx01);
        let (vouchd, plugin) = (binary(), builtin_plugins().join("process.wasm"));
        // In two parts, so that the command line of the shell does not have it.
        let said = host.sh(&format!(
            "part=needle-in-a; {} plugin test {} --allow '{{ process = true }}' -p cmdline=$part-command-line 2>&1 || true",
            vouchd.display(),
            plugin.display()
        ))?;
        expect(&said, "fail:", "no process with")
    });
}
