//! The VRRP advertisement: encoding and parsing its wire format (RFC 9568 section 5.1, RFC 3768 section 5.1).
//!
//! Hand-written: no packet library has VRRP, and this format is what the project is for.
//!
//! ```text
//!  0               1               2               3
//! +-------+-------+---------------+---------------+---------------+
//! |Version| Type 1|     VRID      |   Priority    |    Count      |
//! +-------+-------+---------------+---------------+---------------+
//! | v3: 0 | interval, centiseconds|          Checksum             |
//! | v2: auth type |  interval, s  |                               |
//! +---------------+---------------+-------------------------------+
//! | Count addresses of 4 or 16 bytes; v2: 8 bytes of password     |
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use thiserror::Error;

use crate::hmac::{HmacKey, Sealed, Sequence, TRAILER, Trailer, trailer};
use crate::{AdvertInterval, Auth, ChecksumForm, Priority, Version, Vrid, checksum};

const HEADER: usize = 8;
const PASSWORD: usize = 8;
const CHECKSUM: Range<usize> = 6..8;
const TYPE_ADVERTISEMENT: u8 = 1;

/// One advertisement: what an active router announces about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertisement {
    /// The protocol version.
    pub version: Version,
    /// The virtual router.
    pub vrid: Vrid,
    /// The sender's priority; [`Priority::RESIGN`] if it stops being active.
    pub priority: Priority,
    /// The time between the sender's advertisements.
    pub interval: AdvertInterval,
    /// The virtual addresses, at most 255 of one family; over IPv6 the first one is link-local. None for a virtual router
    /// without addresses, which no RFC has.
    pub addresses: Vec<IpAddr>,
    /// The password; version 2 only.
    pub auth: Auth,
}

/// Why an [`Advertisement`] cannot be sent: its fields contradict each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EncodeError {
    /// The count field has 8 bits.
    #[error("{0} addresses, expected at most 255")]
    AddressCount(usize),
    /// An advertisement is sent over the IP family of its addresses.
    #[error("address {address} and sender {sender} are of different families: a virtual router has one family")]
    Family {
        /// The address of the other family.
        address: IpAddr,
        /// The sender, the receiver or the first address.
        sender: IpAddr,
    },
    /// RFC 3768 defines no IPv6.
    #[error("version 2 over IPv6, which requires version 3")]
    Ipv6NeedsV3,
    /// RFC 9568 section 5.2.9.
    #[error("the first address {0} is not link-local, which IPv6 requires")]
    FirstAddressNotLinkLocal(Ipv6Addr),
    /// The version's interval field cannot hold the interval.
    #[error("interval {interval} does not fit version {version}")]
    Interval {
        /// The version.
        version: Version,
        /// The interval.
        interval: AdvertInterval,
    },
    /// RFC 9568 section 9: version 3 has no authentication.
    #[error("a password, which only version 2 supports")]
    PasswordNeedsV2,
}

/// Why bytes are not an advertisement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ParseError {
    /// Fewer bytes than the fixed part.
    #[error("{found} bytes, expected at least {HEADER}")]
    Short {
        /// Bytes received.
        found: usize,
    },
    /// A version other than 2 and 3.
    #[error("version {0}, expected 2 or 3")]
    Version(u8),
    /// Not an advertisement (RFC 9568 section 5.2.2).
    #[error("type {0}, expected 1")]
    Type(u8),
    /// It looks like a CARP advertisement, which shares VRRP's protocol number and MAC addresses.
    #[error("a CARP advertisement: another protocol uses this virtual router id")]
    Carp,
    /// The VRID is 0.
    #[error("virtual router id 0, expected 1 to 255")]
    ZeroVrid,
    /// More or fewer bytes than the count requires.
    #[error("{found} bytes, expected {expected}")]
    Length {
        /// Bytes that this count, family and version require.
        expected: usize,
        /// Bytes received.
        found: usize,
    },
    /// 28 bytes after the message that are no trailer of HMAC-SHA256.
    #[error("an unknown trailer after the message, expected one of HMAC-SHA256")]
    Trailer,
    /// Damaged, or computed in a way that no RFC specifies.
    #[error("checksum {found:#06x} does not match")]
    Checksum {
        /// The checksum field.
        found: u16,
    },
    /// An interval of 0 (RFC 9568 erratum 8301).
    #[error("interval 0, expected at least 1")]
    ZeroInterval,
    /// An authentication type of version 2 other than 0 and 1.
    #[error("authentication type {0}, expected 0 or 1")]
    AuthType(u8),
    /// Version 2 over IPv6, or a source and a destination of different families.
    #[error("version {version} over {address_family} does not exist")]
    Family {
        /// The version.
        version: Version,
        /// "IPv6" or "mixed families".
        address_family: &'static str,
    },
    /// The first address over IPv6 must be link-local (RFC 9568 erratum 8300).
    #[error("the first address {0} is not link-local")]
    FirstAddressNotLinkLocal(Ipv6Addr),
}

/// An advertisement that passed all checks of [`parse`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// The advertisement.
    pub advertisement: Advertisement,
    /// What its checksum covers. `None` unless senders differ in that: version 3 over IPv4.
    pub checksum_form: Option<ChecksumForm>,
}

/// Returns the version nibble of a VRRP payload, so that a receiver can tell "not my version" from "damaged".
pub fn peek_version(payload: &[u8]) -> Option<u8> {
    payload.first().map(|byte| byte >> 4)
}

/// Returns the VRID of a VRRP payload, so that a receiver with several virtual routers can pick one. Checks nothing else.
pub fn peek_vrid(payload: &[u8]) -> Option<Vrid> {
    payload.get(1).and_then(|byte| Vrid::new(*byte).ok())
}

impl Advertisement {
    /// Checks that the fields agree and that a router of the first address's family could send them. Whether a router may have
    /// no addresses is the caller's decision (RFC 9568 section 5.2.5 has at least one).
    ///
    /// # Errors
    /// The first contradiction.
    pub fn check(&self) -> Result<(), EncodeError> {
        let count = self.addresses.len();
        let first = self.addresses.first().copied();
        if count > 255 {
            return Err(EncodeError::AddressCount(count));
        }
        let other = |address: &&IpAddr| first.is_some_and(|first| first.is_ipv4() != address.is_ipv4());
        if let (Some(&address), Some(sender)) = (self.addresses.iter().find(other), first) {
            return Err(EncodeError::Family { address, sender });
        }
        match (self.version, first) {
            (Version::V2, Some(IpAddr::V6(_))) => return Err(EncodeError::Ipv6NeedsV3),
            (Version::V3, Some(IpAddr::V6(v6))) if !v6.is_unicast_link_local() => {
                return Err(EncodeError::FirstAddressNotLinkLocal(v6));
            }
            (Version::V2 | Version::V3, None | Some(IpAddr::V4(_))) | (Version::V3, Some(IpAddr::V6(_))) => {}
        }
        if !self.interval.fits(self.version) {
            return Err(EncodeError::Interval { version: self.version, interval: self.interval });
        }
        match (self.version, self.auth) {
            (Version::V3, Auth::Simple(_)) => Err(EncodeError::PasswordNeedsV2),
            (Version::V2, Auth::None | Auth::Simple(_)) | (Version::V3, Auth::None) => Ok(()),
        }
    }

    /// Returns the bytes after the IP header, for a packet from `source` to `destination`.
    ///
    /// `form` matters for version 3 over IPv4 only; everything else has one checksum.
    ///
    /// # Errors
    /// The first contradiction between the fields, or between them and the addresses of the packet.
    pub fn encode(&self, source: IpAddr, destination: IpAddr, form: ChecksumForm) -> Result<Vec<u8>, EncodeError> {
        self.check()?;
        if self.version == Version::V2 && source.is_ipv6() {
            return Err(EncodeError::Ipv6NeedsV3);
        }
        for sender in [source, destination] {
            if let Some(&address) = self.addresses.iter().find(|address| address.is_ipv4() != sender.is_ipv4()) {
                return Err(EncodeError::Family { address, sender });
            }
        }
        let mut bytes = Vec::with_capacity(HEADER + self.addresses.len() * 16 + PASSWORD);
        bytes.push(self.version.number() << 4 | TYPE_ADVERTISEMENT);
        bytes.push(self.vrid.get());
        bytes.push(self.priority.get());
        // `check` bounds both numbers.
        bytes.push(self.addresses.len() as u8);
        let centiseconds = self.interval.centiseconds();
        match self.version {
            Version::V2 => bytes.extend_from_slice(&[self.auth.number(), (centiseconds / 100) as u8]),
            Version::V3 => bytes.extend_from_slice(&centiseconds.to_be_bytes()),
        }
        bytes.extend_from_slice(&[0, 0]);
        for address in &self.addresses {
            match address {
                IpAddr::V4(v4) => bytes.extend_from_slice(&v4.octets()),
                IpAddr::V6(v6) => bytes.extend_from_slice(&v6.octets()),
            }
        }
        match (self.version, self.auth) {
            (Version::V2, Auth::None) => bytes.extend_from_slice(&[0; PASSWORD]),
            (Version::V2, Auth::Simple(password)) => bytes.extend_from_slice(&password),
            (Version::V3, Auth::None | Auth::Simple(_)) => {}
        }
        let checksum = self.checksum(&bytes, source, destination, form);
        bytes[CHECKSUM].copy_from_slice(&checksum.to_be_bytes());
        Ok(bytes)
    }

    /// As [`Advertisement::encode`], with a trailer that authenticates it ([`crate::hmac`]).
    ///
    /// Over IPv6 the checksum covers the trailer, as RFC 8200 section 8.1 requires of an upper-layer packet; over IPv4 it
    /// covers the message, as in the draft's example.
    ///
    /// # Errors
    /// As [`Advertisement::encode`].
    pub fn encode_with_hmac(
        &self,
        source: IpAddr,
        destination: IpAddr,
        form: ChecksumForm,
        key: &HmacKey,
        sequence: Sequence,
    ) -> Result<Vec<u8>, EncodeError> {
        let mut bytes = self.encode(source, destination, form)?;
        let trailer = trailer(key, sequence, source, &bytes);
        bytes.extend_from_slice(&trailer);
        if source.is_ipv6() {
            bytes[CHECKSUM].fill(0);
            let checksum = self.checksum(&bytes, source, destination, form);
            bytes[CHECKSUM].copy_from_slice(&checksum.to_be_bytes());
        }
        Ok(bytes)
    }

    /// The checksum of `bytes`, whose checksum field is 0.
    fn checksum(&self, bytes: &[u8], source: IpAddr, destination: IpAddr, form: ChecksumForm) -> u16 {
        match (self.version, source, destination, form) {
            (Version::V3, IpAddr::V4(source), IpAddr::V4(destination), ChecksumForm::PseudoHeader) => {
                checksum::over_ipv4(bytes, source, destination)
            }
            (Version::V3, IpAddr::V6(source), IpAddr::V6(destination), _) => {
                checksum::over_ipv6(bytes, source, destination)
            }
            // `encode` rejects mixed families.
            (Version::V2 | Version::V3, _, _, ChecksumForm::PseudoHeader | ChecksumForm::MessageOnly) => {
                checksum::of(bytes)
            }
        }
    }
}

/// Reads the bytes after the IP header of a packet that came from `source` to `destination`.
///
/// `payload` must end where the IP header says, without link padding. Checks everything that RFC 9568 section 7.1
/// requires of the message itself; checks that depend on the receiver's configuration are the caller's. One of these is whether
/// there must be an address (erratum 8299).
///
/// # Errors
/// The first check that fails.
pub fn parse(payload: &[u8], source: IpAddr, destination: IpAddr) -> Result<Parsed, ParseError> {
    parse_covered(payload, payload, source, destination)
}

/// As [`parse`], for a payload that may end in a trailer of HMAC ([`crate::hmac`]), which it returns with the message that it
/// authenticates. The caller checks whether it is authentic.
///
/// # Errors
/// As [`parse`]; [`ParseError::Trailer`] for a trailer of an unknown kind.
pub fn parse_with_hmac(
    payload: &[u8],
    source: IpAddr,
    destination: IpAddr,
) -> Result<(Parsed, Option<Sealed<'_>>), ParseError> {
    let without = |error| match error {
        // Exactly a trailer more than the count requires.
        ParseError::Length { expected, found } if found == expected + TRAILER => Some(expected),
        _ => None,
    };
    let error = match parse(payload, source, destination) {
        Ok(parsed) => return Ok((parsed, None)),
        Err(error) => error,
    };
    let length = without(error).ok_or(error)?;
    let (message, trailer) = payload.split_at_checked(length).ok_or(error)?;
    let trailer = <&[u8; TRAILER]>::try_from(trailer).map_err(|_| error)?;
    let trailer = Trailer::parse(trailer).ok_or(ParseError::Trailer)?;
    // Senders differ in whether the checksum covers the trailer.
    let parsed = match parse(message, source, destination) {
        Err(ParseError::Checksum { .. }) => parse_covered(message, payload, source, destination)?,
        other => other?,
    };
    Ok((parsed, Some((trailer, message))))
}

/// Parses `payload`, whose checksum covers `covered`.
fn parse_covered(payload: &[u8], covered: &[u8], source: IpAddr, destination: IpAddr) -> Result<Parsed, ParseError> {
    let found = payload.len();
    let (header, rest) = payload.split_first_chunk::<HEADER>().ok_or(ParseError::Short { found })?;
    let &[first, vrid, priority, count, high, low, checksum_high, checksum_low] = header;
    let version = match first >> 4 {
        2 => Version::V2,
        3 => Version::V3,
        other => return Err(ParseError::Version(other)),
    };
    if first & 0x0f != TYPE_ADVERTISEMENT {
        return Err(ParseError::Type(first & 0x0f));
    }
    // CARP: the same first byte as VRRP version 2, an authentication length of 7 words where VRRP counts addresses,
    // and always 36 bytes, which no VRRP packet with 7 addresses has.
    if version == Version::V2 && count == 7 && found == 36 {
        return Err(ParseError::Carp);
    }
    let (address_length, trailer) = match (version, source, destination) {
        (Version::V2, IpAddr::V4(_), IpAddr::V4(_)) => (4, PASSWORD),
        (Version::V3, IpAddr::V4(_), IpAddr::V4(_)) => (4, 0),
        (Version::V3, IpAddr::V6(_), IpAddr::V6(_)) => (16, 0),
        (Version::V2, IpAddr::V6(_), IpAddr::V6(_)) => {
            return Err(ParseError::Family { version, address_family: "IPv6" });
        }
        (Version::V2 | Version::V3, IpAddr::V4(_), IpAddr::V6(_))
        | (Version::V2 | Version::V3, IpAddr::V6(_), IpAddr::V4(_)) => {
            return Err(ParseError::Family { version, address_family: "mixed families" });
        }
    };
    let expected = HEADER + usize::from(count) * address_length + trailer;
    if found != expected {
        return Err(ParseError::Length { expected, found });
    }
    let checksum_form = verify(covered, version, source, destination)
        .ok_or(ParseError::Checksum { found: u16::from_be_bytes([checksum_high, checksum_low]) })?;
    let vrid = Vrid::new(vrid).map_err(|_| ParseError::ZeroVrid)?;
    let (address_bytes, password) = rest.split_at(usize::from(count) * address_length);
    let (interval, auth) = match version {
        Version::V2 => {
            let auth = match high {
                0 => Auth::None,
                1 => Auth::simple(password),
                other => return Err(ParseError::AuthType(other)),
            };
            (AdvertInterval::from_seconds(low), auth)
        }
        // The upper four bits are reserved and ignored (RFC 9568 section 5.2.6).
        Version::V3 => (AdvertInterval::from_centiseconds(u16::from_be_bytes([high & 0x0f, low])), Auth::None),
    };
    // Neither field can hold more than its range, so a value out of range is 0.
    let interval = interval.map_err(|_| ParseError::ZeroInterval)?;
    let addresses = addresses(address_bytes, source);
    match addresses.first() {
        Some(IpAddr::V6(first)) if !first.is_unicast_link_local() => {
            return Err(ParseError::FirstAddressNotLinkLocal(*first));
        }
        Some(IpAddr::V4(_) | IpAddr::V6(_)) | None => {}
    }
    let advertisement = Advertisement { version, vrid, priority: Priority::new(priority), interval, addresses, auth };
    Ok(Parsed { advertisement, checksum_form: checksum_form.choice() })
}

/// How a checksum matched.
enum Verified {
    /// The only way that this version and family have.
    OnlyForm,
    /// One of the two forms in use.
    As(ChecksumForm),
}

impl Verified {
    fn choice(self) -> Option<ChecksumForm> {
        match self {
            Self::OnlyForm => None,
            Self::As(form) => Some(form),
        }
    }
}

/// Returns `None` if the checksum does not match.
fn verify(payload: &[u8], version: Version, source: IpAddr, destination: IpAddr) -> Option<Verified> {
    let message_is_intact = || checksum::of(payload) == 0;
    match (version, source, destination) {
        (Version::V2, _, _) => message_is_intact().then_some(Verified::OnlyForm),
        (Version::V3, IpAddr::V6(source), IpAddr::V6(destination)) => {
            (checksum::over_ipv6(payload, source, destination) == 0).then_some(Verified::OnlyForm)
        }
        (Version::V3, IpAddr::V4(source), IpAddr::V4(destination))
            if checksum::over_ipv4(payload, source, destination) == 0 =>
        {
            Some(Verified::As(ChecksumForm::PseudoHeader))
        }
        // `parse` has rejected mixed families.
        (Version::V3, _, _) => message_is_intact().then_some(Verified::As(ChecksumForm::MessageOnly)),
    }
}

fn addresses(bytes: &[u8], family_of: IpAddr) -> Vec<IpAddr> {
    match family_of {
        IpAddr::V4(_) => bytes.as_chunks::<4>().0.iter().map(|a| IpAddr::V4(Ipv4Addr::from(*a))).collect(),
        IpAddr::V6(_) => bytes.as_chunks::<16>().0.iter().map(|a| IpAddr::V6(Ipv6Addr::from(*a))).collect(),
    }
}

#[cfg(test)]
mod tests;
