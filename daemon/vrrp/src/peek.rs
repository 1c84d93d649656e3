//! Reads an advertisement without checking it, so that status can name who claims to be active even if the packet is
//! discarded. Nothing from here may reach the state machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// The type of an advertisement, in the low half of the first byte.
const ADVERTISEMENT: u8 = 1;

/// Where the addresses begin, in both versions.
const HEADER: usize = 8;

/// The longest interval of version 3, 4095 cs. Longer ones of version 2 are cut to it.
const MAX_INTERVAL: Duration = Duration::from_millis(40_950);

/// The fields of an advertisement, none of them checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unchecked {
    pub(crate) vrid: u8,
    pub(crate) priority: u8,
    pub(crate) interval: Duration,
    pub(crate) addresses: Vec<IpAddr>,
}

/// Reads the fields and as many addresses as there are. `None` unless it is an advertisement of version 2 or 3.
pub(crate) fn peek(source: IpAddr, payload: &[u8]) -> Option<Unchecked> {
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
    Some(Unchecked { vrid, priority, interval: interval.min(MAX_INTERVAL), addresses })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));

    #[test]
    fn fields_are_read_by_version_and_addresses_as_far_as_they_go() {
        let address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 100));
        let v2 = [0x21, 55, 100, 1, 1, 3, 0, 0, 192, 0, 2, 100, 1, 2, 3, 4, 5, 6, 7, 8];
        let v3 = [0x31, 55, 100, 1, 0, 10, 0, 0, 192, 0, 2, 100];
        let seen = |interval, addresses| Some(Unchecked { vrid: 55, priority: 100, interval, addresses });
        assert_eq!(peek(SOURCE, &v2), seen(Duration::from_secs(3), vec![address]));
        assert_eq!(peek(SOURCE, &v3), seen(Duration::from_millis(100), vec![address]));
        assert_eq!(peek(SOURCE, &v3[..7]), seen(Duration::from_millis(100), vec![]));
        for nothing in [&v3[..5], &[], &[0x32, 55, 100, 1, 0, 10, 0, 0], &[0x41, 55, 100, 1, 0, 10, 0, 0]] {
            assert_eq!(peek(SOURCE, nothing), None);
        }
    }

    #[test]
    fn forged_interval_is_bounded() {
        let v2 = [0x21, 55, 100, 0, 1, 255, 0, 0];
        assert_eq!(peek(SOURCE, &v2).map(|unchecked| unchecked.interval), Some(MAX_INTERVAL));
    }
}
