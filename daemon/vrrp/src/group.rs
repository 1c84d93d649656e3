//! Routers that are active together or not at all: a sync group, or the two address families of one instance.

use vouchd_wire::Time;

use crate::router::Router;
use crate::status::State;

/// Two step-backs within this many down intervals are a tie that both groups lose: see [`Group`].
const TIE_WITHIN: u32 = 4;

/// A member of a group, for [`Group::decide`].
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// Its name, for the reasons that other members give. Unique in the group.
    pub name: &'a str,
    /// The router. Its configuration has [`crate::Config::grouped`].
    pub router: &'a Router,
}

/// What a group has decided for a member, for [`crate::Input::Group`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Another member can't take part: resign and wait in Initialize.
    Hold(Reason),
    /// No other member is held up any longer.
    Release,
    /// Lower the priority by this much, if the member's own checks do not lower it more.
    Lower {
        /// Base priority less effective priority; negative if the checks of all members raise it.
        by: i16,
        /// The member whose checks lower it, and which they are.
        reason: Reason,
    },
    /// Another member calls an election now: call one too.
    CallElection,
    /// Have the kernel try the addresses, for a takeover of the group.
    Try,
    /// The takeover is off: remove what the kernel installed for it.
    EndTrial,
    /// Become active. With the reason for a member whose own Active_Down_Timer has not expired.
    TakeOver(Option<Reason>),
    /// Another member stepped back: resign and listen.
    StepBack(Reason),
}

/// Why a group moved a member: what happened to another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The other member.
    pub member: String,
    /// What happened to it.
    pub what: String,
}

/// The one state of several routers.
///
/// It has no timers of its own but one. After every input to a member, and when [`Group::deadline`] has passed, the caller asks
/// [`Group::decide`] and passes each order to its member with the same time, again and again until there is none. "Groups" on the
/// [crate's page](crate) has the rules.
#[derive(Debug, Default)]
pub struct Group {
    stepped_back_at: Option<Time>,
    /// A takeover has to wait until then, since this group lost a tie.
    not_before: Option<Time>,
}

impl Group {
    /// No decision takes more rounds of orders. A caller that stops there would notice an error in this crate.
    pub const MAX_ROUNDS: usize = 16;

    /// When to call [`Group::decide`] if no member gets an input before.
    pub fn deadline(&self) -> Option<Time> {
        self.not_before
    }

    /// What the members have to do now, each with its place in `members`. Empty as soon as they agree.
    ///
    /// `members` are in the same order on every call; at least one.
    pub fn decide(&mut self, now: Time, members: &[Member<'_>]) -> Vec<(usize, Order)> {
        self.not_before = self.not_before.filter(|at| *at > now);
        let steps = [holds, reductions, elections];
        let orders = steps.iter().map(|step| step(now, members)).find(|orders| !orders.is_empty());
        orders.unwrap_or_else(|| match members.iter().any(is_active) {
            true => self.stay_active(now, members),
            false => self.take_over(now, members),
        })
    }

    /// Some member is active: all are, or none.
    fn stay_active(&mut self, now: Time, members: &[Member<'_>]) -> Vec<(usize, Order)> {
        self.not_before = None;
        if let Some(lost) = members.iter().position(|member| member.router.follows_another()) {
            self.lose(now, members, lost);
            let reason = Reason::of(members[lost]);
            return each(members, is_active, |_| Order::StepBack(reason.clone()));
        }
        // A member that joined the group.
        let joins = |member: &Member<'_>| member.router.has_expired();
        match trial(members, joins) {
            Trial::Passed => each(members, joins, |_| Order::TakeOver(None)),
            Trial::Running(orders) => orders,
        }
    }

    /// Two groups can each be the better one on another network. Both step back, both take over, and so on. So a group that lost
    /// on the network that decides, and again soon after, leaves the other one time to take over.
    fn lose(&mut self, now: Time, members: &[Member<'_>], lost: usize) {
        let down = members.iter().map(|member| member.router.down_interval()).max().unwrap_or_default();
        let again = self.stepped_back_at.is_some_and(|at| now.since(at) <= down * TIE_WITHIN);
        // Whatever the order of the members on each router, this is the same network on both.
        let rank = |member: &Member<'_>| {
            let config = member.router.config();
            (config.vrid, config.addresses.iter().min().copied())
        };
        let deciding = members.iter().min_by_key(|member| rank(member)).map(|member| member.name);
        if again && deciding == Some(members[lost].name) {
            self.not_before = Some(now + down);
        }
        self.stepped_back_at = Some(now);
    }

    /// No member is active.
    fn take_over(&mut self, now: Time, members: &[Member<'_>]) -> Vec<(usize, Order)> {
        let all_listen = members.iter().all(|member| member.router.state() == State::Backup);
        let first = members.iter().find(|member| takes_all(member, members));
        let expired = members.iter().all(|member| member.router.has_expired());
        let waits = self.not_before.is_some_and(|at| at > now);
        if !all_listen || waits || !(expired || first.is_some()) {
            self.not_before = self.not_before.filter(|_| all_listen);
            let tries = |member: &Member<'_>| member.router.is_in_trial() || member.router.has_tried();
            let trying = members.iter().enumerate().filter(|(_, member)| tries(member));
            return trying.map(|(at, _)| (at, Order::EndTrial)).collect();
        }
        match trial(members, |_| true) {
            Trial::Running(orders) => orders,
            Trial::Passed => {
                let reason = first.map(|member| Reason::of_takeover(*member));
                each(
                    members,
                    |_| true,
                    |member| Order::TakeOver(reason.clone().filter(|_| !member.router.has_expired())),
                )
            }
        }
    }
}

impl Reason {
    fn of(member: Member<'_>) -> Self {
        Self { member: member.name.to_owned(), what: member.router.why().to_string() }
    }

    fn of_takeover(member: Member<'_>) -> Self {
        let what = member.router.takeover_reason().map(|why| why.to_string()).unwrap_or_default();
        Self { member: member.name.to_owned(), what }
    }
}

/// Whether `first` may take over for all: its active router resigned, its turn has come, and no other member has followed an
/// active router since. Then the whole group of that router has resigned, or its other networks are silent.
fn takes_all(first: &Member<'_>, members: &[Member<'_>]) -> bool {
    let Some(resigned) = first.router.resigned_at().filter(|_| first.router.has_expired()) else { return false };
    let others = members.iter().filter(|member| member.name != first.name);
    others.filter_map(|member| member.router.followed_at()).all(|at| at <= resigned)
}

/// Keeps the members in Initialize while another one can't take part.
fn holds(_: Time, members: &[Member<'_>]) -> Vec<(usize, Order)> {
    let hold = |(at, member): (usize, &Member<'_>)| {
        let takes_part = member.router.state() != State::Initialize;
        let others = members.iter().enumerate().filter(|(other, _)| *other != at);
        let reason = others
            .filter_map(|(_, other)| {
                let (why, lasting) = other.router.own_obstacle()?;
                // Something that is only not known yet costs nobody the addresses.
                (lasting || !takes_part).then(|| Reason { member: other.name.to_owned(), what: why.to_string() })
            })
            .next();
        match (member.router.held(), reason) {
            (Some(_), None) => Some((at, Order::Release)),
            (held, Some(reason)) if held != Some(&reason) => Some((at, Order::Hold(reason))),
            _ => None,
        }
    };
    members.iter().enumerate().filter_map(hold).collect()
}

/// A member's lower priority lowers all.
fn reductions(_: Time, members: &[Member<'_>]) -> Vec<(usize, Order)> {
    let Some(worst) = members.iter().max_by_key(|member| member.router.own_reduction()) else { return Vec::new() };
    let by = worst.router.own_reduction();
    let others = members.iter().enumerate().filter(|(_, member)| member.router.group_reduction() != Some(by));
    let reason = Reason { member: worst.name.to_owned(), what: worst.router.health_reason().to_owned() };
    others.map(|(at, _)| (at, Order::Lower { by, reason: reason.clone() })).collect()
}

/// Calls an election on all members in the same moment.
fn elections(now: Time, members: &[Member<'_>]) -> Vec<(usize, Order)> {
    let called = |member: &Member<'_>| member.router.called_election_at(now);
    if !members.iter().any(|member| is_active(member) && called(member)) {
        return Vec::new();
    }
    let others = |member: &Member<'_>| is_active(member) && !called(member) && !member.router.config().is_owner();
    each(members, others, |_| Order::CallElection)
}

enum Trial {
    Passed,
    Running(Vec<(usize, Order)>),
}

/// Whether the kernel accepts the addresses of all that `tested` selects.
fn trial(members: &[Member<'_>], tested: impl Fn(&Member<'_>) -> bool) -> Trial {
    let unproven = |member: &Member<'_>| tested(member) && !member.router.addresses_are_proven();
    if !members.iter().any(unproven) {
        return Trial::Passed;
    }
    let starts = members.iter().enumerate().filter(|(_, member)| unproven(member) && !member.router.is_in_trial());
    Trial::Running(starts.map(|(at, _)| (at, Order::Try)).collect())
}

fn is_active(member: &Member<'_>) -> bool {
    member.router.state() == State::Active
}

/// An order for each member that `concerns` selects.
fn each(
    members: &[Member<'_>],
    concerns: impl Fn(&Member<'_>) -> bool,
    order: impl Fn(Member<'_>) -> Order,
) -> Vec<(usize, Order)> {
    let concerned = members.iter().enumerate().filter(|(_, member)| concerns(member));
    concerned.map(|(at, member)| (at, order(*member))).collect()
}
