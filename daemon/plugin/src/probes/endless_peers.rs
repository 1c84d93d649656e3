//! Peers that send without end as fast as they can: none of them keeps the thread busy.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::http::Http;
use crate::contract::ProbeError;
use crate::contract::http::{Request, Response};
use nix::time::{ClockId, clock_gettime};
use vouchd_config::Grants;
use vouchd_tests::local::{accept_tls, self_signed, serve};

const TIME: Duration = Duration::from_secs(30);

/// The longest time without yielding. A portion takes a millisecond, but the machine may be slow.
const TURN: Duration = Duration::from_millis(100);

/// Sends `begin`, then `again` without end.
fn endless(begin: &str, again: &str) -> SocketAddr {
    let (begin, again) = (begin.to_owned(), again.repeat(1 + (64 << 10) / again.len()));
    serve(move |mut peer| {
        let _ = peer.read(&mut [0; 4096]);
        let _ = peer.write_all(begin.as_bytes());
        while peer.write_all(again.as_bytes()).is_ok() {}
    })
}

/// The longest time that the thread computed without yielding while `work` was done.
async fn longest_turn<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let now = || Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap());
    let mut longest = Duration::ZERO;
    let turns = async {
        let mut last = now();
        loop {
            tokio::task::yield_now().await;
            longest = longest.max(now() - last);
            last = now();
        }
    };
    let done = tokio::select! {
        done = work => done,
        () = turns => unreachable!("it has no end"),
    };
    (done, longest)
}

async fn fetch(address: SocketAddr) -> Result<Response, ProbeError> {
    let url = format!("http://{address}/");
    let grants = Grants { http: vec![url.parse().unwrap()], ..Grants::default() };
    let request = Request {
        method: "GET".to_owned(),
        url,
        headers: Vec::new(),
        body: Vec::new(),
        timeout_ms: 0,
        max_body_bytes: 100,
        tls_verify: true,
        sni: None,
        follow_redirects: 3,
        reuse_connection: false,
    };
    Http::default().fetch("test", &grants, request, 1 << 20, TIME).await
}

#[tokio::test]
async fn endless_http_answer_blocks_neither_thread_nor_check() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let table = [
        ("a chunk size", chunked.to_owned(), "0", "limits.probe_bytes"),
        ("a chunk's extension", format!("{chunked}1;"), "x", "more than 16 KiB of chunk extensions"),
        ("blanks after a chunk size", format!("{chunked}1 "), " ", "limits.probe_bytes"),
        ("trailers", format!("{chunked}0\r\n"), "x: y\r\n", "5000 trailers"),
        ("a header", "HTTP/1.1 200 OK\r\nx: ".to_owned(), "x", "limits.probe_bytes"),
        ("headers", "HTTP/1.1 200 OK\r\n".to_owned(), "x: y\r\n", "limits.probe_bytes"),
        ("a status line", "HTTP/1.1 200 ".to_owned(), "x", "limits.probe_bytes"),
        ("interim answers", String::new(), "HTTP/1.1 103 Early Hints\r\n\r\n", "limits.probe_bytes"),
        ("empty lines", String::new(), "\r\n", "limits.probe_bytes"),
    ];
    for (what, begin, again, words) in table {
        let (answer, longest) = longest_turn(fetch(endless(&begin, again))).await;
        assert!(longest < TURN, "{what}: {longest:?}");
        let error = answer.expect_err(what);
        let why = error.rules_out_a_verdict();
        assert!(why.is_some_and(|why| why.contains(words)), "{what}: {error:?}");
    }
    for (what, begin, again) in [
        ("a body", "HTTP/1.1 200 OK\r\n\r\n".to_owned(), "x"),
        ("chunks of a single byte", chunked.to_owned(), "1\r\nx\r\n"),
    ] {
        let (answer, longest) = longest_turn(fetch(endless(&begin, again))).await;
        assert!(longest < TURN, "{what}: {longest:?}");
        assert_eq!(answer.unwrap().body, [b'x'; 100], "{what}");
    }
}

#[tokio::test]
async fn endless_conversation_does_not_block_the_thread() {
    let address = endless("", "x");
    let grants = Grants { tcp: vec!["127.0.0.1:*".parse().unwrap()], ..Grants::default() };
    let mut connection = super::stream::connect_tcp(&grants, &address.to_string(), 64 << 20, TIME).await.unwrap();
    connection.send(b"x", TIME).await.unwrap();
    // A naive search would compare all of it again at every byte.
    let mut until = vec![b'x'; (64 << 10) - 1];
    until.push(b'y');
    let (said, longest) = longest_turn(connection.receive(Some(&until), 4 << 20, TIME)).await;
    assert_eq!(said.unwrap().len(), 4 << 20);
    assert!(longest < TURN, "{longest:?}");
    until.push(b'z');
    let refused = connection.receive(Some(&until), 4 << 20, TIME).await.unwrap_err();
    assert!(matches!(&refused, ProbeError::Invalid(text) if text.contains("at most 65536")), "{refused:?}");
}

#[tokio::test]
async fn tls_records_of_a_single_byte_do_not_block_the_thread() {
    let config = self_signed("www.example.com");
    let address = serve(move |peer| {
        let mut stream = accept_tls(&config, peer);
        while stream.conn.is_handshaking() {
            if stream.conn.complete_io(&mut stream.sock).is_err() {
                return;
            }
        }
        loop {
            for _ in 0..1000 {
                let _ = stream.conn.writer().write_all(b"x");
            }
            if stream.conn.write_tls(&mut stream.sock).is_err() {
                return;
            }
        }
    });
    let grants = Grants { tcp: vec!["127.0.0.1:*".parse().unwrap()], ..Grants::default() };
    let mut connection = super::stream::connect_tcp(&grants, &address.to_string(), 1 << 20, TIME).await.unwrap();
    connection.start_tls(&Arc::default(), "www.example.com", false, TIME).await.unwrap();
    let (said, longest) = longest_turn(connection.receive(Some(b"y"), 50_000, TIME)).await;
    assert_eq!(said.unwrap().len(), 50_000);
    assert!(longest < TURN, "{longest:?}");
}
