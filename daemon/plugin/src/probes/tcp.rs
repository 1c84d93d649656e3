//! The TCP probe: connects, sends something, reads the answer.

use std::time::{Duration, Instant};

use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant as Deadline;
use vouchd_config::Grants;

use super::bounds::{checked_delimiter, too_many_bytes, until};
use super::connection::{self, Portions};
use super::error::{Stage, of_connection};
use super::resolver;
use crate::contract::ProbeError;
use crate::contract::tcp::Reply;

/// The plugin's request; see `tcp.probe` in the contract.
pub(crate) struct Request {
    pub(crate) addr: String,
    pub(crate) send: Vec<u8>,
    pub(crate) until: Option<Vec<u8>>,
    pub(crate) max_bytes: u32,
}

/// Carries at most `bound` bytes each way.
pub(crate) async fn probe(
    grants: &Grants,
    request: &Request,
    bound: usize,
    time: Duration,
) -> Result<Reply, ProbeError> {
    if request.send.len() > bound {
        return Err(too_many_bytes(bound));
    }
    let until_given = checked_delimiter(request.until.as_deref())?.is_some();
    let mut reply = Reply { connect_us: 0, data: Vec::new() };
    let deadline = Deadline::now() + time;
    let (took, stream) = connect(grants, &request.addr, deadline).await?;
    reply.connect_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    match until(deadline, converse(stream, request, bound, &mut reply)).await {
        Ok(()) => Ok(reply),
        // Without a delimiter to wait for, silence after some data ends the answer.
        Err(ProbeError::Timeout) if !until_given && !reply.data.is_empty() => Ok(reply),
        Err(error) => Err(error),
    }
}

/// Connects to `host:port` if it is granted; returns how long connecting took as well.
pub(super) async fn connect(
    grants: &Grants,
    addr: &str,
    deadline: Deadline,
) -> Result<(Duration, Portions<TcpStream>), ProbeError> {
    let (host, port) = split(addr).ok_or_else(|| {
        ProbeError::Invalid(format!("{addr:?} is not an address: expected host:port, as in 127.0.0.1:3306 or [::1]:80"))
    })?;
    grants.permits_tcp(host, port).map_err(|refusal| ProbeError::Denied(refusal.to_string()))?;
    let permits = |address| grants.permits_tcp_address(host, address);
    let addresses = resolver::permitted(host, port, permits, deadline).await?;
    let started = Instant::now();
    let connected = until(deadline, connection::tcp(&addresses)).await;
    let stream = connected.map_err(|error| connection::unless_unplugged(error, &addresses))?;
    Ok((started.elapsed(), stream))
}

async fn converse(
    mut stream: Portions<TcpStream>,
    request: &Request,
    bound: usize,
    reply: &mut Reply,
) -> Result<(), ProbeError> {
    let failed = |error| of_connection(&error, Stage::There, &format!("talking to {}", request.addr));
    let sent = stream.write_all(&request.send).await.map_err(failed);
    let most = request.max_bytes as usize;
    if most == 0 {
        return sent;
    }
    let mut buffer = [0; 8192];
    while reply.data.len() < most {
        // One byte more than allowed tells the end of the data from a cut.
        let room = buffer.len().min(most - reply.data.len()).min(bound + 1 - reply.data.len());
        let n = match stream.read(&mut buffer[..room]).await {
            Ok(n) => n,
            Err(error) => match failed(error) {
                // A peer may answer before it hangs up on the request.
                error if error.is_the_peers() && !reply.data.is_empty() => break,
                error => return Err(sent.err().unwrap_or(error)),
            },
        };
        if n == 0 {
            break;
        }
        // The delimiter may have begun in the data before.
        let overlap = request.until.as_ref().map_or(0, |u| u.len().saturating_sub(1));
        let from = reply.data.len().saturating_sub(overlap);
        reply.data.extend_from_slice(&buffer[..n]);
        if reply.data.len() > bound {
            return Err(too_many_bytes(bound));
        }
        if let Some(until) = request.until.as_ref().filter(|u| !u.is_empty())
            && memmem::find(&reply.data[from..], until).is_some()
        {
            break;
        }
    }
    Ok(())
}

/// Splits `host:port` or `[v6]:port`; returns the host without brackets.
fn split(addr: &str) -> Option<(&str, u16)> {
    let (host, port) = addr.rsplit_once(':')?;
    let bracketed = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    if host.contains(':') != bracketed.is_some() {
        return None;
    }
    let host = bracketed.unwrap_or(host);
    if host.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some((host, port.parse().ok().filter(|p| *p != 0)?))
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn address_is_host_and_port() {
        let table = [
            ("127.0.0.1:80", Some(("127.0.0.1", 80))),
            ("[::1]:80", Some(("::1", 80))),
            ("db.local:3306", Some(("db.local", 3306))),
            ("::1:80", None),
            ("db.local", None),
            ("db.local:", None),
            ("db.local:+80", None),
            ("db.local:0", None),
            ("db.local:65536", None),
            (":80", None),
        ];
        for (text, expected) in table {
            assert_eq!(split(text), expected, "{text:?}");
        }
    }
}
