//! Virtual routers with one state: the instances of a `[group.NAME]`, and the families of one instance.

use std::collections::BTreeMap;

use vouchd_config::{Group as Configured, Instance};
use vouchd_ipc::status;
use vouchd_net::{InstanceKey, Network};
use vouchd_vrrp::{Group, Input, Member, Time};

use crate::virtual_router::VirtualRouter;

/// All groups of this host.
#[derive(Default)]
pub(super) struct Couples {
    couples: Vec<Couple>,
    /// The place of the group of each virtual router that has one.
    places: BTreeMap<InstanceKey, usize>,
}

struct Couple {
    name: String,
    /// With the name that other members know it by.
    members: Vec<(InstanceKey, String)>,
    group: Group,
}

impl Couples {
    pub(super) fn new(instances: &[Instance], groups: &[Configured]) -> Self {
        let members = |instance: &Instance| -> Vec<_> {
            let several = instance.families.len() > 1;
            let member = |family| {
                let name = if several { format!("{} ({family})", instance.name) } else { instance.name.clone() };
                (InstanceKey::new(&instance.name, family), name)
            };
            instance.families.iter().copied().map(member).collect()
        };
        let couple = |name: &str, members| Couple { name: name.to_owned(), members, group: Group::default() };
        let grouped = groups.iter().map(|group| {
            let named = |name: &String| instances.iter().find(|instance| instance.name == *name);
            couple(&group.name, group.instances.iter().filter_map(named).flat_map(members).collect())
        });
        let is_in_group = |instance: &&Instance| groups.iter().any(|group| group.instances.contains(&instance.name));
        let alone = instances.iter().filter(|instance| !is_in_group(instance) && instance.families.len() > 1);
        let couples: Vec<_> = grouped.chain(alone.map(|instance| couple(&instance.name, members(instance)))).collect();
        let places = couples
            .iter()
            .enumerate()
            .flat_map(|(place, couple)| couple.members.iter().map(move |(key, _)| (key.clone(), place)));
        Self { places: places.collect(), couples }
    }

    pub(super) fn contain(&self, key: &InstanceKey) -> bool {
        self.places.contains_key(key)
    }

    /// The group of a virtual router, as a place for [`Couples::settle`].
    pub(super) fn place(&self, key: &InstanceKey) -> Option<usize> {
        self.places.get(key).copied()
    }

    pub(super) fn places(&self) -> impl Iterator<Item = usize> + use<> {
        0..self.couples.len()
    }

    /// The groups that wait for a time that has come.
    pub(super) fn due(&self, now: Time) -> Vec<usize> {
        let due = |couple: &Couple| couple.group.deadline().is_some_and(|at| at <= now);
        self.couples.iter().enumerate().filter(|(_, couple)| due(couple)).map(|(place, _)| place).collect()
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        self.couples.iter().filter_map(|couple| couple.group.deadline()).min()
    }

    /// Lets a group decide after an input to one of its members, until all agree.
    pub(super) fn settle(
        &mut self,
        now: Time,
        place: usize,
        routers: &mut BTreeMap<InstanceKey, VirtualRouter>,
        network: &mut impl Network,
    ) {
        let Some(couple) = self.couples.get_mut(place) else { return };
        for _ in 0..Group::MAX_ROUNDS {
            // A member that could not be started takes no part.
            let running: Vec<_> =
                couple.members.iter().filter_map(|(key, name)| Some((key, name, routers.get(key)?))).collect();
            let members: Vec<_> =
                running.iter().map(|(_, name, router)| Member { name, router: router.protocol() }).collect();
            if members.is_empty() {
                return;
            }
            let orders = couple.group.decide(now, &members).into_iter();
            let orders: Vec<_> = orders.filter_map(|(at, order)| Some((running.get(at)?.0.clone(), order))).collect();
            if orders.is_empty() {
                return;
            }
            for (key, order) in orders {
                if let Some(router) = routers.get_mut(&key) {
                    router.handle(now, Input::Group(order), network);
                }
            }
        }
    }

    /// The group of a virtual router, for `vouchd status`.
    pub(super) fn status(&self, key: &InstanceKey) -> Option<status::Group> {
        let couple = self.couples.get(self.place(key)?)?;
        let members = couple.members.iter().map(|(_, name)| name.clone()).collect();
        Some(status::Group { name: couple.name.clone(), members, lowers: None })
    }
}
