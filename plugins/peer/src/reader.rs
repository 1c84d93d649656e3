//! A cursor over a received message, for the wire formats of the plugins.

/// A message that does not follow its protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// What reading from a message gives.
pub type Parsed<T> = Result<T, Malformed>;

/// Reads a message from the front. A read that fails leaves the position as it was.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    data: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    pub fn new(data: &'a [u8]) -> Self {
        Reader { data, position: 0 }
    }

    /// The number of bytes before the next one.
    pub fn position(&self) -> usize {
        self.position
    }

    /// All bytes that have not been read. Does not move.
    pub fn rest(&self) -> &'a [u8] {
        self.data.get(self.position..).unwrap_or_default()
    }

    /// Reads `length` bytes.
    ///
    /// # Errors
    /// If fewer are left.
    pub fn take(&mut self, length: usize) -> Parsed<&'a [u8]> {
        let taken = self.rest().get(..length).ok_or(Malformed)?;
        self.position += length;
        Ok(taken)
    }

    /// Reads `N` bytes as an array, for `from_le_bytes` and its relatives.
    ///
    /// # Errors
    /// If fewer are left.
    pub fn array<const N: usize>(&mut self) -> Parsed<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| Malformed)
    }

    /// Reads one byte.
    ///
    /// # Errors
    /// If none is left.
    pub fn byte(&mut self) -> Parsed<u8> {
        self.array().map(|[byte]| byte)
    }

    /// Reads an unsigned number of up to 8 bytes, lowest byte first.
    ///
    /// # Errors
    /// If fewer are left.
    pub fn little_endian(&mut self, bytes: usize) -> Parsed<u64> {
        Ok(self.take(bytes)?.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// Reads up to a zero byte, which is consumed but not part of the text.
    ///
    /// # Errors
    /// If there is no zero byte.
    pub fn text(&mut self) -> Parsed<&'a [u8]> {
        let rest = self.rest();
        let length = rest.iter().position(|byte| *byte == 0).ok_or(Malformed)?;
        self.position += length + 1;
        Ok(&rest[..length])
    }

    /// Skips to the next position that is a multiple of `boundary`.
    ///
    /// # Errors
    /// If that lies behind the end.
    pub fn align(&mut self, boundary: usize) -> Parsed<()> {
        self.take(self.position.next_multiple_of(boundary) - self.position).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_go_from_the_front_to_the_end() {
        let mut reader = Reader::new(b"\x01\x02\x03ab\0cd\0\0rest");
        assert_eq!(reader.byte(), Ok(1));
        assert_eq!(reader.little_endian(2), Ok(0x0302));
        assert_eq!(reader.text(), Ok(&b"ab"[..]));
        assert_eq!(reader.array(), Ok(*b"cd"));
        assert_eq!((reader.position(), reader.align(4)), (8, Ok(())));
        assert_eq!((reader.text(), reader.text()), (Ok(&b""[..]), Ok(&b""[..])));
        assert_eq!((reader.position(), reader.align(4)), (10, Ok(())));
        assert_eq!((reader.position(), reader.rest()), (12, &b"st"[..]));
    }

    #[test]
    fn read_beyond_the_end_fails_and_moves_nothing() {
        let mut reader = Reader::new(b"abc");
        assert_eq!(reader.take(4), Err(Malformed));
        assert_eq!(reader.take(usize::MAX), Err(Malformed));
        assert_eq!(reader.array::<4>(), Err(Malformed));
        assert_eq!(reader.little_endian(8), Err(Malformed));
        assert_eq!(reader.text(), Err(Malformed));
        assert_eq!(reader.byte(), Ok(b'a'));
        assert_eq!(reader.align(4), Err(Malformed));
        assert_eq!(reader.take(2), Ok(&b"bc"[..]));
        assert_eq!((reader.byte(), reader.rest()), (Err(Malformed), &b""[..]));
    }
}
