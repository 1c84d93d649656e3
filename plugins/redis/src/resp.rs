//! The part of Redis's protocol that this check needs: commands as lists of words, and three kinds of replies.

use vouchd_check_peer::{Stop, Stream, Talk, quoted};

/// The most bytes of a status or an error.
const MAX_LINE: u32 = 64 << 10;
/// The most bytes of a bulk reply: Redis's own limit. One that exceeds the check's `limits.probe_bytes` is denied.
const MAX_BULK: u32 = 512 << 20;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    Status(String),
    Error(String),
    Bulk(Vec<u8>),
}

pub(crate) fn command(words: &[&str]) -> Vec<u8> {
    let mut command = format!("*{}\r\n", words.len());
    for word in words {
        command += &format!("${}\r\n{word}\r\n", word.len());
    }
    command.into_bytes()
}

/// Reads one reply. Messages about a failure call it `what`.
///
/// # Errors
/// If it does not arrive in time, or it is something else.
pub(crate) fn read(stream: &mut Stream, what: &str) -> Talk<Reply> {
    let head = stream.until(b"\r\n", MAX_LINE, what)?;
    let text = || quoted(head.get(1..).unwrap_or_default());
    match head.first() {
        Some(b'+') => Ok(Reply::Status(text())),
        Some(b'-') => Ok(Reply::Error(text())),
        Some(b'$') => {
            let length = text().parse().ok().filter(|length| *length <= MAX_BULK);
            let length: u32 = length.ok_or_else(|| Stop::fail(format!("sent {what} with length {:?}", text())))?;
            let mut data = stream.exactly(length + 2, what)?;
            if !data.ends_with(b"\r\n") {
                return Err(Stop::fail(format!("sent {what} with a wrong length")));
            }
            data.truncate(data.len() - 2);
            Ok(Reply::Bulk(data))
        }
        Some(_) | None => {
            Err(Stop::fail(format!("expected {what} from Redis, found {:?}", quoted(&head[..head.len().min(60)]))))
        }
    }
}
