//! Redis's protocol, as far as this check speaks it: commands as lists of words, and three kinds of answers.

use vouchd_check_peer::{Line, Stop, Talk, quoted};

/// A status or an error is not longer.
const MAX_LINE: u32 = 64 << 10;
/// Redis's own limit. What the check's `limits.probe_bytes` cuts is an error that the daemon tells.
const MAX_BULK: u32 = 512 << 20;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    Status(String),
    Error(String),
    Bulk(Vec<u8>),
}

pub fn command(words: &[&str]) -> Vec<u8> {
    let mut command = format!("*{}\r\n", words.len());
    for word in words {
        command += &format!("${}\r\n{word}\r\n", word.len());
    }
    command.into_bytes()
}

/// One answer. `what` it is stands in the message when it doesn't come.
///
/// # Errors
/// If none comes, or it is something else.
pub fn read(line: &mut Line, what: &str) -> Talk<Reply> {
    let head = line.until(b"\r\n", MAX_LINE, what)?;
    let text = || quoted(head.get(1..).unwrap_or_default());
    match head.first() {
        Some(b'+') => Ok(Reply::Status(text())),
        Some(b'-') => Ok(Reply::Error(text())),
        Some(b'$') => {
            let length = text().parse().ok().filter(|length| *length <= MAX_BULK);
            let length: u32 = length.ok_or_else(|| Stop::fail(format!("sent a length of {:?} for {what}", text())))?;
            let mut data = line.exactly(length + 2, what)?;
            if !data.ends_with(b"\r\n") {
                return Err(Stop::fail(format!("sent another length than that of {what}")));
            }
            data.truncate(data.len() - 2);
            Ok(Reply::Bulk(data))
        }
        Some(_) | None => {
            Err(Stop::fail(format!("expected {what} of Redis, found {:?}", quoted(&head[..head.len().min(60)]))))
        }
    }
}
