//! From a [`Rule`] to a text that parses to it.

use std::fmt;

use super::{FwMark, PROTOCOLS, Rule, RuleAction};
use crate::{Family, TABLE_DEFAULT, TABLE_LOCAL, TABLE_MAIN};

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has_prefix = self.from.length > 0 || self.to.length > 0;
        if self.family == Family::V6 && !has_prefix {
            f.write_str("-6 ")?;
        }
        if self.invert {
            f.write_str("not ")?;
        }
        match self.from.length {
            0 => f.write_str("from all")?,
            _ => write!(f, "from {}", self.from)?,
        }
        if self.to.length > 0 {
            write!(f, " to {}", self.to)?;
        }
        if self.tos != 0 {
            write!(f, " tos {:#x}", self.tos)?;
        }
        match self.fwmark {
            Some(FwMark { mark, mask: u32::MAX }) => write!(f, " fwmark {mark:#x}")?,
            Some(FwMark { mark, mask }) => write!(f, " fwmark {mark:#x}/{mask:#x}")?,
            None => {}
        }
        for (keyword, name) in [("iif", &self.iif), ("oif", &self.oif)] {
            if let Some(name) = name {
                write!(f, " {keyword} {name}")?;
            }
        }
        if let Some((first, last)) = self.users {
            write!(f, " uidrange {first}-{last}")?;
        }
        if let Some(protocol) = self.ip_protocol {
            match PROTOCOLS.iter().find(|(number, _)| *number == protocol) {
                Some((_, name)) => write!(f, " ipproto {name}")?,
                None => write!(f, " ipproto {protocol}")?,
            }
        }
        for (keyword, ports) in [("sport", self.source_ports), ("dport", self.destination_ports)] {
            match ports {
                Some((first, last)) if first == last => write!(f, " {keyword} {first}")?,
                Some((first, last)) => write!(f, " {keyword} {first}-{last}")?,
                None => {}
            }
        }
        match self.action {
            RuleAction::Lookup(TABLE_MAIN) => f.write_str(" lookup main")?,
            RuleAction::Lookup(TABLE_LOCAL) => f.write_str(" lookup local")?,
            RuleAction::Lookup(TABLE_DEFAULT) => f.write_str(" lookup default")?,
            RuleAction::Lookup(table) => write!(f, " lookup {table}")?,
            RuleAction::L3Mdev => f.write_str(" l3mdev")?,
            RuleAction::Goto(target) => write!(f, " goto {target}")?,
            RuleAction::Nop => f.write_str(" nop")?,
            RuleAction::Blackhole => f.write_str(" blackhole")?,
            RuleAction::Unreachable => f.write_str(" unreachable")?,
            RuleAction::Prohibit => f.write_str(" prohibit")?,
        }
        if let Some(length) = self.suppress_prefix_length {
            write!(f, " suppress_prefixlength {length}")?;
        }
        if let Some(group) = self.suppress_group {
            write!(f, " suppress_ifgroup {group}")?;
        }
        write!(f, " priority {}", self.priority)
    }
}
