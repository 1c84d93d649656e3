//! Whether a packet comes from a holder of a key (draft-cassen-vrrp-auth-hmac), and was not sent before.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use vouchd_wire::hmac::{HmacKey, Sequence, Trailer};

use crate::discard::Rejection;

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

/// What a router with keys accepts, for a change from no authentication to HMAC node by node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HmacMode {
    /// Packets without a trailer, and those with any trailer.
    SendOnly,
    /// Packets without a trailer, and those with an authentic one.
    AcceptEither,
    /// Packets with an authentic trailer.
    Require,
}

impl Hmac {
    /// The key to send with.
    pub(crate) fn sending_key(&self) -> Option<&HmacKey> {
        self.key(self.active_key)
    }

    fn key(&self, id: u8) -> Option<&HmacKey> {
        self.keys.iter().find(|key| key.id == id)
    }
}

/// The time of a wall clock, and the newest sequence that each sender used and that we used.
#[derive(Debug, Default)]
pub(crate) struct Sequences {
    /// Since 1970. `None` until the caller has told it.
    wall_clock: Option<Duration>,
    sent: Sequence,
    received: BTreeMap<IpAddr, Sequence>,
    /// The key of the newest packet of each sender; none for one without a trailer.
    keys: BTreeMap<IpAddr, u8>,
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
    pub(crate) fn note(&mut self, source: IpAddr, authenticated: Option<Authenticated>) {
        let Some(Authenticated { key, sequence }) = authenticated else {
            self.keys.remove(&source);
            return;
        };
        if self.received.len() >= MAX_SENDERS && !self.received.contains_key(&source) {
            let oldest = self.received.iter().min_by_key(|(_, sequence)| **sequence).map(|(source, _)| *source);
            if let Some(source) = oldest {
                self.received.remove(&source);
                self.keys.remove(&source);
            }
        }
        self.received.insert(source, sequence);
        self.keys.insert(source, key);
    }

    /// The key with which `source` authenticated its newest packet.
    pub(crate) fn key_of(&self, source: IpAddr) -> Option<u8> {
        self.keys.get(&source).copied()
    }

    /// Forgets what was received, for a change of the keys.
    pub(crate) fn forget_received(&mut self) {
        self.received.clear();
    }
}

/// A packet from a holder of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Authenticated {
    pub(crate) key: u8,
    pub(crate) sequence: Sequence,
}

/// Checks the trailer of a packet. `Ok(None)` if it has none that counts, and needs none.
pub(crate) fn check(
    hmac: &Hmac,
    sequences: &Sequences,
    source: IpAddr,
    trailer: Option<(Trailer, &[u8])>,
) -> Result<Option<Authenticated>, Rejection> {
    let Some((trailer, message)) = trailer else {
        return match hmac.mode {
            HmacMode::Require => Err(Rejection::HmacMissing),
            HmacMode::SendOnly | HmacMode::AcceptEither => Ok(None),
        };
    };
    if hmac.mode == HmacMode::SendOnly {
        return Ok(None);
    }
    let key = hmac.key(trailer.key).ok_or(Rejection::HmacKey { found: trailer.key })?;
    if !trailer.is_authentic(key, source, message) {
        return Err(Rejection::HmacTag { key: trailer.key });
    }
    let Trailer { key, sequence, .. } = trailer;
    if let (Some(window), Some(clock)) = (hmac.time_window, sequences.wall_clock) {
        let difference = sequence.seconds_between(Sequence::at(clock));
        if u64::from(difference) > window.as_secs() {
            return Err(Rejection::HmacTime { difference, window });
        }
    }
    // Only an authentic sequence counts, or a forger could silence a router by a sequence far in the future.
    if hmac.anti_replay && sequences.received.get(&source).is_some_and(|newest| sequence <= *newest) {
        return Err(Rejection::HmacReplayed);
    }
    Ok(Some(Authenticated { key, sequence }))
}
