//! What a check needs to reach according to its parameters, and which of that is not granted.

use std::net::{IpAddr, SocketAddr};

use url::Url;

use crate::grants::{Grants, Refusal};
use crate::model::Check;

/// One thing that a run needs to reach.
enum Need<'a> {
    Process(&'a str),
    /// Processes of any name, as far as granted; any process grant is enough.
    SomeProcess,
    Http(&'a str),
    /// Some URL of this server.
    Server(&'a str),
    Tcp(&'a str),
    Unix(&'a str),
    File(&'a str),
    Dns(&'a str),
    /// The address of a name server, with or without a port.
    NameServer(&'a str),
}

/// The `allow` line that grants everything needed. `None` if nothing is missing.
pub(super) fn missing_grants(check: &Check) -> Option<String> {
    let mut granted = check.grants.clone();
    for need in wanted(check) {
        if let Some(refusal) = need.refusal(&granted) {
            // What nothing can grant ends in an error of the run, which says why.
            granted = *refusal.granted;
        }
    }
    (granted != check.grants).then(|| granted.to_string())
}

/// What the bundled plugins need. For other plugins only URLs are certain: a string with a port or a path may mean anything.
fn wanted(check: &Check) -> Vec<Need<'_>> {
    let params = Params(&check.params);
    let mut wanted = Vec::new();
    match check.plugin.as_str() {
        "process" => {
            // Without a name it searches all processes.
            wanted.push(params.one("name").map_or(Need::SomeProcess, Need::Process));
            wanted.extend(params.one("pid_file").map(Need::File));
        }
        "http" => wanted.extend(params.one("url").map(Need::Http)),
        "tcp" | "tls" => wanted.extend(params.one("address").map(Need::Tcp)),
        "unix" => wanted.extend(params.one("path").map(Need::Unix)),
        "systemd" => wanted.push(Need::Unix(params.one("socket").unwrap_or("/run/dbus/system_bus_socket"))),
        "dns" => {
            wanted.extend(params.one("name").map(Need::Dns));
            wanted.extend(params.one("server").map(Need::NameServer));
        }
        "file" | "disk" => wanted.extend(params.one("path").map(Need::File)),
        "haproxy" => wanted.push(match params.one("address") {
            Some(address) => Need::Tcp(address),
            None => Need::Unix(params.one("socket").unwrap_or("/run/haproxy/admin.sock")),
        }),
        "mysql" | "postgresql" | "redis" => {
            wanted.extend(params.one("address").map(Need::Tcp));
            wanted.extend(params.one("socket").map(Need::Unix));
            wanted.extend(params.one("password_file").map(Need::File));
        }
        "pressure" => {
            let files =
                [("cpu", "/proc/pressure/cpu"), ("memory", "/proc/pressure/memory"), ("io", "/proc/pressure/io")];
            wanted.extend(files.iter().filter(|(name, _)| params.has(name)).map(|(_, file)| Need::File(file)));
        }
        "vip" => {}
        _ => {
            let urls = check.params.iter().map(|(_, value)| value.as_str());
            let is_url = |value: &&str| value.starts_with("http://") || value.starts_with("https://");
            wanted.extend(urls.filter(is_url).map(Need::Server));
        }
    }
    wanted
}

struct Params<'a>(&'a [(String, String)]);

impl<'a> Params<'a> {
    /// The first value of a parameter, if it is not empty.
    fn one(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    /// Whether the parameter is given, as a value or as a table.
    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(key, _)| key == name || key.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
    }
}

impl Need<'_> {
    fn refusal(&self, granted: &Grants) -> Option<Refusal> {
        match self {
            Need::Process(name) => granted.permits_process(name).err(),
            Need::SomeProcess => granted.permits_some_process().err(),
            Need::Http(url) => granted.permits_http(&Url::parse(url).ok()?).err(),
            Need::Server(url) => granted.permits_server(&Url::parse(url).ok()?).err(),
            Need::Tcp(address) => {
                let (host, port) = host_and_port(address)?;
                granted.permits_tcp(host, port).err()
            }
            Need::Unix(path) => granted.permits_unix(path).err(),
            Need::File(path) => granted.permits_file(path).err(),
            Need::NameServer(server) => {
                let address = |text: &str| Some(SocketAddr::new(text.parse().ok()?, 53));
                let server: SocketAddr = server.parse().ok().or_else(|| address(server))?;
                granted.permits_tcp(&server.ip().to_string(), server.port()).err()
            }
            Need::Dns(name) => granted.permits_dns(name).err(),
        }
    }
}

/// Splits an address as the plugins do (IPv6 in brackets). They report invalid ones themselves.
fn host_and_port(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(host) => host.strip_suffix(']').filter(|host| host.parse::<IpAddr>().is_ok())?,
        None => host,
    };
    Some((host, port.parse().ok().filter(|port| *port != 0)?)).filter(|(host, _)| !host.is_empty())
}
