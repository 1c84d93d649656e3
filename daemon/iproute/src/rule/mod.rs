//! Rules, as in ip-rule(8).

mod display;
mod parse;

use crate::{Family, Prefix};

/// What a rule does with packets that match it (FR_ACT_*).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RuleAction {
    /// `lookup`: looks for a route in this table.
    Lookup(u32),
    /// `l3mdev`: looks for a route in the table of the packet's VRF.
    L3Mdev,
    /// `goto`: continues at the rule with this priority.
    Goto(u32),
    /// Continues at the next rule.
    Nop,
    /// Drops the packet without a word.
    Blackhole,
    /// Drops the packet and reports it as unreachable.
    Unreachable,
    /// Drops the packet and reports it as forbidden.
    Prohibit,
}

/// The packet mark that a rule matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FwMark {
    /// The mark.
    pub mark: u32,
    /// The bits that count.
    pub mask: u32,
}

/// A rule, with all defaults filled in. Packets match it if they have everything that it names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rule {
    /// The family of the packets.
    pub family: Family,
    /// Its place among the rules: the lowest comes first.
    pub priority: u32,
    /// `not`: packets that do not match.
    pub invert: bool,
    /// The sources; all if the length is 0.
    pub from: Prefix,
    /// The destinations; all if the length is 0.
    pub to: Prefix,
    /// The interface on which packets arrive. `lo` is this host itself.
    pub iif: Option<String>,
    /// The interface to which the sender's socket is bound.
    pub oif: Option<String>,
    /// The packet mark.
    pub fwmark: Option<FwMark>,
    /// The type of service or traffic class; 0 is any.
    pub tos: u8,
    /// The number of the protocol above IP.
    pub ip_protocol: Option<u8>,
    /// The first and last source port.
    pub source_ports: Option<(u16, u16)>,
    /// The first and last destination port.
    pub destination_ports: Option<(u16, u16)>,
    /// The first and last user id of the sender.
    pub users: Option<(u32, u32)>,
    /// What to do.
    pub action: RuleAction,
    /// Ignores routes with a prefix length of at most this.
    pub suppress_prefix_length: Option<u32>,
    /// Ignores routes over the interfaces of this group.
    pub suppress_group: Option<u32>,
}

/// Names of /etc/protocols that ip-rule(8) prints.
const PROTOCOLS: [(u8, &str); 14] = [
    (1, "icmp"),
    (2, "igmp"),
    (4, "ipencap"),
    (6, "tcp"),
    (17, "udp"),
    (33, "dccp"),
    (41, "ipv6"),
    (47, "gre"),
    (50, "esp"),
    (51, "ah"),
    (58, "ipv6-icmp"),
    (112, "vrrp"),
    (132, "sctp"),
    (136, "udplite"),
];
