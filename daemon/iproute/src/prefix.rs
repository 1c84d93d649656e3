//! Address families and prefixes.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::words::{Mistake, Word};

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4
    V4,
    /// IPv6
    V6,
}

impl Family {
    /// The family of an address.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Family::V4 } else { Family::V6 }
    }

    /// The prefix of all addresses.
    pub(crate) fn all(self) -> Prefix {
        let address = match self {
            Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
            Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
        };
        Prefix { address, length: 0 }
    }
}

/// As in "an IPv4 address".
impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        })
    }
}

/// A block of addresses. The bits beyond the prefix length are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    /// Its first address.
    pub address: IpAddr,
    /// Its prefix length, 0 to 32 or 128.
    pub length: u8,
}

impl Prefix {
    /// The family of its addresses.
    pub fn family(&self) -> Family {
        Family::of(self.address)
    }

    pub(crate) fn parse(word: Word<'_>) -> Result<Self, Mistake> {
        const EXPECTED: &str = "expected a destination like 10.0.0.0/8, 192.0.2.1, 2001:db8::/32 or default";
        let (address, length) = match word.text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (word.text, None),
        };
        let Ok(address) = address.parse::<IpAddr>() else {
            return Err(word.mistake(format!("{EXPECTED}{}", abbreviated(address, length))));
        };
        let widest = if address.is_ipv4() { 32 } else { 128 };
        let length = match length {
            None => widest,
            Some(text) => {
                let length = text.parse::<u8>().ok().filter(|length| *length <= widest);
                length.ok_or_else(|| word.mistake(format!("expected a prefix length from 0 to {widest}")))?
            }
        };
        let network = network(address, length);
        if network != address {
            let message = format!("the address has bits beyond the prefix length; write {network}/{length}");
            return Err(word.mistake(message));
        }
        Ok(Prefix { address, length })
    }
}

/// As in ip-route(8): a host without a prefix length.
impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.address, self.length) {
            (IpAddr::V4(address), 32) => write!(f, "{address}"),
            (IpAddr::V6(address), 128) => write!(f, "{address}"),
            (address, length) => write!(f, "{address}/{length}"),
        }
    }
}

fn network(address: IpAddr, length: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            Ipv4Addr::from_bits(v4.to_bits() & mask).into()
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            Ipv6Addr::from_bits(v6.to_bits() & mask).into()
        }
    }
}

/// A suggestion for `10/8`, which the program `ip` accepts.
fn abbreviated(address: &str, length: Option<&str>) -> String {
    let octets: Option<Vec<u8>> = address.split('.').map(|octet| octet.parse().ok()).collect();
    match (octets, length) {
        (Some(mut octets), Some(length)) if octets.len() < 4 => {
            octets.resize(4, 0);
            let octets: Vec<_> = octets.iter().map(u8::to_string).collect();
            format!("; write {}/{length}", octets.join("."))
        }
        _ => String::new(),
    }
}
