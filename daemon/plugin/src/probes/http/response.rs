//! What comes back: interim answers, the head, and the body as its head says where it ends (RFC 9112). Taken as liberally
//! as curl takes it, and never more of it than the check's limit.

use std::io::ErrorKind;

use httparse::{EMPTY_HEADER, ParserConfig, Response, Status};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::super::error::{Stage, of_connection};
use super::super::too_many_bytes;
use crate::contract::ProbeError;

/// Status line and headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) status: u16,
    /// Names in lower case.
    pub(super) headers: Vec<(String, String)>,
    /// Of the version: HTTP/1.0 or HTTP/1.1.
    minor: u8,
}

impl Head {
    pub(super) fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers.iter().filter(move |(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn is_redirect(&self) -> bool {
        matches!(self.status, 301 | 302 | 303 | 307 | 308) && self.values("location").next().is_some()
    }

    /// Whether the server keeps the connection for another request (RFC 9112 9.3).
    pub(super) fn keeps_open(&self) -> bool {
        let says = |token: &str| {
            self.values("connection").flat_map(|v| v.split(',')).any(|word| word.trim().eq_ignore_ascii_case(token))
        };
        let usual = if self.minor == 0 { says("keep-alive") } else { !says("close") };
        // RFC 9112 6.3: who says it twice may mean to hide an answer in another.
        usual && !(self.values("transfer-encoding").next().is_some() && self.values("content-length").next().is_some())
    }
}

/// The bytes of one answer.
pub(super) struct Incoming<R> {
    stream: R,
    /// Came, and not yet used.
    pub(super) buffer: Vec<u8>,
    /// Bytes that may still come.
    budget: usize,
    bound: usize,
    /// Whether anything came at all.
    pub(super) began: bool,
}

impl<R: AsyncRead + Unpin> Incoming<R> {
    pub(super) fn new(stream: R, bound: usize) -> Self {
        Incoming { stream, buffer: Vec::new(), budget: bound, bound, began: false }
    }

    /// Some more bytes, or false where the peer closed.
    pub(super) async fn more(&mut self) -> Result<bool, ProbeError> {
        let mut chunk = [0; 8192];
        // One more than may come: it tells an end from a cut.
        let room = chunk.len().min(self.budget + 1);
        let count = match self.stream.read(&mut chunk[..room]).await {
            Ok(count) => count,
            // TLS peers that hang up without a goodbye.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => 0,
            Err(error) => return Err(of_connection(&error, Stage::There, "waiting for an HTTP answer")),
        };
        self.budget = self.budget.checked_sub(count).ok_or_else(|| too_many_bytes(self.bound))?;
        self.began |= count > 0;
        self.buffer.extend_from_slice(&chunk[..count]);
        Ok(count > 0)
    }

    /// Up to the line feed. None: the peer closed before.
    pub(super) async fn line(&mut self, most: usize) -> Result<Option<Vec<u8>>, ProbeError> {
        let mut searched = 0;
        loop {
            if let Some(at) = self.buffer[searched..].iter().position(|byte| *byte == b'\n') {
                return Ok(Some(self.buffer.drain(..=searched + at).collect()));
            }
            searched = self.buffer.len();
            if searched > most {
                return Err(ProbeError::Other(format!(
                    "the HTTP answer has a line of more than {most} bytes between the parts of its body"
                )));
            }
            if !self.more().await? {
                return Ok(None);
            }
        }
    }

    /// The head of the answer itself, after those of interim ones (RFC 9110 15.2).
    pub(super) async fn head(&mut self) -> Result<Head, ProbeError> {
        loop {
            let head = self.any_head().await?;
            if !(100..=199).contains(&head.status) || head.status == 101 {
                // The body has the limit for itself.
                self.budget = self.bound.saturating_sub(self.buffer.len());
                return Ok(head);
            }
        }
    }

    async fn any_head(&mut self) -> Result<Head, ProbeError> {
        let mut searched = 0;
        loop {
            let blank = self.buffer.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            self.buffer.drain(..blank);
            let begins = &self.buffer[..self.buffer.len().min(5)];
            if !b"HTTP/".starts_with(begins) {
                return Err(strange(&self.buffer, "does not begin with HTTP/"));
            }
            if let Some(end) = end_of_head(&self.buffer, searched) {
                let head = parse(&self.buffer[..end])?;
                self.buffer.drain(..end);
                return Ok(head);
            }
            searched = self.buffer.len().saturating_sub(2);
            let open = match self.more().await {
                // Hung up on: what came counts.
                Err(error) if error.is_the_peers() && !self.buffer.is_empty() => false,
                open => open?,
            };
            if !open {
                return self.cut_head();
            }
        }
    }

    /// The peer closed within the head. One that has its first line is enough for curl, too.
    fn cut_head(&mut self) -> Result<Head, ProbeError> {
        if self.buffer.is_empty() {
            return Err(ProbeError::Other("connection closed before message completed: no answer came".to_owned()));
        }
        let whole = self.buffer.iter().rposition(|byte| *byte == b'\n').map(|at| &self.buffer[..=at]);
        let whole = whole.ok_or_else(|| strange(&self.buffer, "ends within its first line"))?;
        let head = parse(&[whole, b"\r\n"].concat())?;
        self.buffer.clear();
        Ok(head)
    }
}

/// Where the blank line ends, if it is there; lines may end with a bare line feed.
fn end_of_head(data: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(feed) = data[at..].iter().position(|byte| *byte == b'\n') {
        at += feed + 1;
        match data.get(at..) {
            Some([b'\n', ..]) => return Some(at + 1),
            Some([b'\r', b'\n', ..]) => return Some(at + 2),
            Some(_) | None => {}
        }
    }
    None
}

fn parse(data: &[u8]) -> Result<Head, ProbeError> {
    let mut headers = vec![EMPTY_HEADER; data.iter().filter(|byte| **byte == b'\n').count()];
    let mut response = Response::new(&mut headers);
    let parsed = ParserConfig::default()
        .allow_multiple_spaces_in_response_status_delimiters(true)
        .allow_obsolete_multiline_headers_in_responses(true)
        .allow_spaces_after_header_name_in_responses(true)
        .allow_space_before_first_header_name(true)
        .ignore_invalid_headers_in_responses(true)
        .parse_response(&mut response, data);
    match (parsed, response.code, response.version) {
        (Ok(Status::Complete(_)), Some(status), Some(minor)) => {
            let text = |value: &[u8]| String::from_utf8_lossy(value).trim().to_owned();
            let headers = response.headers.iter().map(|h| (h.name.to_ascii_lowercase(), text(h.value))).collect();
            Ok(Head { status, headers, minor })
        }
        (Err(error), ..) => Err(strange(data, &error.to_string())),
        (Ok(_), ..) => Err(strange(data, "has no whole head")),
    }
}

fn strange(data: &[u8], why: &str) -> ProbeError {
    let beginning: String = String::from_utf8_lossy(&data[..data.len().min(60)]).into_owned();
    ProbeError::Other(format!("expected an HTTP/1 answer, found {beginning:?}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn head(data: &[u8]) -> Result<Head, ProbeError> {
        Incoming::new(data, 1 << 20).head().await
    }

    #[tokio::test]
    async fn what_curl_takes_for_an_answer_is_one() {
        let many: String = (0..5000).map(|n| format!("x-{n}: y\r\n")).collect();
        let long = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(300_000));
        let many = format!("HTTP/1.1 200 OK\r\n{many}\r\n");
        let table: [&[u8]; 15] = [
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 200\r\n\r\n",
            b"HTTP/1.1 200 \r\n\r\n",
            b"HTTP/1.0 200 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\n\n",
            b"HTTP/1.1 200 OK\nx: y\n\n",
            b"\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 200 Gr\xfc\xdfe\r\n\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nx : y\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nx: y\r\n  more\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nno header at all\r\n\r\n",
            // The server closed.
            b"HTTP/1.0 200 OK\r\n",
            many.as_bytes(),
            long.as_bytes(),
        ];
        for data in table {
            let shown = String::from_utf8_lossy(&data[..data.len().min(60)]);
            assert_eq!(head(data).await.map(|head| head.status), Ok(200), "{shown:?}");
        }
        assert_eq!(head(many.as_bytes()).await.unwrap().headers.len(), 5000);
    }

    #[tokio::test]
    async fn what_is_no_answer_is_said_to_be_none() {
        for data in
            [&b"SSH-2.0-OpenSSH_9\r\n"[..], b"220 mail\r\n\r\n", b"HTTP/1.1 2\r\n\r\n", b"HTTP", b"<html></html>"]
        {
            let error = head(data).await.unwrap_err();
            assert!(
                matches!(&error, ProbeError::Other(text) if text.contains("expected an HTTP/1 answer")),
                "{error:?}"
            );
        }
        let error = head(b"").await.unwrap_err();
        assert!(error.words().contains("no answer came"), "{error:?}");
        let long = [b"HTTP/1.1 200 OK\r\n".to_vec(), b"x: y\r\n".repeat(500_000)].concat();
        assert!(matches!(head(&long).await, Err(ProbeError::Denied(text)) if text.contains("limits.probe_bytes")));
    }

    #[tokio::test]
    async fn a_connection_is_kept_where_the_server_keeps_it() {
        let table = [
            ("HTTP/1.1 200 OK\r\n\r\n", true),
            ("HTTP/1.1 200 OK\r\nConnection: x, Close\r\n\r\n", false),
            ("HTTP/1.0 200 OK\r\n\r\n", false),
            ("HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\n\r\n", true),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", false),
        ];
        for (data, keeps) in table {
            assert_eq!(head(data.as_bytes()).await.unwrap().keeps_open(), keeps, "{data:?}");
        }
    }
}
