//! What a host can't do, or can't see, is an error of the check, and never something that the service did.

use anyhow::ensure;
use vouchd_tests::host::Host;
use vouchd_tests::vouchd::{binary, builtin_plugins};
use vouchd_tests::{Need, Node, system_test};

const NEEDS: [Need; 1] = [Need::Vouchd];

/// What a run of a built-in plugin says, on this host, after the command that comes first.
fn test(host: &Host, before: &str, plugin: &str, allow: &str, params: &[&str]) -> anyhow::Result<String> {
    let params: String = params.iter().map(|param| format!(" -p '{param}'")).collect();
    let plugin = builtin_plugins().join(format!("{plugin}.wasm"));
    let (vouchd, plugin) = (binary(), plugin.display().to_string());
    host.sh(&format!(
        "{before} {} plugin test {plugin} --timeout 5s --allow '{allow}'{params} 2>&1 || true",
        vouchd.display()
    ))
}

fn expect(said: &str, begins: &str, contains: &str) -> anyhow::Result<()> {
    ensure!(
        said.starts_with(begins) && said.contains(contains),
        "expected {begins:?} with {contains:?}, found: {said}"
    );
    Ok(())
}

#[test]
fn a_host_without_descriptors_or_route_says_so() {
    system_test("no descriptor, no route", &NEEDS, |site| {
        let host = site.host(Node::Nginx01);
        let tcp = |before: &str, address: &str| {
            let allow = format!(r#"{{ tcp = ["{address}"] }}"#);
            test(host, before, "tcp", &allow, &[&format!("address={address}")])
        };
        // Nobody listens: that is the service's.
        expect(&tcp("", "127.0.0.1:9")?, "fail:", "connection refused")?;
        // The plugin's own code is compiled in another process; this one has what it needs besides the socket.
        expect(&tcp("prlimit --nofile=10:4096", "127.0.0.1:9")?, "error:", "no file descriptor left, limit 10")?;
        expect(&tcp("", "203.0.113.7:80")?, "error:", "no route for connecting to 203.0.113.7:80")?;
        let neighbour = format!("{}:80", Node::Nginx02.address());
        expect(&tcp("", &neighbour)?, "fail:", "connection refused")?;
        host.sh("ip link set eth0 down")?;
        expect(&tcp("", &neighbour)?, "error:", "no route for connecting to")?;
        host.sh("ip route add prohibit 203.0.113.0/24 && ip route add unreachable 198.51.100.0/24")?;
        expect(&tcp("", "203.0.113.7:80")?, "error:", "does not permit connecting")?;
        expect(&tcp("", "198.51.100.7:80")?, "error:", "unreachable")?;
        let http = test(host, "", "http", r#"{ http = ["http://192.0.2.77/"] }"#, &["url=http://192.0.2.77/"])?;
        expect(&http, "error:", "no route for connecting to 192.0.2.77:80")
    });
}

/// Where nobody listens on a port that is also one for outgoing connections, a connection may be with itself.
#[test]
fn a_connection_with_itself_is_none() {
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
        // Where another user can run it, too.
        let dir = site.dir("open")?;
        let (vouchd, plugin) = (dir.join("vouchd"), dir.join("process.wasm"));
        std::fs::copy(binary(), &vouchd)?;
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
            // Who may see them all the same sees them.
            expect(&process("")?, "pass:", "named sleep")?;
        }
        host.sh("umount /proc; mount -t proc -o hidepid=2,gid=27 proc /proc")?;
        expect(&process(nobody)?, "error:", "the group 27")?;
        let member = "setpriv --reuid=65534 --regid=65534 --groups=27 --bounding-set=-all --inh-caps=-all";
        expect(&process(member)?, "pass:", "named sleep")
    });
}

#[test]
fn a_count_is_never_cut() {
    system_test("1100 processes", &NEEDS, |site| {
        let host = site.host(Node::Nginx01);
        host.sh("for n in $(seq 1100); do sleep 300 > /dev/null 2>&1 & done")?;
        let process = |limits: &str, params: &[&str]| {
            let params = [&["name=sleep"], params].concat();
            let allow = format!(r#"{{ process = ["sleep"] }}' {limits} --check 'c"#);
            test(host, "", "process", &allow, &params)
        };
        // The host's own init sleeps as well.
        expect(&process("", &["max=1050"])?, "fail:", "expected at most 1050")?;
        expect(&process("", &["min=1100"])?, "pass:", "processes named sleep")?;
        let cut = process("--limits '{ probe_bytes = \"16KiB\" }'", &["max=1050"])?;
        expect(&cut, "error:", "limits.probe_bytes")
    });
}

/// The command line of a test or a daemon that checks for something has it in it.
#[test]
fn a_check_does_not_find_itself() {
    system_test("own processes", &NEEDS, |site| {
        let host = site.host(Node::Nginx01);
        let said =
            test(host, "", "process", "{ process = true }", &["cmdline=plugin test .*needle-in-a-command-line"])?;
        // The shell that runs it has it, too, and is none of vouchd's: it says what it was started with.
        ensure!(!said.contains("2 processes") && !said.starts_with("error:"), "{said}");
        let said = host.sh(&format!(
            "exec {} plugin test {} --allow '{{ process = true }}' -p 'cmdline=needle-in-a-command-line' 2>&1 || true",
            binary().display(),
            builtin_plugins().join("process.wasm").display()
        ))?;
        ensure!(said.starts_with("fail: no process"), "{said}");
        Ok(())
    });
}
