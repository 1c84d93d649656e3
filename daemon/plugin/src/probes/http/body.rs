//! The body of an answer: where it ends (RFC 9112 6.3), and as much of it as is wanted.

use tokio::io::AsyncRead;

use super::response::{Head, Incoming};
use crate::contract::ProbeError;

/// The size of a chunk with what may follow it, or a trailer.
const MAX_LINE: usize = 16 << 10;

/// Digits of a chunk's size, as many as curl takes: an endless row of zeros is no number.
const MAX_DIGITS: usize = 16;

/// How a body ends, and how far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// After so many more bytes.
    Length(u64),
    /// A chunk's size comes next.
    Chunked,
    /// Within a chunk, of which so many bytes are left.
    Chunk(u64),
    UntilClose,
    Done,
}

impl Framing {
    pub(super) fn of(head: &Head, is_head_request: bool) -> Result<Self, ProbeError> {
        if is_head_request || matches!(head.status, 100..=199 | 204 | 304) {
            return Ok(Framing::Done);
        }
        let codings = head.values("transfer-encoding").flat_map(|value| value.split(','));
        if let Some(last) = codings.last() {
            let chunked = last.trim().eq_ignore_ascii_case("chunked");
            return Ok(if chunked { Framing::Chunked } else { Framing::UntilClose });
        }
        let mut lengths = head.values("content-length").flat_map(|value| value.split(',')).map(str::trim);
        let Some(length) = lengths.next() else { return Ok(Framing::UntilClose) };
        if lengths.any(|other| other != length) {
            return Err(ProbeError::Other("the HTTP answer has several lengths, and they differ".to_owned()));
        }
        let digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
        match length.parse() {
            Ok(0) => Ok(Framing::Done),
            Ok(length) if digits => Ok(Framing::Length(length)),
            Ok(_) | Err(_) => Err(ProbeError::Other(format!("the HTTP answer has a length of {length:?}"))),
        }
    }
}

/// Adds to `data` until it has `most` bytes or the body ends. False: it ends later.
pub(super) async fn read<R: AsyncRead + Unpin>(
    incoming: &mut Incoming<R>,
    framing: &mut Framing,
    data: &mut Vec<u8>,
    most: usize,
) -> Result<bool, ProbeError> {
    loop {
        let (left, next) = match *framing {
            Framing::Done => return Ok(true),
            _ if data.len() >= most => return Ok(false),
            Framing::Chunked => {
                *framing = chunk(incoming).await?;
                continue;
            }
            Framing::Length(left) => (left, Framing::Length as fn(u64) -> Framing),
            Framing::Chunk(left) => (left, Framing::Chunk as fn(u64) -> Framing),
            Framing::UntilClose => (u64::MAX, (|_| Framing::UntilClose) as fn(u64) -> Framing),
        };
        if incoming.buffer.is_empty() {
            let open = match incoming.more().await {
                // Its end is all that such a body has for a sign, however it comes.
                Err(error) if error.is_the_peers() && *framing == Framing::UntilClose => false,
                open => open?,
            };
            if !open {
                if *framing != Framing::UntilClose {
                    return Err(ProbeError::Other(
                        "the server closed the connection within the HTTP answer".to_owned(),
                    ));
                }
                *framing = Framing::Done;
                continue;
            }
        }
        let take = incoming.buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX)).min(most - data.len());
        data.extend(incoming.buffer.drain(..take));
        let left = left - take as u64;
        *framing = match (left, *framing) {
            (0, Framing::Length(_)) => Framing::Done,
            (0, Framing::Chunk(_)) => {
                line(incoming).await?;
                Framing::Chunked
            }
            (left, _) => next(left),
        };
    }
}

/// What begins with a chunk's size; the last one has none, and trailers after it.
async fn chunk<R: AsyncRead + Unpin>(incoming: &mut Incoming<R>) -> Result<Framing, ProbeError> {
    let line_ = line(incoming).await?;
    let text = String::from_utf8_lossy(&line_);
    let digits = text.split(';').next().unwrap_or_default().trim();
    let size = (digits.len() <= MAX_DIGITS && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .then(|| u64::from_str_radix(digits, 16).ok())
        .flatten();
    match size {
        Some(0) => {
            while line(incoming).await?.iter().any(|byte| !matches!(byte, b'\r' | b'\n')) {}
            Ok(Framing::Done)
        }
        Some(size) => Ok(Framing::Chunk(size)),
        None => {
            let found: String = digits.chars().take(40).collect();
            Err(ProbeError::Other(format!("expected the size of a chunk of the HTTP answer, found {found:?}")))
        }
    }
}

async fn line<R: AsyncRead + Unpin>(incoming: &mut Incoming<R>) -> Result<Vec<u8>, ProbeError> {
    let line = incoming.line(MAX_LINE).await?;
    line.ok_or_else(|| ProbeError::Other("the server closed the connection within the HTTP answer".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn body(answer: &str, most: usize) -> Result<(String, bool), String> {
        let mut incoming = Incoming::new(answer.as_bytes(), 1 << 20);
        let head = incoming.head().await.map_err(|e| e.words())?;
        let mut framing = Framing::of(&head, false).map_err(|e| e.words())?;
        let mut data = Vec::new();
        let done = read(&mut incoming, &mut framing, &mut data, most).await.map_err(|e| e.words())?;
        Ok((String::from_utf8_lossy(&data).into_owned(), done))
    }

    #[tokio::test]
    async fn a_body_ends_where_its_head_says() {
        const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n";
        let table = [
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcdef".to_owned(), "abc", true),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc".to_owned(), "abc", true),
            ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nabc".to_owned(), "", true),
            ("HTTP/1.1 204 No\r\n\r\nabc".to_owned(), "", true),
            ("HTTP/1.0 200 OK\r\n\r\nabc".to_owned(), "abc", true),
            (format!("{CHUNKED}2;x=y\r\nab\r\n00001\r\nc\r\n0\r\ntrailer: x\r\n\r\nrest"), "abc", true),
            (format!("{CHUNKED}3\nabc\n0\n\n"), "abc", true),
            ("HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\nabcdefghijk".to_owned(), "abcdefghij", false),
            (format!("{CHUNKED}ff\r\nabcdefghijk"), "abcdefghij", false),
        ];
        for (answer, text, done) in table {
            assert_eq!(body(&answer, 10).await, Ok((text.to_owned(), done)), "{answer:?}");
        }
    }

    #[tokio::test]
    async fn what_ends_too_early_or_never_is_an_error() {
        const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let table = [
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab".to_owned(), "closed the connection within"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3, 4\r\n\r\nab".to_owned(), "several lengths"),
            ("HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\nab".to_owned(), "a length of \"-3\""),
            (format!("{CHUNKED}{}", "0".repeat(100_000)), "a line of more than"),
            (format!("{CHUNKED}{}1\r\na\r\n0\r\n\r\n", "0".repeat(100)), "expected the size of a chunk"),
            (format!("{CHUNKED}x\r\n"), "expected the size of a chunk"),
            (format!("{CHUNKED}5\r\nab"), "closed the connection within"),
            (format!("{CHUNKED}0\r\n{}", "x: y\r\n".repeat(300_000)), "limits.probe_bytes"),
            (format!("HTTP/1.0 200 OK\r\n\r\n{}", "x".repeat(1 << 21)), "limits.probe_bytes"),
        ];
        for (answer, expected) in table {
            let error = body(&answer, usize::MAX).await.unwrap_err();
            assert!(error.contains(expected), "{expected}: {error}");
        }
    }
}
