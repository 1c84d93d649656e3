//! The trailer that authenticates an advertisement by HMAC-SHA256 (draft-cassen-vrrp-auth-hmac), in both versions and
//! families.
//!
//! ```text
//! +---------------+---------------+-------------------------------+
//! |    Type 1     |    Key ID     |         Reserved (0)          |
//! +---------------+---------------+-------------------------------+
//! |                   Sequence: seconds since 1970                |
//! +-------------------------------+-------------------------------+
//! |  fraction of a second (1/65536)|            counter           |
//! +-------------------------------+-------------------------------+
//! |        the first 16 bytes of HMAC-SHA256 over P, M', T'       |
//! ```
//!
//! P is a pseudo-header with family, version, VRID and source address, M' the message with a checksum of 0, T' this trailer
//! with a tag of 0. So the tag covers everything but the checksum, which routers on the way may not change either.

use std::fmt;
use std::net::IpAddr;

use hmac_sha256::HMAC;

/// The length of the trailer.
pub const TRAILER: usize = 28;

const TYPE_HMAC_SHA256: u8 = 1;
const TAG: usize = 16;
const CHECKSUM: std::ops::Range<usize> = 6..8;

/// When an advertisement was sent, so that a copy of it is recognised: a later one is greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence {
    /// Seconds since 1970.
    pub seconds: u32,
    /// The fraction of the second, in units of 1/65536 s.
    pub fraction: u16,
    /// Distinguishes those that were sent within one unit.
    pub counter: u16,
}

impl Sequence {
    /// The sequence of a time since 1970, with a counter of 0.
    pub fn at(since_1970: std::time::Duration) -> Self {
        let fraction = (u64::from(since_1970.subsec_nanos()) << 16) / 1_000_000_000;
        // Below 65536, since it is a fraction; the seconds wrap in 2106, as the field does.
        Self { seconds: since_1970.as_secs() as u32, fraction: fraction as u16, counter: 0 }
    }

    /// The next greater one.
    pub fn next(self) -> Self {
        let number = u64::from(self).wrapping_add(1);
        Self { seconds: (number >> 32) as u32, fraction: (number >> 16) as u16, counter: number as u16 }
    }

    /// The time between two, in whole seconds.
    pub fn seconds_between(self, other: Self) -> u32 {
        self.seconds.abs_diff(other.seconds)
    }
}

impl From<Sequence> for u64 {
    fn from(sequence: Sequence) -> u64 {
        u64::from(sequence.seconds) << 32 | u64::from(sequence.fraction) << 16 | u64::from(sequence.counter)
    }
}

/// A key of HMAC-SHA256, shared by the routers of a virtual router.
#[derive(Clone, PartialEq, Eq)]
pub struct HmacKey {
    /// Its number in the trailer.
    pub id: u8,
    /// Its bytes.
    pub secret: Vec<u8>,
}

// Not derived: no log line may show a key.
impl fmt::Debug for HmacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HmacKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A trailer as received. [`Trailer::is_authentic`] checks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer {
    /// The key that it names.
    pub key: u8,
    /// When the advertisement was sent.
    pub sequence: Sequence,
    bytes: [u8; TRAILER],
}

/// A trailer as received, and the message in front of it.
pub type Sealed<'a> = (Trailer, &'a [u8]);

impl Trailer {
    /// Reads a trailer. `None` if its type is unknown or its reserved bits are set.
    pub fn parse(bytes: &[u8; TRAILER]) -> Option<Self> {
        let &[kind, key, reserved_high, reserved_low, s0, s1, s2, s3, f0, f1, c0, c1, ..] = bytes;
        let sequence = Sequence {
            seconds: u32::from_be_bytes([s0, s1, s2, s3]),
            fraction: u16::from_be_bytes([f0, f1]),
            counter: u16::from_be_bytes([c0, c1]),
        };
        let known = kind == TYPE_HMAC_SHA256 && (reserved_high, reserved_low) == (0, 0);
        known.then_some(Self { key, sequence, bytes: *bytes })
    }

    /// Whether a holder of `key` sent `message` from `source` with this trailer. Takes the same time for every tag.
    pub fn is_authentic(&self, key: &HmacKey, source: IpAddr, message: &[u8]) -> bool {
        let expected = tag(key, source, message, &self.bytes);
        let found = &self.bytes[TRAILER - TAG..];
        expected.iter().zip(found).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
    }
}

/// Returns the trailer for `message`, the encoded advertisement that is sent from `source`.
pub fn trailer(key: &HmacKey, sequence: Sequence, source: IpAddr, message: &[u8]) -> [u8; TRAILER] {
    let mut bytes = [0; TRAILER];
    bytes[0] = TYPE_HMAC_SHA256;
    bytes[1] = key.id;
    bytes[4..12].copy_from_slice(&u64::from(sequence).to_be_bytes());
    let tag = tag(key, source, message, &bytes);
    bytes[TRAILER - TAG..].copy_from_slice(&tag);
    bytes
}

fn tag(key: &HmacKey, source: IpAddr, message: &[u8], trailer: &[u8; TRAILER]) -> [u8; TAG] {
    let mut pseudo_header = [0; 20];
    let byte = |at: usize| message.get(at).copied().unwrap_or_default();
    let version = byte(0) >> 4;
    let vrid = byte(1);
    match source {
        IpAddr::V4(v4) => {
            pseudo_header[..4].copy_from_slice(&[4, version, vrid, 0]);
            pseudo_header[4..8].copy_from_slice(&v4.octets());
        }
        IpAddr::V6(v6) => {
            pseudo_header[..4].copy_from_slice(&[6, version, vrid, 0]);
            pseudo_header[4..].copy_from_slice(&v6.octets());
        }
    }
    let mut message = message.to_vec();
    if let Some(checksum) = message.get_mut(CHECKSUM) {
        checksum.fill(0);
    }
    let mut hmac = HMAC::new(&key.secret);
    hmac.update(pseudo_header);
    hmac.update(&message);
    hmac.update(&trailer[..TRAILER - TAG]);
    hmac.update([0; TAG]);
    let (tag, _) = hmac.finalize().split_first_chunk::<TAG>().map(|(tag, rest)| (*tag, rest.len())).unwrap_or_default();
    tag
}

#[cfg(test)]
mod tests;
