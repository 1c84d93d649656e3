//! Filters in classic BPF for packet sockets whose data starts with the network header.
//!
//! Hand-written: a filter needs a dozen instructions, and offsets are all that BPF knows.

use std::num::NonZeroU32;

use socket2::SockFilter;

/// Bytes of the frame to accept: all of them.
const WHOLE: u32 = 0x4_0000;

pub(super) const fn load_byte(at: u32) -> SockFilter {
    step(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, at)
}

pub(super) const fn load_half(at: u32) -> SockFilter {
    step(libc::BPF_LD | libc::BPF_H | libc::BPF_ABS, at)
}

pub(super) const fn load_word(at: u32) -> SockFilter {
    step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, at)
}

/// Skips `yes` instructions if the loaded value is `value`, else `no`.
pub(super) const fn if_equal(value: u32, yes: u8, no: u8) -> SockFilter {
    jump(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, value, yes, no)
}

/// Skips this many instructions.
pub(super) const fn skip(instructions: u32) -> SockFilter {
    step(libc::BPF_JMP | libc::BPF_JA, instructions)
}

/// Skips `yes` instructions if the loaded value has any bit of `bits`, else `no`.
pub(super) const fn if_any_bit(bits: u32, yes: u8, no: u8) -> SockFilter {
    jump(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, bits, yes, no)
}

pub(super) const ACCEPT: SockFilter = step(libc::BPF_RET | libc::BPF_K, WHOLE);
pub(super) const DROP: SockFilter = step(libc::BPF_RET | libc::BPF_K, 0);

/// Passes frames that arrived for this host on this very interface. Drops frames that this host sent, frames for another
/// host or another VLAN (the link layer calls both "other host"), and frames that arrived on a device above this one:
/// a VLAN on it, or the bridge of which it is a port.
pub(super) fn arrived_on(index: NonZeroU32) -> [SockFilter; 6] {
    const PACKET_MULTICAST: u32 = 2;
    [
        load_byte(ancillary(libc::SKF_AD_PKTTYPE)),
        jump(libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K, PACKET_MULTICAST, 0, 1),
        DROP,
        load_word(ancillary(libc::SKF_AD_IFINDEX)),
        if_equal(index.get(), 1, 0),
        DROP,
    ]
}

const fn ancillary(what: i32) -> u32 {
    (libc::SKF_AD_OFF + what) as u32
}

const fn step(code: u32, k: u32) -> SockFilter {
    jump(code, k, 0, 0)
}

const fn jump(code: u32, k: u32, yes: u8, no: u8) -> SockFilter {
    SockFilter::new(code as u16, yes, no, k)
}
