//! The reasons for which a received packet is discarded, each with one stable name for log, status and metrics.

use std::net::IpAddr;

use thiserror::Error;
use vouchd_wire::{AdvertInterval, ParseError, Version, Vrid};

/// Declares [`Discard`] once, so that the list of all reasons and their names can't miss one.
macro_rules! discards {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// Why a packet was discarded, without its details.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Discard {
            $($(#[$doc])* $variant,)*
        }

        impl Discard {
            /// Every reason, in the order of the checks.
            pub const ALL: [Self; [$(Self::$variant),*].len()] = [$(Self::$variant),*];

            /// The stable name in log, status and metrics.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

discards! {
    /// TTL or hop limit below 255: it passed a router.
    Ttl = "ttl",
    /// Multicast to a unicast router or the other way round.
    Destination = "destination",
    /// Sent from an address that no router has.
    Source = "source",
    /// Sent from this router's own address.
    OwnAddress = "own_address",
    /// A unicast packet of a router that is no configured peer.
    UnknownPeer = "unknown_peer",
    /// Another virtual router's.
    Vrid = "vrid",
    /// The peer speaks the other version, or one that does not exist.
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
    /// It belongs to CARP, another protocol on the same numbers.
    Carp = "carp",
    /// The authentication type is not the configured one.
    AuthType = "auth_type",
    /// The password is not the configured one.
    AuthPassword = "auth_password",
    /// Version 2: the peer's interval is not the configured one.
    Interval = "interval",
    /// None of its addresses is ours: another virtual router with the same number.
    Addresses = "addresses",
    /// Version 2: the owner of the addresses listens to nobody.
    OwnerReceives = "owner_receives",
}

/// A discarded packet: why, with what was expected and found.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Rejection {
    /// RFC 9568 section 5.1.1.3.
    #[error("TTL {found}, expected 255: it passed a router")]
    Ttl {
        /// The TTL or hop limit.
        found: u8,
    },
    /// See [`Discard::Destination`].
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
    /// See [`Discard::OwnAddress`].
    #[error("another machine sends from our own address {0}: give it, or this one, another address")]
    OwnAddress(IpAddr),
    /// See [`Discard::UnknownPeer`].
    #[error("{0} is not among the configured peers")]
    UnknownPeer(IpAddr),
    /// See [`Discard::Vrid`].
    #[error("virtual router id {found}, expected {expected}")]
    Vrid {
        /// The field.
        found: u8,
        /// The configured one.
        expected: Vrid,
    },
    /// Two routers of different versions don't hear each other, and both become active.
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
    /// See [`Discard::AuthType`].
    #[error("authentication type {found}, expected {expected}")]
    AuthType {
        /// The peer's.
        found: u8,
        /// The configured one.
        expected: u8,
    },
    /// See [`Discard::AuthPassword`].
    #[error("the password is not the configured one")]
    AuthPassword,
    /// See [`Discard::Interval`].
    #[error("advertisement interval {found}, expected {expected}: version 2 needs the same on every router")]
    Interval {
        /// The peer's.
        found: AdvertInterval,
        /// The configured one.
        expected: AdvertInterval,
    },
    /// See [`Discard::Addresses`].
    #[error(
        "another virtual router with the same id: its addresses are {}, ours {}: give one of them another virtual_router_id, or both the same addresses",
        list(found),
        list(expected)
    )]
    Addresses {
        /// The peer's.
        found: Vec<IpAddr>,
        /// The configured ones.
        expected: Vec<IpAddr>,
    },
    /// See [`Discard::OwnerReceives`].
    #[error("this router owns the addresses (priority 255), yet another one is active for them")]
    OwnerReceives,
}

/// With commas.
pub(crate) fn list(addresses: &[IpAddr]) -> String {
    addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ")
}

impl Rejection {
    /// The reason without its details.
    pub const fn reason(&self) -> Discard {
        match self {
            Self::Ttl { .. } => Discard::Ttl,
            Self::Destination { .. } => Discard::Destination,
            Self::Source(_) => Discard::Source,
            Self::OwnAddress(_) => Discard::OwnAddress,
            Self::UnknownPeer(_) => Discard::UnknownPeer,
            Self::Vrid { .. } => Discard::Vrid,
            Self::Version { .. } => Discard::Version,
            Self::Malformed(error) => match error {
                ParseError::Short { .. } | ParseError::Length { .. } => Discard::Length,
                ParseError::Version(_) => Discard::Version,
                ParseError::Type(_) => Discard::Type,
                ParseError::Carp => Discard::Carp,
                ParseError::ZeroVrid => Discard::Vrid,
                ParseError::ZeroCount => Discard::NoAddresses,
                ParseError::Checksum { .. } => Discard::Checksum,
                ParseError::ZeroInterval => Discard::ZeroInterval,
                ParseError::AuthType(_) => Discard::AuthType,
                ParseError::Family { .. } => Discard::Family,
                ParseError::FirstAddressNotLinkLocal(_) => Discard::FirstAddress,
            },
            Self::AuthType { .. } => Discard::AuthType,
            Self::AuthPassword => Discard::AuthPassword,
            Self::Interval { .. } => Discard::Interval,
            Self::Addresses { .. } => Discard::Addresses,
            Self::OwnerReceives => Discard::OwnerReceives,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn row_102_every_reason_has_one_name_of_its_own() {
        let names: BTreeSet<_> = Discard::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), Discard::ALL.len());
        for name in names {
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{name}");
        }
        for (index, reason) in Discard::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index, "counters index by the reason");
        }
    }
}
