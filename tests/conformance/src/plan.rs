//! What a router is configured to do, and the times that follow from it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::template::Values;

/// The virtual router of the usual plan.
pub const VRID: u8 = 55;
/// The router's interface.
pub const INTERFACE: &str = "eth0";

/// The versions and families in which a row is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Setup {
    /// Version 2 over IPv4.
    V2,
    /// Version 3 over IPv4.
    V3,
    /// Version 3 over IPv6.
    V6,
    /// Version 3 over IPv4 with the virtual MAC.
    V3Mac,
    /// Version 3 over IPv6 with the virtual MAC.
    V6Mac,
    /// Versions 2 and 3 at once over IPv4.
    Dual,
}

impl Setup {
    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Setup::V2 => "v2",
            Setup::V3 => "v3",
            Setup::V6 => "v3 IPv6",
            Setup::V3Mac => "v3 virtual MAC",
            Setup::V6Mac => "v3 IPv6 virtual MAC",
            Setup::Dual => "v2 and v3",
        }
    }

    /// Priority 100, an interval of 1 s, preemption, two virtual addresses, multicast.
    pub fn plan(self) -> Plan {
        let ipv6 = matches!(self, Setup::V6 | Setup::V6Mac);
        let addresses: [IpAddr; 2] = if ipv6 {
            [Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1).into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into()]
        } else {
            [Ipv4Addr::new(192, 0, 2, 1).into(), Ipv4Addr::new(192, 0, 2, 2).into()]
        };
        Plan {
            vrid: VRID,
            version: if self == Setup::V2 { 2 } else { 3 },
            priority: 100,
            interval: Duration::from_secs(1),
            addresses: addresses.to_vec(),
            preempt: true,
            password: None,
            source: None,
            peer: None,
            hop_limit: None,
            virtual_mac: matches!(self, Setup::V3Mac | Setup::V6Mac),
            message_only: false,
            also_version_2: self == Setup::Dual,
        }
    }
}

/// The configuration of a router, whatever its make.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The virtual router.
    pub vrid: u8,
    /// 2 or 3.
    pub version: u8,
    /// 1 to 254; 255 is the owner.
    pub priority: u8,
    /// Between two advertisements.
    pub interval: Duration,
    /// The virtual addresses, of one family.
    pub addresses: Vec<IpAddr>,
    /// Whether it takes over from a worse router.
    pub preempt: bool,
    /// A simple text password of version 2.
    pub password: Option<String>,
    /// With unicast: its own address.
    pub source: Option<IpAddr>,
    /// With unicast: the other router's address.
    pub peer: Option<IpAddr>,
    /// With unicast: accept from the peer a hop limit as low as this.
    pub hop_limit: Option<u8>,
    /// Whether it uses the virtual MAC.
    pub virtual_mac: bool,
    /// Whether the version 3 checksum over IPv4 covers the message alone.
    pub message_only: bool,
    /// Whether it sends version 2 beside version 3.
    pub also_version_2: bool,
}

impl Plan {
    /// Whether the virtual router is one of IPv6.
    pub fn is_ipv6(&self) -> bool {
        self.addresses.iter().any(IpAddr::is_ipv6)
    }

    /// Skew_Time (RFC 9568 section 6.1, RFC 3768 section 6.1): `(256 - priority) / 256` of the interval, in version 2 of one
    /// second.
    pub fn skew(&self) -> Duration {
        self.skew_at(self.interval)
    }

    /// Skew_Time with the interval of another router that is active.
    pub fn skew_at(&self, interval: Duration) -> Duration {
        let unit = if self.version == 2 { Duration::from_secs(1) } else { interval };
        unit * (256 - u32::from(self.priority)) / 256
    }

    /// Active_Down_Interval: three intervals and Skew_Time.
    pub fn down_interval(&self) -> Duration {
        self.down_interval_at(self.interval)
    }

    /// Active_Down_Interval with the interval of another router that is active.
    pub fn down_interval_at(&self, interval: Duration) -> Duration {
        3 * interval + self.skew_at(interval)
    }

    /// The interval as version 2 or 3 puts it on the wire.
    pub fn interval_field(&self) -> u16 {
        let unit = if self.version == 2 { 1000 } else { 10 };
        u16::try_from(self.interval.as_millis() / unit).unwrap_or(u16::MAX)
    }

    /// The settings that a template must be able to express for this plan. Other settings have a default everywhere.
    pub fn needs(&self) -> Vec<&'static str> {
        let values = self.values();
        let optional = ["ipv6", "owner_address", "password", "peer", "virtual_mac", "message_only", "also_version_2"];
        optional.into_iter().filter(|name| values.get(name).is_some_and(|values| !values.is_empty())).collect()
    }

    /// The values for templates.
    pub fn values(&self) -> Values {
        let flag = |on: bool| if on { vec!["true".to_owned()] } else { Vec::new() };
        let one = |value: String| vec![value];
        let optional = |value: Option<String>| value.into_iter().collect::<Vec<_>>();
        let list = |wanted: fn(&&IpAddr) -> bool| -> Vec<String> {
            self.addresses.iter().filter(wanted).map(IpAddr::to_string).collect()
        };
        Values::from([
            ("interface", one(INTERFACE.to_owned())),
            ("vrid", one(self.vrid.to_string())),
            ("vrid_hex", one(format!("{:02x}", self.vrid))),
            ("version", one(self.version.to_string())),
            ("priority", one(self.priority.to_string())),
            ("interval_ms", one(self.interval.as_millis().to_string())),
            ("interval_s", one(self.interval.as_secs_f64().to_string())),
            ("prefix", one(if self.is_ipv6() { "64" } else { "24" }.to_owned())),
            ("address", list(|_| true)),
            ("owner_address", if self.priority == 255 { list(|_| true) } else { Vec::new() }),
            ("ipv4", list(|address| address.is_ipv4())),
            ("ipv6", list(|address| address.is_ipv6())),
            ("preempt", flag(self.preempt)),
            ("password", optional(self.password.clone())),
            ("source", optional(self.source.map(|source| source.to_string()))),
            ("peer", optional(self.peer.map(|peer| peer.to_string()))),
            ("hop_limit", optional(self.hop_limit.map(|limit| limit.to_string()))),
            ("virtual_mac", flag(self.virtual_mac)),
            ("message_only", flag(self.message_only)),
            ("also_version_2", flag(self.also_version_2)),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_follow_the_formulas_of_each_version() {
        let v3 = Plan { interval: Duration::from_millis(200), ..Setup::V3.plan() };
        assert_eq!(v3.skew(), Duration::from_micros(121_875));
        assert_eq!(v3.down_interval(), Duration::from_micros(721_875));
        let v2 = Plan { interval: Duration::from_secs(2), ..Setup::V2.plan() };
        assert_eq!(v2.down_interval(), Duration::from_micros(6_609_375));
    }
}
