//! What can be read of an advertisement that is not believed: enough to say who claims to be active, and for what.
//!
//! Nothing here is checked, and nothing of it may reach the state machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// The type of an advertisement, in the low half of the first byte.
const ADVERTISEMENT: u8 = 1;

/// Where the addresses begin, in both versions.
const HEADER: usize = 8;

/// The longest interval of version 3, 4095 cs. A made-up one of version 2 counts no longer.
const LONGEST: Duration = Duration::from_millis(40_950);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Glimpse {
    pub(crate) vrid: u8,
    pub(crate) priority: u8,
    pub(crate) interval: Duration,
    pub(crate) addresses: Vec<IpAddr>,
}

/// Reads what is there; `None` for what is no advertisement of a version that exists.
pub(crate) fn glimpse(source: IpAddr, payload: &[u8]) -> Option<Glimpse> {
    let &[first, vrid, priority, count, high, low, ..] = payload else { return None };
    let interval = match (first >> 4, first & 0xf) {
        (2, ADVERTISEMENT) => Duration::from_secs(u64::from(low)),
        (3, ADVERTISEMENT) => Duration::from_millis(u64::from(u16::from_be_bytes([high & 0xf, low])) * 10),
        _ => return None,
    };
    let list = payload.get(HEADER..).unwrap_or_default();
    let addresses: Vec<IpAddr> = match source {
        IpAddr::V4(_) => list.as_chunks::<4>().0.iter().map(|bytes| Ipv4Addr::from(*bytes).into()).collect(),
        IpAddr::V6(_) => list.as_chunks::<16>().0.iter().map(|bytes| Ipv6Addr::from(*bytes).into()).collect(),
    };
    let addresses = addresses.into_iter().take(usize::from(count)).collect();
    Some(Glimpse { vrid, priority, interval: interval.min(LONGEST), addresses })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));

    #[test]
    fn version_and_length_decide_what_is_read() {
        let address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 100));
        let v2 = [0x21, 55, 100, 1, 1, 3, 0, 0, 192, 0, 2, 100, 1, 2, 3, 4, 5, 6, 7, 8];
        let v3 = [0x31, 55, 100, 1, 0, 10, 0, 0, 192, 0, 2, 100];
        let seen = |interval, addresses| Some(Glimpse { vrid: 55, priority: 100, interval, addresses });
        assert_eq!(glimpse(SOURCE, &v2), seen(Duration::from_secs(3), vec![address]));
        assert_eq!(glimpse(SOURCE, &v3), seen(Duration::from_millis(100), vec![address]));
        assert_eq!(glimpse(SOURCE, &v3[..7]), seen(Duration::from_millis(100), vec![]));
        for nothing in [&v3[..5], &[], &[0x32, 55, 100, 1, 0, 10, 0, 0], &[0x41, 55, 100, 1, 0, 10, 0, 0]] {
            assert_eq!(glimpse(SOURCE, nothing), None);
        }
    }

    #[test]
    fn a_made_up_interval_is_bounded() {
        let v2 = [0x21, 55, 100, 0, 1, 255, 0, 0];
        assert_eq!(glimpse(SOURCE, &v2).map(|glimpse| glimpse.interval), Some(LONGEST));
    }
}
