//! Whether a packet comes from a holder of a key (draft-cassen-vrrp-auth-hmac), and was not sent before.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use vouchd_wire::hmac::{HmacKey, Sealed, Sequence, Trailer};

use crate::discard::{DiscardReason, Rejection};

/// More than any virtual router has routers. Only holders of a key get here.
const MAX_SENDERS: usize = 64;

/// The authentication by HMAC of one virtual router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hmac {
    /// At least one; no two with the same id. Packets with any of them are accepted, so that keys can be changed node by
    /// node.
    pub keys: Vec<HmacKey>,
    /// The id of the key to send with; one of `keys`.
    pub active_key: u8,
    /// What to accept.
    pub mode: HmacMode,
    /// Whether to discard a packet that is not newer than the last one of its sender.
    pub anti_replay: bool,
    /// By how much a sender's clock may differ from ours, in whole seconds. `None`: by any time.
    pub time_window: Option<Duration>,
}

/// What a router with keys sends and accepts. A router without keys discards a trailer, so a group that moves to HMAC node by
/// node first needs routers that accept one and send none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HmacMode {
    /// Sends no trailer. Accepts packets without one, and those with an authentic one.
    ReceiveOnly,
    /// Sends a trailer. Accepts packets without one, and those with any.
    SendOnly,
    /// Sends a trailer. Accepts packets without one, and those with an authentic one.
    AcceptEither,
    /// Sends a trailer. Accepts only packets with an authentic one.
    Require,
}

/// What the newest accepted packet of a router proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authenticity {
    /// Nothing: it has no trailer.
    Missing,
    /// A holder of the key with this id sent it.
    Key(u8),
    /// Nothing: the trailer is wrong, which [`HmacMode::SendOnly`] ignores.
    Wrong(DiscardReason),
}

impl Hmac {
    /// The key to send with; none while no trailer is sent.
    pub(crate) fn sending_key(&self) -> Option<&HmacKey> {
        match self.mode {
            HmacMode::ReceiveOnly => None,
            HmacMode::SendOnly | HmacMode::AcceptEither | HmacMode::Require => self.key(self.active_key),
        }
    }

    pub(crate) fn key(&self, id: u8) -> Option<&HmacKey> {
        self.keys.iter().find(|key| key.id == id)
    }
}

/// The time of a wall clock, and the newest sequence that each sender used and that we used.
#[derive(Debug, Default)]
pub(crate) struct Sequences {
    /// Since 1970. `None` until the caller has reported it.
    wall_clock: Option<Duration>,
    sent: Sequence,
    /// The newest one of each sender.
    received: BTreeMap<IpAddr, Authenticated>,
}

impl Sequences {
    pub(crate) fn set_wall_clock(&mut self, since_1970: Duration) {
        self.wall_clock = Some(since_1970);
    }

    /// The sequence of the next packet: it increases also when the wall clock steps back.
    pub(crate) fn next(&mut self) -> Sequence {
        let clock = self.wall_clock.map(Sequence::at).unwrap_or_default();
        self.sent = clock.max(self.sent.next());
        self.sent
    }

    /// Remembers an accepted packet. A full table forgets the sender that was heard least recently.
    pub(crate) fn note(&mut self, source: IpAddr, authenticated: Authenticated) {
        if self.received.len() >= MAX_SENDERS && !self.received.contains_key(&source) {
            let oldest = self.received.iter().min_by_key(|(_, newest)| newest.sequence).map(|(source, _)| *source);
            oldest.and_then(|source| self.received.remove(&source));
        }
        self.received.insert(source, authenticated);
    }

    /// Forgets what the holders of keys sent that are no longer valid: a stolen key must not silence a router after it was
    /// replaced. What the others sent still counts, so that a change of keys makes no old packet valid again.
    pub(crate) fn forget_old_keys(&mut self, old: Option<&Hmac>, new: Option<&Hmac>) {
        let key = |hmac: Option<&Hmac>, id| hmac.and_then(|hmac| hmac.key(id)).cloned();
        self.received
            .retain(|_, newest| key(new, newest.key).is_some() && key(old, newest.key) == key(new, newest.key));
    }
}

/// A packet from a holder of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Authenticated {
    pub(crate) key: u8,
    pub(crate) sequence: Sequence,
}

/// Checks the trailer of a packet. Returns what it proves, and the sequence to remember if it is authentic.
pub(crate) fn check(
    hmac: &Hmac,
    sequences: &Sequences,
    source: IpAddr,
    trailer: Option<Sealed<'_>>,
) -> Result<(Authenticity, Option<Authenticated>), Rejection> {
    let Some((trailer, message)) = trailer else {
        return match hmac.mode {
            HmacMode::Require => Err(Rejection::HmacMissing),
            HmacMode::ReceiveOnly | HmacMode::SendOnly | HmacMode::AcceptEither => Ok((Authenticity::Missing, None)),
        };
    };
    match (authenticate(hmac, sequences, source, &trailer, message), hmac.mode) {
        (Ok(authenticated), _) => Ok((Authenticity::Key(authenticated.key), Some(authenticated))),
        // It is still reported, so that an operator sees whether the next step of the roll-out would lose this router.
        (Err(rejection), HmacMode::SendOnly) => Ok((Authenticity::Wrong(rejection.reason()), None)),
        (Err(rejection), HmacMode::ReceiveOnly | HmacMode::AcceptEither | HmacMode::Require) => Err(rejection),
    }
}

fn authenticate(
    hmac: &Hmac,
    sequences: &Sequences,
    source: IpAddr,
    trailer: &Trailer,
    message: &[u8],
) -> Result<Authenticated, Rejection> {
    let key = hmac.key(trailer.key).ok_or(Rejection::HmacKey { found: trailer.key })?;
    if !trailer.is_authentic(key, source, message) {
        return Err(Rejection::HmacTag { key: trailer.key });
    }
    let Trailer { key, sequence, .. } = *trailer;
    if let (Some(window), Some(clock)) = (hmac.time_window, sequences.wall_clock) {
        let difference = sequence.seconds_between(Sequence::at(clock));
        if u64::from(difference) > window.as_secs() {
            return Err(Rejection::HmacTime { difference, window });
        }
    }
    // Only an authentic sequence counts, or a forger could silence a router by a sequence far in the future.
    if hmac.anti_replay && sequences.received.get(&source).is_some_and(|newest| sequence <= newest.sequence) {
        return Err(Rejection::HmacReplayed);
    }
    Ok(Authenticated { key, sequence })
}
