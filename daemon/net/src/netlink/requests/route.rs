//! Requests about routes.

use std::net::IpAddr;
use std::{io, pin::pin};

use futures_util::StreamExt;
use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteMetric, RouteNextHop, RouteNextHopFlags,
    RoutePreference, RouteProtocol, RouteScope, RouteType, RouteVia,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use vouchd_iproute::{Family, Metric, Metrics, NextHop, Preference, Prefix, Route, RouteId};

use super::{RequestSocket, errors_of, finished, kernel_error};
use crate::netlink::OUR_PROTOCOL;

/// How to carry out a change of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RouteOrder {
    /// Adds it. `EEXIST` if there is another with the same [`RouteId`].
    Add,
    /// Puts it in place of the one with the same [`RouteId`], without a gap.
    Replace,
    /// Gives an IPv6 route a new lifetime. `EEXIST` is the success; without it the route was not there, and is now.
    Renew,
    /// Removes it. `ESRCH` if it is not there.
    Remove,
}

/// A route with our mark that the kernel has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeldRoute {
    pub(crate) id: RouteId,
    /// The request that removes it.
    pub(crate) removal: RouteMessage,
}

impl RequestSocket {
    /// Carries out one change.
    ///
    /// # Errors
    /// As [`RequestSocket::send`].
    pub(crate) fn change_route(&mut self, order: RouteOrder, message: RouteMessage) -> io::Result<()> {
        match order {
            RouteOrder::Add => self.change_message(RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_EXCL),
            RouteOrder::Replace => {
                self.change_message(RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_REPLACE)
            }
            RouteOrder::Renew => self.change_message(RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE),
            RouteOrder::Remove => self.change_message(RouteNetlinkMessage::DelRoute(message), 0),
        }
    }

    /// Sends a message that changes something, with these flags besides the usual ones.
    ///
    /// # Errors
    /// As [`RequestSocket::send`].
    pub(super) fn change_message(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        let mut request = NetlinkMessage::from(message);
        request.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        let answers = self.handle.request(request).map_err(kernel_error)?;
        self.send(finished(errors_of(answers)))
    }

    /// Returns all routes of both families that have our mark. The kernel filters them, if the socket is
    /// [strict](RequestSocket::be_strict): a host may have a million others.
    ///
    /// # Errors
    /// As [`RequestSocket::send`].
    pub(crate) fn our_routes(&mut self) -> io::Result<Vec<HeldRoute>> {
        let mut found = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut filter = RouteMessage::default();
            filter.header.address_family = family;
            filter.header.protocol = ours();
            let request = self.handle.route().get(filter);
            let answers: Vec<RouteMessage> = self.send(async {
                let mut answers = pin!(request.execute());
                let mut all = Vec::new();
                while let Some(answer) = answers.next().await {
                    all.push(answer?);
                }
                Ok::<_, rtnetlink::Error>(all)
            })?;
            found.extend(answers.into_iter().filter(|answer| answer.header.protocol == ours()).filter_map(held));
        }
        Ok(found)
    }
}

fn ours() -> RouteProtocol {
    RouteProtocol::Other(OUR_PROTOCOL)
}

/// The message of a route. `index_of` finds interfaces by name; `expires` is the lifetime in seconds.
///
/// # Errors
/// The name of an interface that does not exist.
pub(crate) fn route_message(
    route: &Route,
    index_of: impl Fn(&str) -> Option<u32>,
    expires: Option<u32>,
) -> Result<RouteMessage, String> {
    let family = route.family();
    let mut message = RouteMessage::default();
    let header = &mut message.header;
    header.address_family = match family {
        Family::V4 => AddressFamily::Inet,
        Family::V6 => AddressFamily::Inet6,
    };
    header.destination_prefix_length = route.destination.length;
    header.tos = route.tos;
    header.table = u8::try_from(route.table).unwrap_or(0);
    header.protocol = ours();
    header.scope = RouteScope::from(route.scope);
    header.kind = RouteType::from(route.kind as u8);
    let attributes = &mut message.attributes;
    attributes.push(RouteAttribute::Table(route.table));
    if route.destination.length > 0 {
        attributes.push(RouteAttribute::Destination(address(route.destination.address)));
    }
    if let Some(from) = route.from {
        header.source_prefix_length = from.length;
        attributes.push(RouteAttribute::Source(address(from.address)));
    }
    if route.metric != 0 {
        attributes.push(RouteAttribute::Priority(route.metric));
    }
    if let Some(source) = route.source {
        attributes.push(RouteAttribute::PrefSource(address(source)));
    }
    if !route.metrics.is_empty() {
        attributes.push(RouteAttribute::Metrics(metrics(&route.metrics)));
    }
    match route.preference {
        Preference::Medium => {}
        Preference::Low => attributes.push(RouteAttribute::Preference(RoutePreference::Low)),
        Preference::High => attributes.push(RouteAttribute::Preference(RoutePreference::High)),
    }
    if let Some(seconds) = expires {
        attributes.push(RouteAttribute::Expires(seconds));
    }
    let index = |hop: &NextHop| match &hop.interface {
        Some(name) => index_of(name).map(Some).ok_or_else(|| name.clone()),
        None => Ok(None),
    };
    match route.next_hops.as_slice() {
        [] => {}
        [hop] => {
            attributes.extend(hop.via.map(|via| gateway(via, family)));
            attributes.extend(index(hop)?.map(RouteAttribute::Oif));
            if hop.onlink {
                header.flags = RouteFlags::Onlink;
            }
        }
        hops => {
            let mut all = Vec::new();
            for hop in hops {
                let mut next = RouteNextHop::default();
                next.interface_index = index(hop)?.unwrap_or(0);
                // The kernel counts from 0.
                next.hops = u8::try_from(hop.weight.saturating_sub(1)).unwrap_or(u8::MAX);
                if hop.onlink {
                    next.flags = RouteNextHopFlags::Onlink;
                }
                next.attributes.extend(hop.via.map(|via| gateway(via, family)));
                all.push(next);
            }
            attributes.push(RouteAttribute::MultiPath(all));
        }
    }
    Ok(message)
}

fn address(address: IpAddr) -> RouteAddress {
    match address {
        IpAddr::V4(address) => RouteAddress::Inet(address),
        IpAddr::V6(address) => RouteAddress::Inet6(address),
    }
}

fn gateway(via: IpAddr, family: Family) -> RouteAttribute {
    match (via, family) {
        (IpAddr::V6(via), Family::V4) => RouteAttribute::Via(RouteVia::Inet6(via)),
        (via, Family::V4 | Family::V6) => RouteAttribute::Gateway(address(via)),
    }
}

fn metrics(metrics: &Metrics) -> Vec<RouteMetric> {
    let mut all = Vec::new();
    if metrics.lock() != 0 {
        all.push(RouteMetric::Lock(metrics.lock()));
    }
    for (metric, value) in metrics.values().iter().copied() {
        all.push(match metric {
            Metric::Mtu => RouteMetric::Mtu(value),
            Metric::Window => RouteMetric::Window(value),
            Metric::Rtt => RouteMetric::Rtt(value),
            Metric::RttVar => RouteMetric::RttVar(value),
            Metric::SsThresh => RouteMetric::SsThresh(value),
            Metric::Cwnd => RouteMetric::Cwnd(value),
            Metric::AdvMss => RouteMetric::Advmss(value),
            Metric::Reordering => RouteMetric::Reordering(value),
            Metric::HopLimit => RouteMetric::Hoplimit(value),
            Metric::InitCwnd => RouteMetric::InitCwnd(value),
            Metric::Features => RouteMetric::Features(value),
            Metric::RtoMin => RouteMetric::RtoMin(value),
            Metric::InitRwnd => RouteMetric::InitRwnd(value),
            Metric::QuickAck => RouteMetric::QuickAck(value),
            Metric::FastOpenNoCookie => RouteMetric::FastopenNoCookie(value),
        });
    }
    all.extend(metrics.congestion().map(|name| RouteMetric::CcAlgo(name.to_owned())));
    all
}

/// Reads a route of a dump. `None` for one of a table that is none (a cached one).
fn held(message: RouteMessage) -> Option<HeldRoute> {
    let header = &message.header;
    let nothing: IpAddr = match header.address_family {
        AddressFamily::Inet => IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
        AddressFamily::Inet6 => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    if header.flags.contains(RouteFlags::Cloned) {
        return None;
    }
    let (mut destination, mut source, mut table, mut metric) = (nothing, nothing, u32::from(header.table), 0);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(found) => destination = ip(found)?,
            RouteAttribute::Source(found) => source = ip(found)?,
            RouteAttribute::Table(found) => table = *found,
            RouteAttribute::Priority(found) => metric = *found,
            _ => {}
        }
    }
    let from = Prefix { address: source, length: header.source_prefix_length };
    let id = RouteId {
        destination: Prefix { address: destination, length: header.destination_prefix_length },
        from: Some(from).filter(|from| from.length > 0),
        tos: header.tos,
        table,
        metric,
    };
    // Next hops and metrics are as the kernel shows them, not as a request writes them. The rest is enough.
    let mut removal = message.clone();
    removal.header.flags = RouteFlags::empty();
    removal.attributes.retain(|attribute| {
        matches!(
            attribute,
            RouteAttribute::Destination(_)
                | RouteAttribute::Source(_)
                | RouteAttribute::Table(_)
                | RouteAttribute::Priority(_)
        )
    });
    Some(HeldRoute { id, removal })
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some(IpAddr::V4(*address)),
        RouteAddress::Inet6(address) => Some(IpAddr::V6(*address)),
        _ => None,
    }
}
