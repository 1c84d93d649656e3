//! A virtual router in `vouchd status`.

use std::time::SystemTime;

use vouchd_config::Instance;
use vouchd_ipc::status;
use vouchd_net::{Presence, RoutingItem, VirtualAddress};
use vouchd_vrrp::{DiscardReason, State, Time};
use vouchd_wire::Priority;

use super::VirtualRouter;
use super::peers::peers;

impl VirtualRouter {
    pub(crate) fn status(&self, now: Time, group: Option<status::Group>) -> status::Instance {
        let Instance { name, interface, version, priority, preempt, .. } = &self.config;
        let counters = self.router.counters();
        let state = self.router.state();
        let since = SystemTime::now() - now.since(self.router.since());
        let discarded = DiscardReason::ALL
            .into_iter()
            .map(|reason| (reason.name().to_owned(), counters.discarded(reason)))
            .filter(|(_, count)| *count > 0)
            .collect();
        status::Instance {
            name: name.clone(),
            interface: interface.clone(),
            family: self.family().to_string(),
            virtual_router_id: self.vrid(),
            version: version.number(),
            state: state.name().to_owned(),
            reason: self.reason(self.router.why(), now),
            cause: self.router.why().name().to_owned(),
            since: status::time(since),
            preempt: *preempt,
            pair: self.router.hand_over(now).map(|hand_over| hand_over.to_string()),
            group: group.map(|group| status::Group {
                lowers: self.router.lowered_by_group().map(|(by, reason)| status::Lowered {
                    by,
                    member: reason.member.clone(),
                    reason: reason.what.clone(),
                }),
                ..group
            }),
            priority: status::Priority {
                base: priority.get(),
                effective: (state != State::Initialize).then(|| self.router.priority().get()),
                terms: Vec::new(),
            },
            source: self.router.source().map(|source| source.to_string()),
            active: self.active_router(state),
            peers: peers(&self.router, now),
            addresses: self.addresses.iter().map(|address| self.address_status(now, address)).collect(),
            routes: self.config.routes.iter().cloned().map(RoutingItem::Route).map(|it| self.routing(&it)).collect(),
            rules: self.config.rules.iter().cloned().map(RoutingItem::Rule).map(|it| self.routing(&it)).collect(),
            adopt: self.config.adopt,
            virtual_mac: self.virtual_mac.status(&self.config),
            accept: self.config.accept,
            accept_error: self.not_dropped.as_ref().map(ToString::to_string),
            advertisements: status::Advertisements {
                sent: counters.sent,
                sent_priority_zero: counters.priority_zero_sent,
                send_errors: self.send_errors,
                send_error: self.failing.values().next().cloned(),
                received: counters.received,
                received_priority_zero: counters.priority_zero_received,
                discarded,
            },
            transitions: counters.transitions,
            elections_called: counters.elections,
        }
    }

    fn active_router(&self, state: State) -> Option<status::Active> {
        match state {
            State::Active => Some(status::Active {
                address: self.router.source()?.to_string(),
                priority: self.router.priority().get(),
                checksum: None,
                mac: None,
            }),
            State::Initialize | State::Backup => self.router.active_peer().map(|peer| status::Active {
                address: peer.address.to_string(),
                priority: peer.priority.get(),
                checksum: peer.checksum_form.map(|form| form.name().to_owned()),
                mac: self.conflicts.active_mac().map(|mac| mac.to_string()),
            }),
        }
    }

    fn routing(&self, item: &RoutingItem) -> status::Routing {
        let state = self.routing.iter().find(|state| state.item == *item);
        let text = match item {
            RoutingItem::Route(route) => route.to_string(),
            RoutingItem::Rule(rule) => rule.to_string(),
        };
        status::Routing {
            text,
            installed: state.is_some_and(|state| state.installed),
            error: state.and_then(|state| state.error.as_ref()).map(ToString::to_string),
        }
    }

    fn address_status(&self, now: Time, address: &VirtualAddress) -> status::Address {
        let conflict = self.conflicts.conflict(now, address.address);
        let state = self.states.iter().find(|state| state.address == *address);
        let copies = state.filter(|_| self.config.priority != Priority::OWNER).map(|state| &state.copies);
        status::Address {
            address: address.address.to_string(),
            prefix: address.prefix,
            interface: self.is_elsewhere(address).then(|| address.interface.to_string()),
            extra: self.config.extra_addresses.iter().any(|extra| extra.ip == address.address),
            installed: state.is_some_and(|state| state.presence == Presence::Ours),
            host: state.is_some_and(|state| state.presence == Presence::Host),
            error: state.and_then(|state| state.error.as_ref()).map(ToString::to_string),
            answered_by: self.conflicts.holder(address.address).map(|mac| mac.to_string()),
            conflict: conflict.map(|conflict| status::Conflict {
                mac: conflict.mac.to_string(),
                count: conflict.count,
                last: status::time(SystemTime::now() - now.since(conflict.last)),
                since: conflict.since.map(|since| status::time(SystemTime::now() - now.since(since))),
            }),
            copies: copies
                .into_iter()
                .flatten()
                .map(|copy| status::Copy {
                    interface: copy.at.interface.to_string(),
                    address: format!("{}/{}", copy.at.address, copy.at.prefix),
                    own: copy.own,
                })
                .collect(),
        }
    }
}
