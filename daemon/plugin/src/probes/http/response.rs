//! Answers: redirects, headers for the plugin, and why there is no answer. As liberal as curl, as far as hyper allows.

use std::error::Error;

use reqwest::Response;
use reqwest::header::LOCATION;

use super::super::bounds::too_many_bytes;
use super::super::error::{Stage, of_connection};
use super::connection::MAX_HEADERS;
use super::meter::Meter;
use crate::contract::ProbeError;

/// The fewest bytes besides the body of an answer whose chunk extensions or trailers exceed hyper's limits: as many trailers
/// as it reads, of the shortest kind.
const LEAST_OF_CHUNKS: usize = 3 * MAX_HEADERS;

/// The target of a redirect.
pub(super) fn location(response: &Response) -> Option<String> {
    let is_redirect = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    let location = response.headers().get(LOCATION).filter(|_| is_redirect)?;
    Some(String::from_utf8_lossy(location.as_bytes()).into_owned())
}

/// Whether the body of this answer is not read if redirects are followed.
pub(super) fn wants_no_body(response: &Response) -> bool {
    location(response).is_some()
}

/// The headers, with names in lower case.
pub(super) fn headers(response: &Response) -> Vec<(String, String)> {
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    response.headers().iter().map(|(name, value)| (name.as_str().to_owned(), text(value.as_bytes()))).collect()
}

/// Why there is no complete answer. The innermost cause of an error says best what happened.
pub(super) fn failure(error: &(dyn Error + 'static), meter: &Meter, bound: usize) -> ProbeError {
    if meter.is_exceeded() {
        return too_many_bytes(bound);
    }
    let beginning = meter.beginning();
    let mut last = error.to_string();
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<hyper::Error>() {
            if error.is_parse() && meter.came() >= bound {
                return too_many_bytes(bound);
            }
            let has_begun = b"HTTP/".starts_with(&beginning[..beginning.len().min(5)]);
            // hyper reports only that it can't parse the head.
            if error.is_parse() && has_begun && meter.lines() > MAX_HEADERS {
                return beyond(&format!("{MAX_HEADERS} headers"));
            }
            if error.is_parse() || (error.is_incomplete_message() && !has_begun) {
                return strange(&beginning, &error.to_string());
            }
            if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
                return ended(meter, &beginning);
            }
        }
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            if error.raw_os_error().is_some() {
                return of_connection(error, Stage::There, "waiting for an HTTP answer");
            }
            if error.kind() == std::io::ErrorKind::UnexpectedEof {
                return ended(meter, &beginning);
            }
            // hyper reports its limits this way, and two breaches of the protocol that are shorter.
            if error.kind() == std::io::ErrorKind::InvalidData && meter.besides_body() >= LEAST_OF_CHUNKS.min(bound) {
                return beyond(&format!("16 KiB of chunk extensions, or {MAX_HEADERS} trailers"));
            }
        }
        last = error.to_string();
        cause = error.source();
    }
    ProbeError::Other(last)
}

/// The rest of the answer is unknown, so the whole can't be judged.
fn beyond(limit: &str) -> ProbeError {
    ProbeError::Denied(format!("the server's answer has more than {limit}, the most that vouchd reads"))
}

/// The server hung up.
fn ended(meter: &Meter, beginning: &[u8]) -> ProbeError {
    match meter.end() {
        Some(error) => of_connection(&error, Stage::There, "waiting for an HTTP answer"),
        None if beginning.is_empty() => {
            ProbeError::Other("connection closed before message completed: no answer came".to_owned())
        }
        None => ProbeError::Other("the server closed the connection within the HTTP answer".to_owned()),
    }
}

fn strange(beginning: &[u8], why: &str) -> ProbeError {
    let beginning = String::from_utf8_lossy(beginning);
    ProbeError::Other(format!("expected an HTTP/1 answer, found {beginning:?}: {why}"))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use reqwest::{Method, Request};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::super::connection::{Connection, MAX_HEADERS, Wanted};
    use crate::contract::ProbeError;

    const BOUND: usize = 1 << 20;

    /// The answer to a plugin that wants this much of the body; the server sends `data` and closes.
    async fn fetched(data: &[u8], most: usize, keep: bool) -> Result<(u16, String, bool), String> {
        exchanged(data, most, keep).await.map_err(|error| error.words())
    }

    /// Why the whole answer can't be read.
    async fn failed(data: &[u8]) -> ProbeError {
        exchanged(data, usize::MAX, false).await.unwrap_err()
    }

    async fn exchanged(data: &[u8], most: usize, keep: bool) -> Result<(u16, String, bool), ProbeError> {
        let (near, mut far) = tokio::io::duplex(64 << 10);
        let data = data.to_vec();
        let server = tokio::spawn(async move {
            let _ = far.read(&mut [0; 4096]).await;
            let _ = far.write_all(&data).await;
            if keep { Some(far) } else { None }
        });
        let mut connection = Connection::on(Box::new(near), BOUND, false).await?;
        let request = Request::new(Method::GET, "http://a/".parse().unwrap());
        let wanted = Wanted { body: most, follow: false, bound: BOUND, keep };
        let answer = connection.exchange(request, wanted, Instant::now()).await.map_err(|f| f.error)?;
        drop(server);
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        Ok((answer.response.status().as_u16(), body, answer.is_reusable))
    }

    #[tokio::test]
    async fn answer_that_curl_accepts_is_accepted() {
        let many: String = (0..MAX_HEADERS).map(|n| format!("x-{n}: y\r\n")).collect();
        let long = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(300_000));
        let many = format!("HTTP/1.1 200 OK\r\n{many}\r\n");
        let table: [&[u8]; 14] = [
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
            many.as_bytes(),
            long.as_bytes(),
        ];
        for data in table {
            let shown = String::from_utf8_lossy(&data[..data.len().min(60)]);
            assert_eq!(fetched(data, 10, false).await.map(|(status, ..)| status), Ok(200), "{shown:?}");
        }
    }

    #[tokio::test]
    async fn strange_answer_is_reported_as_such() {
        for data in [&b"SSH-2.0-OpenSSH_9\r\n"[..], b"220 mail\r\n\r\n", b"HTTP/1.1 2\r\n\r\n", b"<html></html>"] {
            let error = fetched(data, 10, false).await.unwrap_err();
            assert!(error.contains("expected an HTTP/1 answer"), "{error}");
        }
        for (data, expected) in [(&b""[..], "no answer came"), (b"HTTP/1.0 200 OK\r\n", "closed the connection within")]
        {
            let error = fetched(data, 10, false).await.unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        let long = [b"HTTP/1.1 200 OK\r\n".to_vec(), b"x: y\r\n".repeat(500_000)].concat();
        let error = fetched(&long, 10, false).await.unwrap_err();
        assert!(error.contains("limits.probe_bytes"), "{error}");
    }

    const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

    #[tokio::test]
    async fn body_ends_where_its_head_says() {
        let table = [
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcdef".to_owned(), "abc"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc".to_owned(), "abc"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nabc".to_owned(), ""),
            ("HTTP/1.0 200 OK\r\n\r\nabc".to_owned(), "abc"),
            (format!("{CHUNKED}2;x=y\r\nab\r\n00001\r\nc\r\n0\r\ntrailer: x\r\n\r\nrest"), "abc"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\nabcdefghijk".to_owned(), "abcdefghij"),
            (format!("{CHUNKED}b\r\nabcdefghijk\r\n0\r\n\r\n"), "abcdefghij"),
        ];
        for (answer, text) in table {
            let found = fetched(answer.as_bytes(), 10, false).await.map(|(_, body, _)| body);
            assert_eq!(found, Ok(text.to_owned()), "{answer:?}");
        }
    }

    #[tokio::test]
    async fn body_that_ends_too_early_or_never_is_an_error() {
        let table = [
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab".to_owned(), "closed the connection within"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3, 4\r\n\r\nab".to_owned(), "expected an http/1 answer"),
            (format!("{CHUNKED}x\r\n"), "invalid chunk size"),
            (format!("{CHUNKED}5\r\nab"), "closed the connection within"),
            (format!("{CHUNKED}1;x\ny\r\n"), "newline"),
            (format!("{CHUNKED}{}\r\n", "f".repeat(17)), "invalid chunk size"),
            (format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", u64::MAX), "expected an http/1 answer"),
            (format!("HTTP/1.0 200 OK\r\n\r\n{}", "x".repeat(3 << 20)), "limits.probe_bytes"),
        ];
        for (answer, expected) in table {
            let error = fetched(answer.as_bytes(), usize::MAX, false).await.unwrap_err();
            assert!(error.to_lowercase().contains(expected), "{expected}: {error}");
        }
    }

    /// Our own limits say nothing about the server.
    #[tokio::test]
    async fn answer_beyond_our_limits_is_no_verdict_and_names_the_limit() {
        let many = |line: &str| line.repeat(MAX_HEADERS + 1);
        let table = [
            (format!("HTTP/1.1 200 OK\r\n{}\r\n", many("x: y\r\n")), "more than 5000 headers"),
            (format!("HTTP/1.1 200 OK\n{}\n", many("x:\n")), "more than 5000 headers"),
            (format!("{CHUNKED}1;{}\r\na\r\n0\r\n\r\n", "x".repeat(16 << 10)), "16 KiB of chunk extensions"),
            (format!("{CHUNKED}{}0\r\n\r\n", "1;xxx\r\na\r\n".repeat(6000)), "16 KiB of chunk extensions"),
            (format!("{CHUNKED}1\r\na\r\n0\r\n{}\r\n", many("x: y\r\n")), "5000 trailers"),
            (format!("{CHUNKED}1\r\na\r\n0\r\n{}\r\n", many("x\r\n")), "5000 trailers"),
        ];
        for (answer, expected) in table {
            let error = failed(answer.as_bytes()).await;
            let why = error.rules_out_a_verdict();
            assert!(why.is_some_and(|why| why.contains(expected)), "{expected}: {error:?}");
        }
    }

    #[tokio::test]
    async fn connection_is_kept_if_the_server_keeps_it() {
        let table = [
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", true),
            ("HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 3\r\n\r\nabc", false),
            ("HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc", false),
        ];
        for (data, keeps) in table {
            assert_eq!(fetched(data.as_bytes(), 10, true).await.unwrap().2, keeps, "{data:?}");
        }
    }
}
