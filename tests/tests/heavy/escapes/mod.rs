//! Attempts of plugins in a running daemon to reach what is not granted. A sniffer on all interfaces and strace on the
//! checker watch from outside. The plugin host's own tests cover the result of each attempt.

mod attempts;
mod guests;
mod servers;
mod trace;

use std::fmt::Write as _;
use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use attempts::{Attempt, Expected};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::Value;
use trace::Trace;
use vouchd_tests::background::Background;
use vouchd_tests::host::Host;
use vouchd_tests::pair::VRID;
use vouchd_tests::site::INTERFACE;
use vouchd_tests::sniffer::{Packet, Sniffer};
use vouchd_tests::vouchd::{Files, Vouchd, builtin_plugins};
use vouchd_tests::wait::until;
use vouchd_tests::{Need, Node, Site, VIP, system_test};

/// Names that the grants allow to look up.
const NAMES: [&str; 8] =
    ["web.test", "meta.test", "two.test", "rebind.test", "mapped.test", "nat.test", "six.test", "local.test"];

/// Texts that no system call may contain.
const FORBIDDEN: [&str; 6] =
    ["forbidden", "secret", "169.254.169.254", "192.168.175.66", "shadow", "/proc/self/environ"];

/// Makes a directory `d` that is granted, with links that lead out of it, and files and sockets beside it.
fn scene(site: &Site) -> anyhow::Result<(PathBuf, Vec<UnixListener>)> {
    let root = site.dir("scene")?;
    fs::create_dir_all(root.join("d/sub"))?;
    fs::create_dir(root.join("forbidden.d"))?;
    for path in ["forbidden", "forbidden.d/file", "d/ready", "d/sub/file"] {
        fs::write(root.join(path), path)?;
    }
    for (link, to) in [
        ("up", "../forbidden"),
        ("up.sock", "../forbidden.sock"),
        ("linked", "../forbidden.d"),
        ("root", "/proc/self/root"),
        ("cwd", "/proc/self/cwd"),
        ("fds", "/proc/self/fd"),
    ] {
        symlink(to, root.join("d").join(link))?;
    }
    symlink(root.join("forbidden"), root.join("d/absolute"))?;
    mkfifo(&root.join("d/pipe"), Mode::from_bits_truncate(0o666))?;
    let sockets = ["d/s.sock", "forbidden.sock", "forbidden.d/s.sock"];
    let listeners = sockets.map(|path| -> anyhow::Result<UnixListener> {
        let listener = UnixListener::bind(root.join(path))?;
        fs::set_permissions(root.join(path), std::os::unix::fs::PermissionsExt::from_mode(0o666))?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    Ok((root, listeners.into_iter().collect::<anyhow::Result<_>>()?))
}

/// How long each of the two stays in its place: short, so that a swap falls between the look at a file and its opening.
const SWAP: Duration = Duration::from_micros(300);

/// Replaces what is granted by a link that leads out, and back, all the time.
struct Swapper {
    _thread: Background,
}

impl Swapper {
    fn start(host: &Host, root: &Path) -> anyhow::Result<Self> {
        let root = root.to_owned();
        let thread = Background::start(host, "the swapper", move |running| {
            let prepared = root.join("prepared");
            running.ready();
            while running.goes_on() {
                for (name, granted, link) in
                    [("swapped", "d/ready", "../forbidden"), ("swapped.sock", "d/s.sock", "../forbidden.sock")]
                {
                    let at = root.join("d").join(name);
                    fs::hard_link(root.join(granted), &prepared).expect("a free name");
                    fs::rename(&prepared, &at).expect("the same file system");
                    std::thread::sleep(SWAP);
                    symlink(link, &prepared).expect("a free name");
                    fs::rename(&prepared, &at).expect("the same file system");
                    std::thread::sleep(SWAP);
                }
            }
        })?;
        Ok(Swapper { _thread: thread })
    }
}

/// Makes the host use the test's name server, and routes everything else to the intruder, so that the sniffer sees it.
fn prepare_network(host: &Host, dir: &Path) -> anyhow::Result<()> {
    let (resolv, nsswitch) = (dir.join("resolv.conf"), dir.join("nsswitch.conf"));
    fs::write(&resolv, format!("nameserver {}\noptions timeout:1 attempts:1\n", Node::Client.address()))?;
    fs::write(&nsswitch, "hosts: files dns\n")?;
    let (resolv, nsswitch, intruder) = (resolv.display(), nsswitch.display(), Node::Intruder.address());
    host.sh(&format!(
        "set -e
        mount --bind {resolv} /etc/resolv.conf
        mount --bind {nsswitch} /etc/nsswitch.conf
        ip route add default via {intruder}
        ip -6 addr add fd99::1/64 dev {INTERFACE} nodad
        ip -6 neigh add fd99::66 lladdr 02:00:00:00:00:66 dev {INTERFACE} nud permanent
        ip -6 route add default via fd99::66 dev {INTERFACE}"
    ))
    .map(drop)
}

/// Proxies, which no probe may use, and a secret.
fn environment() -> Vec<String> {
    let proxy = format!("http://{}:3128", Node::Intruder.address());
    let proxies = ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
    let proxies = proxies.iter().map(|name| format!("{name}={proxy}"));
    proxies.chain(["SECRET=secret".to_owned()]).collect()
}

fn config(attempts: &[Attempt]) -> String {
    let mut text =
        format!("[instance.web]\ninterface = \"{INTERFACE}\"\nvirtual_router_id = {VRID}\naddresses = [\"{VIP}\"]\n");
    for attempt in attempts {
        let Attempt { name, by, allow, to, .. } = attempt;
        let to: String = to.chars().fold(String::new(), |mut out, c| {
            let _ = write!(out, "\\U{:08X}", u32::from(c));
            out
        });
        let params = match *by {
            "http" => format!("{{ url = \"{to}\", redirects = 5 }}"),
            _ => format!("{{ to = \"{to}\" }}"),
        };
        let _ = write!(
            text,
            "[check.{name}]\nplugin = \"{by}\"\nparams = {params}\nallow = {{ {allow} }}\ninterval = \"2s\"\n\
             timeout = \"2s\"\n"
        );
    }
    text
}

/// What is wrong with the end of an attempt, if anything.
fn complaint(attempt: &Attempt, status: &Value) -> Option<String> {
    let check = status["checks"].as_array()?.iter().find(|check| check["name"] == attempt.name.as_str())?;
    let (verdict, message) = (check["verdict"].as_str()?, check["message"].as_str()?);
    let right = match attempt.expected {
        Expected::Granted => verdict == "pass",
        Expected::Refused(words) => verdict == "error" && message.contains(words),
        Expected::Senseless => verdict == "fail" || verdict == "error",
        Expected::Changing => true,
    };
    (!right).then(|| format!("{} {:?} with {{ {} }}: {verdict}: {message}", attempt.by, attempt.to, attempt.allow))
}

fn runs(vouchd: &Vouchd) -> Option<Vec<u64>> {
    vouchd.status().ok()?["checks"].as_array()?.iter().map(|check| check["runs"].as_u64()).collect()
}

/// The packets that no grant allows.
fn strayed(sent: &[Packet]) -> Vec<&Packet> {
    let (web, server) = (Node::Web01.address(), Node::Client.address());
    let is_granted = |packet: &&Packet| match packet.protocol {
        // VRRP, IGMP, ICMPv6 and hop-by-hop options.
        112 | 2 | 58 | 0 => true,
        17 => {
            packet.to == server
                && packet.port == 53
                && servers::asked(&packet.payload).is_some_and(|name| NAMES.contains(&name.as_str()))
        }
        6 => {
            packet.to == web && packet.port == 8080
                || packet.to.is_loopback() && (packet.port == 8080 || packet.source_port == 8080)
        }
        _ => false,
    };
    sent.iter().filter(|packet| !is_granted(packet)).collect()
}

#[test]
fn no_attempt_reaches_a_packet_or_file_that_was_not_granted() {
    system_test("escapes, seen by a sniffer and by strace", &[Need::Vouchd, Need::Strace], |site| {
        let (root, listeners) = scene(site)?;
        let host = site.host(Node::Nginx01);
        prepare_network(host, &root)?;
        let names = servers::names(site, Node::Client)?;
        let _web = servers::web(site, Node::Web01, "0.0.0.0:8080")?;
        let open = servers::web(site, Node::Nginx01, "127.0.0.1:8080")?;
        let forbidden = servers::web(site, Node::Nginx01, "[::]:8081")?;
        let abstract_name = "forbidden";
        let hidden = host
            .in_network(move || {
                UnixListener::bind_addr(&SocketAddr::from_abstract_name(abstract_name).expect("a short name"))
            })?
            .join()
            .expect("no panic")?;
        hidden.set_nonblocking(true)?;

        let files = Files::without_builtins(site, Node::Nginx01)?;
        fs::copy(builtin_plugins().join("http.wasm"), files.plugin_dir().join("http.wasm"))?;
        for (name, bytes) in guests::all() {
            fs::write(files.plugin_dir().join(format!("{name}.wasm")), bytes)?;
        }
        let attempts = attempts::all(&root);
        let sniffer = Sniffer::start(host)?;
        let _swapper = Swapper::start(host, &root)?;
        let vouchd = Vouchd::start_in(site, Node::Nginx01, files, &config(&attempts), &environment())?;
        vouchd.wait_state("web", "active", Duration::from_secs(10))?;
        let settled = |status: &Value| attempts.iter().filter_map(|a| complaint(a, status)).collect::<Vec<_>>();
        until("every attempt to end as it should", Duration::from_secs(20), || {
            vouchd.status().is_ok_and(|status| settled(&status).is_empty())
        })
        .with_context(|| format!("{:#?}", vouchd.status().map(|status| settled(&status))))?;

        let trace = Trace::start(vouchd.checker()?, &root)?;
        let before = runs(&vouchd).context("no runs in status")?;
        until("every attempt to be repeated twice", Duration::from_secs(40), || {
            runs(&vouchd).is_some_and(|now| now.iter().zip(&before).all(|(now, before)| now >= &(before + 2)))
        })?;
        let calls = trace.end()?;
        let status = vouchd.status()?;
        ensure!(settled(&status).is_empty(), "under strace: {:#?}", settled(&status));

        let granted = [
            "htons(8080), sin_addr=inet_addr(\"127.0.0.1\")".to_owned(),
            format!("htons(8080), sin_addr=inet_addr(\"{}\")", Node::Web01.address()),
            "sun_path=\"/proc/self/fd/".to_owned(),
            // The C library looks for a cache of names.
            "sun_path=\"/var/run/nscd/socket\"".to_owned(),
        ];
        let wrong: Vec<_> = calls.iter().filter_map(|line| trace::complaint(line, &FORBIDDEN, &granted)).collect();
        ensure!(wrong.is_empty(), "{} calls: {:#?}", wrong.len(), &wrong[..wrong.len().min(20)]);
        for seen in ["openat2(", "\"ready\"", &granted[0], &granted[2], "web\\4test"] {
            ensure!(calls.iter().any(|line| line.contains(seen)), "strace did not see what is granted: {seen}");
        }
        let sent = sniffer.sent();
        let strayed = strayed(&sent);
        ensure!(strayed.is_empty(), "{} packets: {:#?}", strayed.len(), &strayed[..strayed.len().min(20)]);
        ensure!(sent.iter().any(|p| p.protocol == 6 && p.to == Node::Web01.address()), "the sniffer saw no connection");
        ensure!(sent.iter().any(|p| p.protocol == 17), "the sniffer saw no question");
        ensure!(names.came() > 0 && open.came() > 0, "nobody came to what is granted");
        ensure!(forbidden.came() == 0, "somebody came to the port that is not granted");
        ensure!(listeners[0].accept().is_ok(), "nobody came to the socket that is granted");
        for listener in listeners[1..].iter().chain([&hidden]) {
            ensure!(listener.accept().is_err(), "somebody came to {listener:?}");
        }
        let refused = attempts.iter().filter(|a| !matches!(a.expected, Expected::Granted)).count();
        println!("{refused} attempts; {} calls traced, {} kinds of packets seen", calls.len(), sent.len());
        Ok(())
    });
}
