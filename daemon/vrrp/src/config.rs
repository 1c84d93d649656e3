//! The configuration of a router: its identity, its priority and how it advertises. Everything else that changes while it
//! runs comes as [`crate::Input`].

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use thiserror::Error;
use vouchd_wire::{
    AdvertInterval, Advertisement, Auth, ChecksumForm, EncodeError, Family, Priority, Version, Vrid, group_for,
};

use crate::authentication::Hmac;

/// The configuration of one virtual router on one interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The virtual router.
    pub vrid: Vrid,
    /// The version to send. Packets of the other version are discarded, unless `also_version_2`.
    pub version: Version,
    /// Whether to send and accept version 2 too (RFC 9568 section 8.4). Only with version 3, over IPv4, and at an interval of
    /// whole seconds, since version 2 has no other.
    pub also_version_2: bool,
    /// The configured priority: 1..=254, or [`Priority::OWNER`] if the addresses belong to this machine.
    pub priority: Priority,
    /// Advertisement_Interval of this router.
    pub interval: AdvertInterval,
    /// Preempt_Mode: whether this router takes over from a worse active router. An owner always does.
    pub preempt: bool,
    /// How long to wait before taking over from a worse active router, counted from when it was first heard. The down interval
    /// is the least; an owner never waits longer. No meaning without `preempt`.
    pub preempt_delay: Duration,
    /// How long after it was made this router begins to take part.
    pub startup_delay: Duration,
    /// The intervals of silence in Active_Down_Interval, 1..=100; 3 in every RFC.
    pub down_timer_adverts: u8,
    /// The virtual router has two routers, so that a hand-over needs no Skew_Time: see "Instant hand-over in a pair" on the
    /// [crate's page](crate).
    pub pair: bool,
    /// The router is a member of a [`crate::Group`], which decides when it becomes active.
    pub grouped: bool,
    /// The family of a router without addresses. Otherwise that of the addresses counts.
    pub family: Family,
    /// The virtual addresses: at most 255 of one family, over IPv6 a link-local one first. A router without addresses has a
    /// state and advertises no address; it accepts only advertisements without addresses.
    pub addresses: Vec<IpAddr>,
    /// The simple text authentication of version 2.
    pub auth: Auth,
    /// The authentication by HMAC, in both versions.
    pub hmac: Option<Hmac>,
    /// The only routers to exchange advertisements with, by unicast. `None`: multicast.
    pub peers: Option<Vec<IpAddr>>,
    /// The least TTL or hop limit on arrival from a peer that routers lie between. 255 for every other sender.
    pub hop_limits: BTreeMap<IpAddr, u8>,
    /// The multicast group, if it is another one than 224.0.0.18 or ff02::12. No meaning with `peers`.
    pub multicast_group: Option<IpAddr>,
    /// The checksum form to send in version 3 over IPv4. Both forms are accepted.
    pub checksum: ChecksumForm,
    /// Whether addresses are installed for [`crate::lease`] and renewed, instead of without limit.
    pub lease: bool,
    /// How to announce the addresses.
    pub announce: Announcements,
}

/// When and how often to announce the addresses by gratuitous ARP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announcements {
    /// Packets per address when this router becomes active.
    pub repeat: u32,
    /// The time after which it announces them once more, for hosts that missed the first round. Zero: never.
    pub delay: Duration,
    /// The interval of further announcements while active. Zero: none.
    pub refresh: Duration,
    /// Packets per address in each of these.
    pub refresh_repeat: u32,
}

impl Default for Announcements {
    /// As keepalived: five packets at once, five after 5 s, no refresh.
    fn default() -> Self {
        Self { repeat: 5, delay: Duration::from_secs(5), refresh: Duration::ZERO, refresh_repeat: 1 }
    }
}

/// Why a [`crate::Router`] can't run with a [`Config`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// Its advertisements can't be encoded.
    #[error(transparent)]
    Advertisement(#[from] EncodeError),
    /// See [`Config::also_version_2`].
    #[error("both versions at once need IPv4, and an interval of whole seconds")]
    AlsoVersion2,
    /// Version 2 has no IPv6.
    #[error("version 2 over IPv6, which requires version 3")]
    Ipv6NeedsV3,
    /// Priority 0 is reserved for a router that resigns.
    #[error("the priority is 0; expected 1 to 254, or 255 for the owner of the addresses")]
    PriorityZero,
    /// Unicast without a peer: the router would reach nobody and always be active.
    #[error("unicast without a peer: list at least one, or leave unicast out to use multicast")]
    NoPeers,
    /// Without an interval of silence, a backup would take over from a router that works.
    #[error("down_timer_adverts is {0}; expected 1 to 100")]
    DownTimerAdverts(u8),
    /// A peer that can't be reached with the addresses' family.
    #[error("the peer {0} is not a unicast address of the virtual addresses' family")]
    Peer(IpAddr),
    /// A multicast group that advertisements can't go to.
    #[error("{0} is not a multicast group of the virtual addresses' family")]
    Group(IpAddr),
    /// The key to send with is missing.
    #[error("there is no HMAC key {0}, which is the active one")]
    NoActiveKey(u8),
    /// A change that makes it another virtual router.
    #[error("{0} can't change while the router runs: stop it and start a new one")]
    Identity(&'static str),
}

impl Config {
    /// Checks that a [`crate::Router`] can run with it.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.advertisement(self.priority).check()?;
        let fits_version_2 = self.family() == Family::V4 && self.interval.fits(Version::V2);
        if self.also_version_2 && !(self.version == Version::V3 && fits_version_2) {
            return Err(ConfigError::AlsoVersion2);
        }
        if self.version == Version::V2 && self.family() == Family::V6 {
            return Err(ConfigError::Ipv6NeedsV3);
        }
        if self.priority == Priority::RESIGN {
            return Err(ConfigError::PriorityZero);
        }
        if let Some(hmac) = self.hmac.as_ref().filter(|hmac| hmac.key(hmac.active_key).is_none()) {
            return Err(ConfigError::NoActiveKey(hmac.active_key));
        }
        if !(1..=100).contains(&self.down_timer_adverts) {
            return Err(ConfigError::DownTimerAdverts(self.down_timer_adverts));
        }
        if let Some(group) = self.multicast_group.filter(|group| !group.is_multicast() || !self.is_family_of(*group)) {
            return Err(ConfigError::Group(group));
        }
        let Some(peers) = &self.peers else { return Ok(()) };
        if peers.is_empty() {
            return Err(ConfigError::NoPeers);
        }
        let unusable = |peer: &&IpAddr| !self.is_family_of(**peer) || peer.is_multicast() || peer.is_unspecified();
        peers.iter().find(unusable).map_or(Ok(()), |peer| Err(ConfigError::Peer(*peer)))
    }

    /// The multicast group of the family of `address`.
    pub(crate) fn group(&self, address: IpAddr) -> IpAddr {
        self.multicast_group.unwrap_or_else(|| group_for(address))
    }

    /// Whether the router owns the addresses.
    pub fn is_owner(&self) -> bool {
        self.priority == Priority::OWNER
    }

    /// The address family of the virtual router.
    pub fn family(&self) -> Family {
        self.addresses.first().map_or(self.family, |first| Family::of(*first))
    }

    /// The advertisement of a router with this configuration at `priority`.
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
        self.family() == Family::of(address)
    }

    /// An owner preempts whatever is configured (RFC 9568 section 6.1).
    pub(crate) fn preempts(&self) -> bool {
        self.preempt || self.is_owner()
    }
}
