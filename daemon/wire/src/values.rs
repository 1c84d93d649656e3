//! The fields of an advertisement as small types: a value out of range cannot be constructed, and a mixed-up unit does not
//! compile. Byte layout is not their concern.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use thiserror::Error;

/// The VRRP version of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// RFC 3768: IPv4 only, interval in whole seconds, optional simple text password.
    V2,
    /// RFC 9568 (and 5798): IPv4 and IPv6, interval in centiseconds.
    V3,
}

impl Version {
    /// The number on the wire.
    pub const fn number(self) -> u8 {
        match self {
            Self::V2 => 2,
            Self::V3 => 3,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.number())
    }
}

/// An IP family. A virtual router has one (RFC 9568 section 1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of an address.
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// A virtual router identifier, 1..=255 (RFC 9568 section 5.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vrid(u8);

/// A VRID of 0, which does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the virtual router id is 0, expected 1 to 255")]
pub struct ZeroVrid;

impl Vrid {
    /// A VRID from its number.
    ///
    /// # Errors
    /// If the number is 0.
    pub const fn new(number: u8) -> Result<Self, ZeroVrid> {
        if number == 0 { Err(ZeroVrid) } else { Ok(Self(number)) }
    }

    /// The number, 1..=255.
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl TryFrom<u8> for Vrid {
    type Error = ZeroVrid;

    fn try_from(number: u8) -> Result<Self, ZeroVrid> {
        Self::new(number)
    }
}

impl fmt::Display for Vrid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A router's priority (RFC 9568 section 5.2.4): higher wins.
///
/// 1..=254 take part in elections; [`Priority::RESIGN`] and [`Priority::OWNER`] have special meanings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(u8);

impl Priority {
    /// 0: the sender stops being active, so that the best backup takes over after its Skew_Time.
    pub const RESIGN: Self = Self(0);
    /// 1: the lowest that takes part in elections.
    pub const LOWEST: Self = Self(1);
    /// 100: the default of a router.
    pub const DEFAULT: Self = Self(100);
    /// 254: the highest of a router that does not own the addresses.
    pub const HIGHEST: Self = Self(254);
    /// 255: the router that owns the virtual addresses as its real ones.
    pub const OWNER: Self = Self(255);

    /// Any of the 256 values.
    pub const fn new(value: u8) -> Self {
        Self(value)
    }

    /// The number on the wire.
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The time between two advertisements of an active router.
///
/// Version 3 carries centiseconds, 1..=4095; version 2 whole seconds, 1..=255. Some values, such as 1 s, fit both:
/// [`AdvertInterval::fits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AdvertInterval {
    centiseconds: u16,
}

/// An advertisement interval that its version cannot carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum IntervalError {
    /// Version 2 carries whole seconds only.
    #[error("the advertisement interval is {0:?}; version 2 takes whole seconds from 1 s to 255 s")]
    V2(Duration),
    /// Version 3 carries whole centiseconds in 12 bits.
    #[error("the advertisement interval is {0:?}; version 3 takes multiples of 10 ms from 10 ms to 40.95 s")]
    V3(Duration),
}

impl AdvertInterval {
    /// One second, the default of both versions.
    pub const ONE_SECOND: Self = Self { centiseconds: 100 };

    const V3_MAX: u16 = 4095;
    const V2_MAX: u16 = 255 * 100;

    /// An interval for `version`.
    ///
    /// # Errors
    /// If that version cannot carry it exactly.
    pub fn new(version: Version, interval: Duration) -> Result<Self, IntervalError> {
        let error = match version {
            Version::V2 => IntervalError::V2(interval),
            Version::V3 => IntervalError::V3(interval),
        };
        if !interval.subsec_nanos().is_multiple_of(10_000_000) {
            return Err(error);
        }
        let centiseconds = u16::try_from(interval.as_millis() / 10).map_err(|_| error)?;
        let interval = Self { centiseconds };
        if interval.fits(version) { Ok(interval) } else { Err(error) }
    }

    /// A version 3 interval of 1..=4095 centiseconds.
    ///
    /// # Errors
    /// If it is out of that range.
    pub fn from_centiseconds(centiseconds: u16) -> Result<Self, IntervalError> {
        Self::new(Version::V3, Duration::from_millis(u64::from(centiseconds) * 10))
    }

    /// A version 2 interval of 1..=255 seconds.
    ///
    /// # Errors
    /// If it is 0.
    pub fn from_seconds(seconds: u8) -> Result<Self, IntervalError> {
        Self::new(Version::V2, Duration::from_secs(u64::from(seconds)))
    }

    /// Whether `version` can carry this interval.
    pub const fn fits(self, version: Version) -> bool {
        match version {
            Version::V2 => {
                self.centiseconds >= 100 && self.centiseconds <= Self::V2_MAX && self.centiseconds.is_multiple_of(100)
            }
            Version::V3 => self.centiseconds >= 1 && self.centiseconds <= Self::V3_MAX,
        }
    }

    /// The interval in centiseconds, 1..=25500.
    pub const fn centiseconds(self) -> u16 {
        self.centiseconds
    }

    /// The interval as a duration.
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.centiseconds as u64 * 10)
    }
}

impl fmt::Display for AdvertInterval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.duration())
    }
}

/// The authentication of a version 2 advertisement (RFC 2338 section 5.3.6); version 3 has only `None`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Auth {
    /// Type 0: no authentication.
    None,
    /// Type 1: a password in clear text, padded with zeros to 8 bytes. It stops misconfigured routers, not attackers.
    Simple([u8; 8]),
}

impl Auth {
    /// Type 1 with this password, of which VRRP carries the first 8 bytes.
    pub fn simple(password: &[u8]) -> Self {
        let mut bytes = [0; 8];
        for (slot, byte) in bytes.iter_mut().zip(password) {
            *slot = *byte;
        }
        Self::Simple(bytes)
    }

    /// The authentication type on the wire.
    pub const fn number(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Simple(_) => 1,
        }
    }
}

// Not derived: no log line may show a password.
impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Simple(_) => f.write_str("Simple(..)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_94_version_2_counts_whole_seconds_and_version_3_whole_centiseconds() {
        let cases = [
            (Version::V2, 1_000, true),
            (Version::V2, 255_000, true),
            (Version::V2, 256_000, false),
            (Version::V2, 0, false),
            (Version::V2, 500, false),
            (Version::V2, 1_500, false),
            (Version::V3, 10, true),
            (Version::V3, 40_950, true),
            (Version::V3, 40_960, false),
            (Version::V3, 0, false),
            (Version::V3, 15, false),
        ];
        for (version, millis, accepted) in cases {
            let interval = Duration::from_millis(millis);
            let result = AdvertInterval::new(version, interval);
            assert_eq!(result.is_ok(), accepted, "version {version}, {millis} ms");
            if let Ok(value) = result {
                assert_eq!(value.duration(), interval);
            }
        }
        assert!(AdvertInterval::new(Version::V3, Duration::MAX).is_err());
    }

    #[test]
    fn password_is_cut_or_padded_to_eight_bytes_and_never_printed() {
        assert_eq!(Auth::simple(b"1234"), Auth::Simple(*b"1234\0\0\0\0"));
        assert_eq!(Auth::simple(b"123456789"), Auth::Simple(*b"12345678"));
        assert!(!format!("{:?}", Auth::simple(b"1234")).contains("49"));
    }

    #[test]
    fn vrid_of_zero_is_rejected() {
        assert_eq!(Vrid::new(0), Err(ZeroVrid));
        assert_eq!(Vrid::new(255).map(Vrid::get), Ok(255));
    }
}
