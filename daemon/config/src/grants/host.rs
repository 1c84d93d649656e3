//! Hosts as patterns name them: an exact name, every name below a domain, or addresses.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The host of a pattern, in canonical form: names in lower case without a final dot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum HostPattern {
    /// This name only.
    Name(String),
    /// Written `*.name`: names below this one, but not the name itself.
    Below(String),
    Network(Network),
}

/// Addresses that share a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    pub(super) fn one(address: IpAddr) -> Self {
        let address = address.to_canonical();
        Network { address, prefix: width(address) }
    }

    /// Parses `10.0.0.0/8` or a single address. `None` if it is neither, or has bits set beyond the prefix.
    fn parse(text: &str) -> Option<Self> {
        let Some((address, prefix)) = text.split_once('/') else {
            return text.parse().ok().map(Network::one);
        };
        let address: IpAddr = address.parse().ok()?;
        if prefix.is_empty() || !prefix.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let prefix: u8 = prefix.parse().ok().filter(|p| *p <= width(address))?;
        // An IPv4-mapped IPv6 address is compared as IPv4.
        let (address, prefix) = match (address, address.to_canonical()) {
            (IpAddr::V6(_), canonical @ IpAddr::V4(_)) => (canonical, prefix.checked_sub(96)?),
            (address, _) => (address, prefix),
        };
        let network = Network { address, prefix };
        (bits(address) & !mask(address, prefix) == 0).then_some(network)
    }

    fn is_one(self) -> bool {
        self.prefix == width(self.address)
    }

    fn contains(self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        width(address) == width(self.address) && bits(address) & mask(address, self.prefix) == bits(self.address)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address)?;
        if self.is_one() { Ok(()) } else { write!(f, "/{}", self.prefix) }
    }
}

fn width(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(a) => u128::from(a.to_bits()),
        IpAddr::V6(a) => a.to_bits(),
    }
}

fn mask(address: IpAddr, prefix: u8) -> u128 {
    let width = width(address);
    let ones = if width == 128 { u128::MAX } else { u128::from(u32::MAX) };
    let host_bits = u32::from(width - prefix);
    ones & u128::MAX.checked_shl(host_bits).unwrap_or(0)
}

impl HostPattern {
    /// Parses a name, `*.name`, an address or a network, without brackets.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if let Some(network) = Network::parse(text) {
            return Some(HostPattern::Network(network));
        }
        match text.strip_prefix("*.") {
            Some(rest) => canonical_name(rest).map(HostPattern::Below),
            None => canonical_name(text).map(HostPattern::Name),
        }
    }

    /// Whether a connection to `host` may go to this address, to which it resolved. A [`guarded`] address must be spelled out
    /// itself or by its name.
    pub(super) fn reaches(&self, host: &str, address: IpAddr) -> bool {
        let is_exact = match self {
            HostPattern::Name(_) => true,
            HostPattern::Below(_) => false,
            HostPattern::Network(network) => network.is_one(),
        };
        self.matches(host) && (is_exact || !guarded(address))
    }

    /// Whether it matches `host`, in the form for the resolver: a name, or an address without brackets.
    pub(super) fn matches(&self, host: &str) -> bool {
        if let Ok(address) = host.parse::<IpAddr>() {
            return match self {
                HostPattern::Network(network) => network.contains(address),
                HostPattern::Name(_) | HostPattern::Below(_) => false,
            };
        }
        let Some(host) = canonical_name(host) else { return false };
        match self {
            HostPattern::Name(name) => host == *name,
            HostPattern::Below(domain) => {
                host.strip_suffix(domain.as_str()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
            }
            HostPattern::Network(_) => false,
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostPattern::Name(name) => f.write_str(name),
            HostPattern::Below(domain) => write!(f, "*.{domain}"),
            HostPattern::Network(network @ Network { address: IpAddr::V6(_), .. }) => write!(f, "[{network}]"),
            HostPattern::Network(network) => write!(f, "{network}"),
        }
    }
}

/// Whether the address needs a grant that spells it out: it is link-local, or a metadata service of a cloud, which hands out
/// credentials.
fn guarded(address: IpAddr) -> bool {
    /// Alibaba, Oracle (besides its link-local address) and Azure ("wire server").
    const METADATA: [Ipv4Addr; 3] =
        [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192), Ipv4Addr::new(168, 63, 129, 16)];
    /// Amazon, Google and Scaleway.
    const METADATA_V6: [Ipv6Addr; 3] = [
        Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
        Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
        Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42),
    ];
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_link_local() || METADATA.contains(&address),
        IpAddr::V6(address) => {
            address.is_unicast_link_local()
                || METADATA_V6.contains(&address)
                || translated(address).into_iter().flatten().any(|address| guarded(IpAddr::V4(address)))
        }
    }
}

/// The IPv4 addresses that a network may translate an IPv6 address to; for most there is none.
fn translated(address: Ipv6Addr) -> [Option<Ipv4Addr>; 2] {
    let joined = |high: u16, low: u16| Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    match address.segments() {
        // The well-known prefix of NAT64 (RFC 6052), IPv4-compatible (RFC 4291) and IPv4-translated (RFC 2765) addresses.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0, 0, 0, 0, 0, 0, high, low] | [0, 0, 0, 0, 0xffff, 0, high, low] => {
            [joined(high, low), None]
        }
        // NAT64 within a site (RFC 8215): in the last 32 bits, or around bits 64 to 71 of a /48 (RFC 6052 section 2.2).
        [0x64, 0xff9b, 1, around, a, b, high, low] => [joined(high, low), joined(around, a << 8 | b >> 8)],
        // 6to4 (RFC 3056).
        [0x2002, high, low, ..] => [joined(high, low), None],
        // Teredo (RFC 4380): the client, its bits inverted.
        [0x2001, 0, .., high, low] => [joined(!high, !low), None],
        _ => [None, None],
    }
}

/// The name in lower case, without the final dot of an absolute name. `None` if it is not a host name, or if its last label is
/// a number, because resolvers read `127.1` and `0x7f000001` as addresses.
pub(super) fn canonical_name(text: &str) -> Option<String> {
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let label_is_valid = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    let numeric = last.starts_with(|c: char| c.is_ascii_digit())
        && (last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x"));
    (name.len() <= 253 && name.split('.').all(label_is_valid) && !numeric).then_some(name)
}
