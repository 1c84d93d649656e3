//! Reading fields of received bytes.

/// The `N` bytes from `at` on; `None` if there are fewer.
pub(crate) fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}
