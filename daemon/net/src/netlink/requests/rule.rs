//! Requests about rules of policy routing.

use std::net::IpAddr;
use std::{io, pin::pin};

use futures_util::StreamExt;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::route::RouteProtocol;
use netlink_packet_route::rule::{
    RuleAction as Action, RuleAttribute, RuleFlags, RuleMessage, RulePortRange, RuleUidRange,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::IpVersion;
use vouchd_iproute::{Family, FwMark, Prefix, Rule, RuleAction};

use super::RequestSocket;
use crate::netlink::OUR_PROTOCOL;

impl RequestSocket {
    /// Adds a rule with our mark. `EEXIST` if there is the same rule, whatever its mark.
    ///
    /// # Errors
    /// As [`RequestSocket::send`].
    pub(crate) fn add_rule(&mut self, rule: &Rule) -> io::Result<()> {
        self.change_message(RouteNetlinkMessage::NewRule(message(rule)), NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Removes a rule with our mark. `ENOENT` if it is not there.
    ///
    /// # Errors
    /// As [`RequestSocket::send`].
    pub(crate) fn remove_rule(&mut self, rule: &Rule) -> io::Result<()> {
        self.change_message(RouteNetlinkMessage::DelRule(message(rule)), 0)
    }

    /// Returns all rules of both families that have our mark.
    ///
    /// # Errors
    /// As [`RequestSocket::send`].
    pub(crate) fn our_rules(&mut self) -> io::Result<Vec<Rule>> {
        let mut found = Vec::new();
        for version in [IpVersion::V4, IpVersion::V6] {
            let request = self.handle.rule().get(version);
            let answers: Vec<RuleMessage> = self.send(async {
                let mut answers = pin!(request.execute());
                let mut all = Vec::new();
                while let Some(answer) = answers.next().await {
                    all.push(answer?);
                }
                Ok::<_, rtnetlink::Error>(all)
            })?;
            let is_ours = |message: &RuleMessage| message.attributes.contains(&RuleAttribute::Protocol(ours()));
            found.extend(answers.iter().filter(|message| is_ours(message)).filter_map(rule));
        }
        Ok(found)
    }
}

fn ours() -> RouteProtocol {
    RouteProtocol::Other(OUR_PROTOCOL)
}

fn message(rule: &Rule) -> RuleMessage {
    let mut message = RuleMessage::default();
    let header = &mut message.header;
    header.family = match rule.family {
        Family::V4 => AddressFamily::Inet,
        Family::V6 => AddressFamily::Inet6,
    };
    header.src_len = rule.from.length;
    header.dst_len = rule.to.length;
    header.tos = rule.tos;
    if rule.invert {
        header.flags = RuleFlags::Invert;
    }
    let all = &mut message.attributes;
    all.push(RuleAttribute::Protocol(ours()));
    all.push(RuleAttribute::Priority(rule.priority));
    header.action = match rule.action {
        RuleAction::Lookup(table) => {
            header.table = u8::try_from(table).unwrap_or(0);
            all.push(RuleAttribute::Table(table));
            Action::ToTable
        }
        RuleAction::L3Mdev => {
            all.push(RuleAttribute::L3MDev(true));
            Action::ToTable
        }
        RuleAction::Goto(target) => {
            all.push(RuleAttribute::Goto(target));
            Action::Goto
        }
        RuleAction::Nop => Action::Nop,
        RuleAction::Blackhole => Action::Blackhole,
        RuleAction::Unreachable => Action::Unreachable,
        RuleAction::Prohibit => Action::Prohibit,
    };
    if rule.from.length > 0 {
        all.push(RuleAttribute::Source(rule.from.address));
    }
    if rule.to.length > 0 {
        all.push(RuleAttribute::Destination(rule.to.address));
    }
    all.extend(rule.iif.clone().map(RuleAttribute::Iifname));
    all.extend(rule.oif.clone().map(RuleAttribute::Oifname));
    if let Some(FwMark { mark, mask }) = rule.fwmark {
        all.extend([RuleAttribute::FwMark(mark), RuleAttribute::FwMask(mask)]);
    }
    all.extend(rule.ip_protocol.map(|protocol| RuleAttribute::IpProtocol(protocol.into())));
    all.extend(rule.source_ports.map(|(start, end)| RuleAttribute::SourcePortRange(RulePortRange { start, end })));
    all.extend(
        rule.destination_ports.map(|(start, end)| RuleAttribute::DestinationPortRange(RulePortRange { start, end })),
    );
    all.extend(rule.users.map(|(start, end)| RuleAttribute::UidRange(RuleUidRange { start, end })));
    all.extend(rule.suppress_prefix_length.map(RuleAttribute::SuppressPrefixLen));
    all.extend(rule.suppress_group.map(RuleAttribute::SuppressIfGroup));
    message
}

/// Reads a rule of a dump. `None` for one that no [`Rule`] can express.
fn rule(message: &RuleMessage) -> Option<Rule> {
    let header = &message.header;
    let (family, nothing): (_, IpAddr) = match header.family {
        AddressFamily::Inet => (Family::V4, std::net::Ipv4Addr::UNSPECIFIED.into()),
        AddressFamily::Inet6 => (Family::V6, std::net::Ipv6Addr::UNSPECIFIED.into()),
        _ => return None,
    };
    let mut table = u32::from(header.table);
    let (mut goto, mut l3mdev) = (0, false);
    let (mut mark, mut mask) = (None, u32::MAX);
    let mut rule = Rule {
        family,
        priority: 0,
        invert: header.flags.contains(RuleFlags::Invert),
        from: Prefix { address: nothing, length: header.src_len },
        to: Prefix { address: nothing, length: header.dst_len },
        iif: None,
        oif: None,
        fwmark: None,
        tos: header.tos,
        ip_protocol: None,
        source_ports: None,
        destination_ports: None,
        users: None,
        action: RuleAction::Nop,
        suppress_prefix_length: None,
        suppress_group: None,
    };
    for attribute in &message.attributes {
        match attribute {
            RuleAttribute::Priority(found) => rule.priority = *found,
            RuleAttribute::Table(found) => table = *found,
            RuleAttribute::Goto(found) => goto = *found,
            RuleAttribute::L3MDev(found) => l3mdev = *found,
            RuleAttribute::Source(found) => rule.from.address = *found,
            RuleAttribute::Destination(found) => rule.to.address = *found,
            RuleAttribute::Iifname(found) => rule.iif = Some(found.clone()),
            RuleAttribute::Oifname(found) => rule.oif = Some(found.clone()),
            RuleAttribute::FwMark(found) => mark = Some(*found),
            RuleAttribute::FwMask(found) => mask = *found,
            RuleAttribute::IpProtocol(found) => rule.ip_protocol = Some(u8::from(*found)),
            RuleAttribute::SourcePortRange(range) => rule.source_ports = Some((range.start, range.end)),
            RuleAttribute::DestinationPortRange(range) => rule.destination_ports = Some((range.start, range.end)),
            RuleAttribute::UidRange(range) => rule.users = Some((range.start, range.end)),
            // The kernel shows -1 where there is none.
            RuleAttribute::SuppressPrefixLen(found) => {
                rule.suppress_prefix_length = Some(*found).filter(|n| *n != u32::MAX)
            }
            RuleAttribute::SuppressIfGroup(found) => rule.suppress_group = Some(*found).filter(|n| *n != u32::MAX),
            _ => {}
        }
    }
    // The kernel leaves out a mark of 0, but not its mask.
    let has_mask = message.attributes.iter().any(|attribute| matches!(attribute, RuleAttribute::FwMask(_)));
    rule.fwmark = (mark.is_some() || has_mask).then_some(FwMark { mark: mark.unwrap_or(0), mask });
    rule.action = match header.action {
        Action::ToTable if l3mdev => RuleAction::L3Mdev,
        Action::ToTable => RuleAction::Lookup(table),
        Action::Goto => RuleAction::Goto(goto),
        Action::Nop => RuleAction::Nop,
        Action::Blackhole => RuleAction::Blackhole,
        Action::Unreachable => RuleAction::Unreachable,
        Action::Prohibit => RuleAction::Prohibit,
        _ => return None,
    };
    Some(rule)
}
