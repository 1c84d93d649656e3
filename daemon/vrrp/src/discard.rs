//! The reasons for which a received packet is discarded, each with one stable name for log, status and metrics.

use std::net::IpAddr;
use std::time::Duration;

use thiserror::Error;
use vouchd_wire::{AdvertInterval, ParseError, TTL, Version, Vrid};

/// Declares [`DiscardReason`], the list of all reasons and their names from one table, so that none is missing.
macro_rules! discards {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// Why a packet was discarded, without the details of [`Rejection`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum DiscardReason {
            $($(#[$doc])* $variant,)*
        }

        impl DiscardReason {
            /// Every reason, in the order of the checks.
            pub const ALL: [Self; [$(Self::$variant),*].len()] = [$(Self::$variant),*];

            /// The name in log, status and metrics; it never changes.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

discards! {
    /// TTL or hop limit below 255, or below the peer's configured one: the packet passed a router.
    Ttl = "ttl",
    /// Sent to the multicast group while this router uses unicast, or the other way round.
    Destination = "destination",
    /// Sent from an unspecified, multicast or broadcast address.
    Source = "source",
    /// Sent from this router's own address.
    OwnAddress = "own_address",
    /// Unicast from a router that is not a configured peer.
    UnknownPeer = "unknown_peer",
    /// For another virtual router.
    Vrid = "vrid",
    /// Of the other version, or one that does not exist.
    Version = "version",
    /// Not an advertisement.
    Type = "type",
    /// The source is of another family than the virtual addresses.
    Family = "family",
    /// Too few or too many bytes.
    Length = "length",
    /// Damaged on the way.
    Checksum = "checksum",
    /// No addresses.
    NoAddresses = "no_addresses",
    /// The peer's interval is 0.
    ZeroInterval = "zero_interval",
    /// The first IPv6 address is not link-local.
    FirstAddress = "first_address",
    /// A packet of CARP, which uses the same IP protocol number and group.
    Carp = "carp",
    /// The authentication type is not the configured one.
    AuthType = "auth_type",
    /// The password is not the configured one.
    AuthPassword = "auth_password",
    /// After the message there is something else than a trailer of HMAC.
    HmacTrailer = "hmac_trailer",
    /// It has no HMAC trailer, which is required.
    HmacMissing = "hmac_missing",
    /// Its HMAC key is not among the configured ones.
    HmacKey = "hmac_key",
    /// Its HMAC tag is wrong: it was forged or changed, or the keys differ.
    HmacTag = "hmac_tag",
    /// Its HMAC trailer is from another time than ours.
    HmacTime = "hmac_time",
    /// It is a copy of an earlier packet.
    HmacReplayed = "hmac_replayed",
    /// Version 2: the peer's interval is not the configured one.
    Interval = "interval",
    /// None of its addresses is ours: it is for another virtual router with the same VRID.
    Addresses = "addresses",
    /// Version 2: the owner of the addresses discards every advertisement.
    OwnerReceives = "owner_receives",
}

/// Why a packet was discarded, with what was expected and what was found.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Rejection {
    /// RFC 9568 section 5.1.1.3.
    #[error("TTL {found}, expected {}: it passed {}", at_least(*.least), passed(*.found))]
    Ttl {
        /// The TTL or hop limit.
        found: u8,
        /// The least that is accepted from this sender; 255 unless `hop_limit` of the peer permits routers between.
        least: u8,
    },
    /// See [`DiscardReason::Destination`].
    #[error("sent to {found}, expected {expected}")]
    Destination {
        /// Where it was sent.
        found: IpAddr,
        /// Where it should have been sent.
        expected: &'static str,
    },
    /// Zero, multicast or broadcast.
    #[error("the source {0} is not the address of a router")]
    Source(IpAddr),
    /// See [`DiscardReason::OwnAddress`].
    #[error("another machine sends from this router's address {0}: give one of them another address")]
    OwnAddress(IpAddr),
    /// See [`DiscardReason::UnknownPeer`].
    #[error("{0} is not among the configured peers")]
    UnknownPeer(IpAddr),
    /// See [`DiscardReason::Vrid`].
    #[error("virtual router id {found}, expected {expected}")]
    Vrid {
        /// The field.
        found: u8,
        /// The configured one.
        expected: Vrid,
    },
    /// Routers of different versions discard each other's advertisements, and all of them become active.
    #[error("the peer speaks VRRP version {found}, this router version {expected}: set the same on both")]
    Version {
        /// The peer's.
        found: u8,
        /// The configured one.
        expected: Version,
    },
    /// The message itself is wrong.
    #[error(transparent)]
    Malformed(#[from] ParseError),
    /// RFC 9568 erratum 8299.
    #[error("no address, expected at least 1")]
    NoAddresses,
    /// See [`DiscardReason::AuthType`].
    #[error("authentication type {found}, expected {expected}")]
    AuthType {
        /// The peer's.
        found: u8,
        /// The configured one.
        expected: u8,
    },
    /// See [`DiscardReason::AuthPassword`].
    #[error("the password is not the configured one")]
    AuthPassword,
    /// It has the length of an advertisement with an HMAC trailer, and this router has no keys. See [`DiscardReason::Length`].
    #[error("it has 28 bytes more than an advertisement, as with an HMAC trailer: set `auth` on this router too")]
    UnexpectedTrailer,
    /// See [`DiscardReason::HmacMissing`].
    #[error("it has no HMAC trailer, which this router requires: set `auth` on the peer too")]
    HmacMissing,
    /// See [`DiscardReason::HmacKey`].
    #[error("its HMAC key has the id {found}, which is not among the configured keys")]
    HmacKey {
        /// The key's id.
        found: u8,
    },
    /// See [`DiscardReason::HmacTag`].
    #[error("its HMAC tag does not match key {key}: it was forged or changed, or the key differs")]
    HmacTag {
        /// The key's id.
        key: u8,
    },
    /// See [`DiscardReason::HmacTime`].
    #[error(
        "its HMAC trailer is {difference} s from this router's time, more than {window:?}: set both clocks, or a wider time_window"
    )]
    HmacTime {
        /// By how much it differs from our wall clock, in seconds.
        difference: u32,
        /// The configured window.
        window: Duration,
    },
    /// See [`DiscardReason::HmacReplayed`].
    #[error(
        "it is not newer than the last packet of its sender: a replayed packet, or the sender's clock was set back"
    )]
    HmacReplayed,
    /// See [`DiscardReason::Interval`].
    #[error("advertisement interval {found}, expected {expected}: version 2 needs the same on every router")]
    Interval {
        /// The peer's.
        found: AdvertInterval,
        /// The configured one.
        expected: AdvertInterval,
    },
    /// See [`DiscardReason::Addresses`].
    #[error(
        "another virtual router with the same id: its addresses are {}, ours {}: give one of the two another \
         virtual_router_id, or both the same addresses",
        list(found),
        list(expected)
    )]
    Addresses {
        /// The peer's.
        found: Vec<IpAddr>,
        /// The configured ones.
        expected: Vec<IpAddr>,
    },
    /// See [`DiscardReason::OwnerReceives`].
    #[error("this router owns the addresses (priority 255), but another one is active for them")]
    OwnerReceives,
}

fn at_least(ttl: u8) -> String {
    if ttl == TTL { ttl.to_string() } else { format!("at least {ttl}, the peer's hop_limit") }
}

fn passed(ttl: u8) -> String {
    match TTL - ttl {
        1 => "a router".to_owned(),
        routers => format!("{routers} routers, or was sent with another TTL"),
    }
}

/// The addresses, separated by commas.
pub(crate) fn list(addresses: &[IpAddr]) -> String {
    if addresses.is_empty() {
        return "none".to_owned();
    }
    addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ")
}

impl Rejection {
    /// The reason without the details.
    pub const fn reason(&self) -> DiscardReason {
        match self {
            Self::Ttl { .. } => DiscardReason::Ttl,
            Self::Destination { .. } => DiscardReason::Destination,
            Self::Source(_) => DiscardReason::Source,
            Self::OwnAddress(_) => DiscardReason::OwnAddress,
            Self::UnknownPeer(_) => DiscardReason::UnknownPeer,
            Self::Vrid { .. } => DiscardReason::Vrid,
            Self::Version { .. } => DiscardReason::Version,
            Self::Malformed(error) => match error {
                ParseError::Short { .. } | ParseError::Length { .. } => DiscardReason::Length,
                ParseError::Version(_) => DiscardReason::Version,
                ParseError::Type(_) => DiscardReason::Type,
                ParseError::Trailer => DiscardReason::HmacTrailer,
                ParseError::Carp => DiscardReason::Carp,
                ParseError::ZeroVrid => DiscardReason::Vrid,
                ParseError::Checksum { .. } => DiscardReason::Checksum,
                ParseError::ZeroInterval => DiscardReason::ZeroInterval,
                ParseError::AuthType(_) => DiscardReason::AuthType,
                ParseError::Family { .. } => DiscardReason::Family,
                ParseError::FirstAddressNotLinkLocal(_) => DiscardReason::FirstAddress,
            },
            Self::NoAddresses => DiscardReason::NoAddresses,
            Self::AuthType { .. } => DiscardReason::AuthType,
            Self::AuthPassword => DiscardReason::AuthPassword,
            Self::UnexpectedTrailer => DiscardReason::Length,
            Self::HmacMissing => DiscardReason::HmacMissing,
            Self::HmacKey { .. } => DiscardReason::HmacKey,
            Self::HmacTag { .. } => DiscardReason::HmacTag,
            Self::HmacTime { .. } => DiscardReason::HmacTime,
            Self::HmacReplayed => DiscardReason::HmacReplayed,
            Self::Interval { .. } => DiscardReason::Interval,
            Self::Addresses { .. } => DiscardReason::Addresses,
            Self::OwnerReceives => DiscardReason::OwnerReceives,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn row_102_every_reason_has_a_unique_name() {
        let names: BTreeSet<_> = DiscardReason::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), DiscardReason::ALL.len());
        for name in names {
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{name}");
        }
        for (index, reason) in DiscardReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index, "counters index by the reason");
        }
    }

    #[test]
    fn manual_lists_every_reason() {
        let manual = include_str!("../../../docs/operating.md");
        for name in DiscardReason::ALL.map(DiscardReason::name) {
            assert!(manual.contains(&format!("\n| `{name}` | ")), "docs/operating.md has no row for {name}");
        }
    }
}
