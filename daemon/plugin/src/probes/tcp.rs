//! The TCP probe: connect, say something, read the answer.

use std::time::{Duration, Instant};

use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant as Deadline;
use vouchd_config::Grants;

use super::error::{Stage, of_connection};
use super::wire::Portions;
use super::{checked_end, connect, too_many_bytes, until};
use crate::contract::ProbeError;
use crate::contract::tcp::Reply;

/// What the plugin asked for; see `tcp.probe` in the contract.
pub(crate) struct Request {
    pub(crate) addr: String,
    pub(crate) send: Vec<u8>,
    pub(crate) until: Option<Vec<u8>>,
    pub(crate) max_bytes: u32,
}

/// Sends and receives at most `bound` bytes.
pub(crate) async fn probe(
    grants: &Grants,
    request: &Request,
    bound: usize,
    time: Duration,
) -> Result<Reply, ProbeError> {
    if request.send.len() > bound {
        return Err(too_many_bytes(bound));
    }
    let until_given = checked_end(request.until.as_deref())?.is_some();
    let mut reply = Reply { connect_us: 0, data: Vec::new() };
    let deadline = Deadline::now() + time;
    let (took, stream) = connect(grants, &request.addr, deadline).await?;
    reply.connect_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    match until(deadline, converse(stream, request, bound, &mut reply)).await {
        Ok(()) => Ok(reply),
        // Without an end to wait for, silence after some data is the end.
        Err(ProbeError::Timeout) if !until_given && !reply.data.is_empty() => Ok(reply),
        Err(error) => Err(error),
    }
}

/// Connects to `host:port` as far as it is granted; with how long the connect took.
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
    let addresses = connect::addresses(host, port, permits, deadline).await?;
    let started = Instant::now();
    let connected = until(deadline, connect::tcp(&addresses)).await;
    let stream = connected.map_err(|error| connect::unless_unplugged(error, &addresses))?;
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
        // One more than may come: it tells an end from a cut.
        let room = buffer.len().min(most - reply.data.len()).min(bound + 1 - reply.data.len());
        let n = match stream.read(&mut buffer[..room]).await {
            Ok(n) => n,
            Err(error) => match failed(error) {
                // What it had to say it may have said before it hung up on what it was asked.
                error if error.is_the_peers() && !reply.data.is_empty() => break,
                error => return Err(sent.err().unwrap_or(error)),
            },
        };
        if n == 0 {
            break;
        }
        // The end may have begun in what came before.
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

/// `host:port` and `[v6]:port`; the host without brackets.
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
    fn an_address_is_host_and_port() {
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
