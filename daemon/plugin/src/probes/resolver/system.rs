//! This host's own knowledge of names: `/etc/hosts` and `/etc/resolv.conf`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

/// The C library's limit (MAXNS).
const MAX_SERVERS: usize = 3;

const PORT: u16 = 53;

/// The settings of resolv.conf(5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) servers: Vec<SocketAddr>,
    search: Vec<String>,
    ndots: usize,
    /// The time that one server has for an answer.
    pub(super) timeout: Duration,
    pub(super) attempts: usize,
}

impl Settings {
    pub(super) fn parse(text: &str) -> Self {
        let mut settings = Settings {
            servers: Vec::new(),
            search: Vec::new(),
            ndots: 1,
            timeout: Duration::from_secs(5),
            attempts: 2,
        };
        for line in text.lines().filter(|line| !line.starts_with(['#', ';'])) {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => settings.servers.extend(words.next().and_then(server)),
                // The last of these lines counts.
                Some("domain" | "search") => {
                    settings.search = words.map(|name| name.trim_matches('.').to_owned()).collect()
                }
                Some("options") => words.for_each(|option| settings.set(option)),
                Some(_) | None => {}
            }
        }
        settings.search.retain(|name| !name.is_empty());
        settings.servers.truncate(MAX_SERVERS);
        if settings.servers.is_empty() {
            settings.servers.push(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), PORT));
        }
        settings
    }

    /// Settings for one name server, without a search list.
    pub(super) fn of_one(server: SocketAddr) -> Self {
        Settings { servers: vec![server], ..Settings::parse("") }
    }

    fn set(&mut self, option: &str) {
        let Some((name, value)) = option.split_once(':') else { return };
        let Ok(value) = value.parse::<usize>() else { return };
        match name {
            "ndots" => self.ndots = value.min(15),
            "timeout" => self.timeout = Duration::from_secs(value.clamp(1, 30) as u64),
            "attempts" => self.attempts = value.clamp(1, 5),
            _ => {}
        }
    }

    /// The names to ask for, in the C library's order.
    pub(super) fn candidates(&self, name: &str) -> Vec<String> {
        if let Some(absolute) = name.strip_suffix('.') {
            return vec![absolute.to_owned()];
        }
        let mut names: Vec<String> = self.search.iter().map(|domain| format!("{name}.{domain}")).collect();
        let is_full = name.matches('.').count() >= self.ndots;
        names.insert(if is_full { 0 } else { names.len() }, name.to_owned());
        names
    }
}

/// Parses `ADDRESS` or `ADDRESS:PORT`, with IPv6 in brackets if a port follows.
pub(in crate::probes) fn name_server(text: &str) -> Option<SocketAddr> {
    let address = |text: &str| Some(SocketAddr::new(text.parse().ok()?, PORT));
    text.parse().ok().or_else(|| address(text)).filter(|server: &SocketAddr| server.port() != 0)
}

/// Parses an address that may have a scope (`fe80::1%eth0`).
fn server(text: &str) -> Option<SocketAddr> {
    if let Some((address, scope)) = text.split_once('%') {
        let scope = scope.parse().ok().or_else(|| nix::net::if_::if_nametoindex(scope).ok())?;
        return Some(SocketAddrV6::new(address.parse().ok()?, PORT, 0, scope).into());
    }
    Some(SocketAddr::new(text.parse().ok()?, PORT))
}

/// Finds the addresses of a name in the text of a hosts file.
pub(super) fn in_hosts(text: &str, name: &str) -> Vec<IpAddr> {
    let name = name.trim_end_matches('.');
    let mut found = Vec::new();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let Some(Ok(address)) = words.next().map(str::parse::<IpAddr>) else { continue };
        if words.any(|known| known.eq_ignore_ascii_case(name)) && !found.contains(&address) {
            found.push(address);
        }
    }
    found
}

/// The addresses of `localhost` and names below it, which need no name server (RFC 6761 section 6.3).
pub(super) fn localhost(name: &str) -> Vec<IpAddr> {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    if name == "localhost" || name.ends_with(".localhost") {
        return vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolv_conf_is_read_as_the_c_library_reads_it() {
        let text = "# nameserver 9.9.9.9\nnameserver 10.0.0.1\nnameserver fd00::1\nnameserver nonsense\n\
                    domain old.example\nsearch a.example. b.example\noptions ndots:2 timeout:1 attempts:9 rotate\n\
                    nameserver 10.0.0.2\nnameserver 10.0.0.3\n";
        let settings = Settings::parse(text);
        let servers: Vec<_> = settings.servers.iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["10.0.0.1:53", "[fd00::1]:53", "10.0.0.2:53"]);
        assert_eq!((settings.timeout, settings.attempts), (Duration::from_secs(1), 5));
        assert_eq!(settings.candidates("web"), ["web.a.example", "web.b.example", "web"]);
        assert_eq!(settings.candidates("a.b.c")[0], "a.b.c");
        assert_eq!(settings.candidates("web."), ["web"]);
        let none = Settings::parse("");
        assert_eq!(
            (none.servers[0].to_string().as_str(), none.candidates("web")),
            ("127.0.0.1:53", vec!["web".to_owned()])
        );
    }

    #[test]
    fn name_server_is_an_address_with_or_without_a_port() {
        let table = [
            ("10.0.0.2", Some("10.0.0.2:53")),
            ("10.0.0.2:5353", Some("10.0.0.2:5353")),
            ("fd00::2", Some("[fd00::2]:53")),
            ("[fd00::2]:54", Some("[fd00::2]:54")),
            ("ns.example", None),
            ("10.0.0.2:", None),
            ("10.0.0.2:0", None),
        ];
        for (text, expected) in table {
            assert_eq!(name_server(text).map(|server| server.to_string()).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn name_in_hosts_has_all_its_addresses() {
        let text = "127.0.0.1 localhost\n::1 localhost ip6-localhost\n# 10.0.0.9 web\n10.0.0.1 web.example Web # 10.0.0.2 web\n";
        let found = |name| in_hosts(text, name).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(found("web"), ["10.0.0.1"]);
        assert_eq!(found("LOCALHOST."), ["127.0.0.1", "::1"]);
        assert!(found("10.0.0.2").is_empty() && found("other").is_empty());
        assert_eq!(localhost("x.Localhost").len(), 2);
        assert!(localhost("localhost.example").is_empty());
    }
}
