//! Whether a received packet is accepted: all checks of RFC 9568 section 7.1 (in version 2 of RFC 3768 section 7.1) in one
//! place. Nothing here has an effect, and the state machine never sees a packet that fails.

use std::net::IpAddr;

use vouchd_wire::hmac::TRAILER;
use vouchd_wire::{Advertisement, Auth, ParseError, Parsed, TTL, Version, parse, parse_with_hmac, peek_version};

use crate::authentication::{self, Authenticated, Authenticity, Sequences};
use crate::config::Config;
use crate::discard::Rejection;
use crate::input::Packet;

/// An accepted packet.
pub(crate) struct Checked {
    pub(crate) parsed: Parsed,
    /// `None` for a router without HMAC keys.
    pub(crate) authenticity: Option<Authenticity>,
    /// What to remember if it is authentic.
    pub(crate) authenticated: Option<Authenticated>,
}

/// Checks and parses `packet` for a router with `config` that sends from `own`.
pub(crate) fn check(
    config: &Config,
    own: Option<IpAddr>,
    sequences: &Sequences,
    packet: &Packet<'_>,
) -> Result<Checked, Rejection> {
    addressing(config, own, packet)?;
    // Before the checks that need an intact message: a packet of another version or virtual router is not damaged.
    match packet.payload.get(1) {
        Some(&found) if found != config.vrid.get() => return Err(Rejection::Vrid { found, expected: config.vrid }),
        Some(_) | None => {}
    }
    match peek_version(packet.payload) {
        Some(2) if config.also_version_2 => {}
        Some(found @ (2 | 3)) if found != config.version.number() => {
            return Err(Rejection::Version { found, expected: config.version });
        }
        Some(_) | None => {}
    }
    let Packet { source, destination, payload, .. } = *packet;
    let (parsed, authenticity, authenticated) = match &config.hmac {
        None => (parse(payload, source, destination).map_err(without_keys)?, None, None),
        Some(hmac) => {
            let (parsed, trailer) = parse_with_hmac(payload, source, destination)?;
            let (authenticity, authenticated) = authentication::check(hmac, sequences, source, trailer)?;
            (parsed, Some(authenticity), authenticated)
        }
    };
    match parsed.advertisement.version {
        Version::V2 => version_2(config, &parsed.advertisement)?,
        Version::V3 => same_virtual_router(config, &parsed.advertisement)?,
    }
    Ok(Checked { parsed, authenticity, authenticated })
}

/// What a router without HMAC keys says of a packet that it can't parse.
fn without_keys(error: ParseError) -> Rejection {
    match error {
        ParseError::Length { expected, found } if found == expected + TRAILER => Rejection::UnexpectedTrailer,
        other => other.into(),
    }
}

/// An advertisement without any of our addresses belongs to another virtual router with the same VRID; accepting it would
/// leave our addresses without a holder. One shared address is enough, so that a list can be changed node by node. RFC 9568
/// section 7.1 and RFC 3768 section 7.1 leave this check to the implementation (MAY).
fn same_virtual_router(config: &Config, advertisement: &Advertisement) -> Result<(), Rejection> {
    if config.addresses.is_empty() != advertisement.addresses.is_empty() {
        let found = advertisement.addresses.clone();
        return Err(match found.is_empty() {
            true => Rejection::NoAddresses,
            false => Rejection::Addresses { found, expected: Vec::new() },
        });
    }
    if advertisement.addresses.iter().any(|address| config.addresses.contains(address)) || config.addresses.is_empty() {
        return Ok(());
    }
    Err(Rejection::Addresses { found: advertisement.addresses.clone(), expected: config.addresses.clone() })
}

fn addressing(config: &Config, own: Option<IpAddr>, packet: &Packet<'_>) -> Result<(), Rejection> {
    let Packet { source, destination, ttl, .. } = *packet;
    // The sent TTL is always 255, so what is left says how many routers it passed.
    let least = config.hop_limits.get(&source).copied().unwrap_or(TTL);
    if ttl < least {
        return Err(Rejection::Ttl { found: ttl, least });
    }
    match &config.peers {
        None if destination != config.group(destination) => {
            return Err(Rejection::Destination { found: destination, expected: "the VRRP multicast group" });
        }
        Some(_) if destination.is_multicast() || is_broadcast(destination) => {
            return Err(Rejection::Destination { found: destination, expected: "this router's own address" });
        }
        None | Some(_) => {}
    }
    if source.is_unspecified() || source.is_multicast() || is_broadcast(source) {
        return Err(Rejection::Source(source));
    }
    if own == Some(source) {
        return Err(Rejection::OwnAddress(source));
    }
    match &config.peers {
        Some(peers) if !peers.contains(&source) => Err(Rejection::UnknownPeer(source)),
        Some(_) | None => Ok(()),
    }
}

fn is_broadcast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_broadcast(),
        IpAddr::V6(_) => false,
    }
}

/// The checks that only version 2 has: all routers have the same configuration.
fn version_2(config: &Config, advertisement: &Advertisement) -> Result<(), Rejection> {
    match (config.auth, advertisement.auth) {
        (Auth::None, Auth::None) => {}
        (Auth::Simple(expected), Auth::Simple(found)) if expected == found => {}
        (Auth::Simple(_), Auth::Simple(_)) => return Err(Rejection::AuthPassword),
        (expected @ Auth::None, found @ Auth::Simple(_)) | (expected @ Auth::Simple(_), found @ Auth::None) => {
            return Err(Rejection::AuthType { found: found.number(), expected: expected.number() });
        }
    }
    // Beside version 3 it is converted and learned (RFC 9568 section 8.4.2).
    if advertisement.interval != config.interval && config.version == Version::V2 {
        return Err(Rejection::Interval { found: advertisement.interval, expected: config.interval });
    }
    // An owner's list is always accepted (RFC 3768 section 7.1).
    let has_list = !advertisement.addresses.is_empty() && !config.addresses.is_empty();
    if advertisement.priority != vouchd_wire::Priority::OWNER || !has_list {
        same_virtual_router(config, advertisement)?;
    }
    // Two owners elect, in version 2 as in version 3 (erratum 8298): otherwise both stay active.
    if config.is_owner() && config.version == Version::V2 && advertisement.priority != vouchd_wire::Priority::OWNER {
        return Err(Rejection::OwnerReceives);
    }
    Ok(())
}

/// Whether the advertisement has exactly our addresses, in any order.
pub(crate) fn same_addresses(config: &Config, advertisement: &Advertisement) -> bool {
    let sorted = |addresses: &[IpAddr]| {
        let mut addresses = addresses.to_vec();
        addresses.sort_unstable();
        addresses
    };
    config.addresses == advertisement.addresses || sorted(&config.addresses) == sorted(&advertisement.addresses)
}
