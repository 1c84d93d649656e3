//! What a router is told once: its identity, its rank and how it speaks. Everything that changes while it runs comes
//! as [`crate::Input`].

use std::net::IpAddr;
use std::time::Duration;

use thiserror::Error;
use vouchd_wire::{AdvertInterval, Advertisement, Auth, ChecksumForm, EncodeError, Priority, Version, Vrid};

/// The configuration of one virtual router on one interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The virtual router.
    pub vrid: Vrid,
    /// The version spoken; the other one is discarded.
    pub version: Version,
    /// The configured priority, 1..=254, or [`Priority::OWNER`] if the addresses are this machine's own.
    pub priority: Priority,
    /// The time between this router's own advertisements.
    pub interval: AdvertInterval,
    /// Whether a better router takes over from a worse one that works. An owner always does.
    pub preempt: bool,
    /// The virtual addresses, 1..=255 of one family; over IPv6 a link-local one first.
    pub addresses: Vec<IpAddr>,
    /// Version 2's password.
    pub auth: Auth,
    /// The only routers to speak with, by unicast. `None`: whoever is in the multicast group.
    pub peers: Option<Vec<IpAddr>>,
    /// The checksum form sent in version 3 over IPv4. Both are accepted.
    pub checksum: ChecksumForm,
    /// Whether addresses are installed for [`crate::lease`] only, and renewed, instead of for ever.
    pub lease: bool,
    /// How the move of the addresses is announced.
    pub announce: Announcements,
}

/// When and how often the addresses' new place is announced by gratuitous ARP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announcements {
    /// How often each address is announced when this router becomes active.
    pub repeat: u32,
    /// After this time once more, for what was lost or not listening yet; zero: never.
    pub delay: Duration,
    /// Again and again while active, each time this long after the last; zero: never.
    pub refresh: Duration,
    /// How often each address is announced in a refresh.
    pub refresh_repeat: u32,
}

impl Default for Announcements {
    /// keepalived's: five times at once, five times after 5 s, no refresh.
    fn default() -> Self {
        Self { repeat: 5, delay: Duration::from_secs(5), refresh: Duration::ZERO, refresh_repeat: 1 }
    }
}

/// Why a [`Config`] makes no router.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// Its advertisements could not be encoded.
    #[error(transparent)]
    Advertisement(#[from] EncodeError),
    /// 0 is what a router says when it stops.
    #[error("the priority is 0, expected 1 to 254, or 255 for the owner of the addresses")]
    PriorityZero,
    /// Unicast with nobody to speak to; it would be silent and active for ever.
    #[error("unicast without a peer: name at least one, or leave unicast out to use multicast")]
    NoPeers,
    /// A peer that can't be spoken to over the addresses' family.
    #[error("the peer {0} is not a unicast address of the virtual addresses' family")]
    Peer(IpAddr),
    /// A running router can't become another one.
    #[error("{0} can't change while the router runs: stop it and start a new one")]
    Identity(&'static str),
}

impl Config {
    /// Whether a [`crate::Router`] can run with it.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.advertisement(self.priority).check()?;
        if self.priority == Priority::RESIGN {
            return Err(ConfigError::PriorityZero);
        }
        let Some(peers) = &self.peers else { return Ok(()) };
        if peers.is_empty() {
            return Err(ConfigError::NoPeers);
        }
        let unusable = |peer: &&IpAddr| !self.is_family_of(**peer) || peer.is_multicast() || peer.is_unspecified();
        peers.iter().find(unusable).map_or(Ok(()), |peer| Err(ConfigError::Peer(*peer)))
    }

    /// Whether the router owns the addresses.
    pub fn is_owner(&self) -> bool {
        self.priority == Priority::OWNER
    }

    /// What a router with this configuration sends at `priority`.
    pub(crate) fn advertisement(&self, priority: Priority) -> Advertisement {
        Advertisement {
            version: self.version,
            vrid: self.vrid,
            priority,
            interval: self.interval,
            addresses: self.addresses.clone(),
            auth: self.auth,
        }
    }

    pub(crate) fn is_family_of(&self, address: IpAddr) -> bool {
        self.addresses.first().is_none_or(|first| first.is_ipv4() == address.is_ipv4())
    }

    /// An owner preempts whatever is configured (RFC 9568 section 6.1).
    pub(crate) fn preempts(&self) -> bool {
        self.preempt || self.is_owner()
    }
}
