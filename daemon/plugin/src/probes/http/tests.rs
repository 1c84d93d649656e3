//! Requests as a check makes them, to servers that behave well and badly.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};

use vouchd_tests::local::{accept_tls, self_signed, serve};

use super::*;

const HERE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhere";

fn request(url: &str, sni: Option<&str>) -> Request {
    Request {
        method: "GET".to_owned(),
        url: url.to_owned(),
        headers: Vec::new(),
        body: Vec::new(),
        timeout_ms: 0,
        max_body_bytes: 100,
        tls_verify: true,
        sni: sni.map(str::to_owned),
        follow_redirects: 0,
        reuse_connection: false,
    }
}

/// The URL of a server that does this with each connection, and how many have come.
fn server(talk: impl Fn(TcpStream) + Send + Sync + 'static) -> (String, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let address = serve(move |stream| {
        counted.fetch_add(1, Ordering::SeqCst);
        talk(stream);
    });
    (format!("http://{address}/"), count)
}

async fn fetch(http: &Http, request: Request) -> Result<Response, ProbeError> {
    let grants = Grants { http: vec![format!("{}*", request.url).parse().unwrap()], ..Grants::default() };
    http.fetch("test", &grants, request, 1 << 20, Duration::from_secs(5)).await
}

#[tokio::test]
async fn unreadable_ca_certificates_are_not_blamed_on_the_server() {
    let http = Http { tls: Tls::without_an_answer(), ..Http::default() };
    let grants = Grants { http: vec!["https://127.0.0.1:9/*".parse().unwrap()], ..Grants::default() };
    for run in 0..3 {
        for reuse_connection in [false, true] {
            let wanted = Request { reuse_connection, ..request("https://127.0.0.1:9/", None) };
            let fetched = http.fetch("test", &grants, wanted, 1 << 20, Duration::from_millis(50)).await;
            assert!(
                matches!(&fetched, Err(ProbeError::Unable(why)) if why.contains("has not answered")),
                "run {run}: {fetched:?}"
            );
        }
    }
}

/// As inetd, socat and nc do, whether they read the request or not.
#[tokio::test]
async fn server_may_answer_before_it_is_asked() {
    const ANSWER: &[u8] = b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nhere";
    let (closing, _) = server(|mut stream| stream.write_all(ANSWER).unwrap());
    let (reading, _) = server(|mut stream| {
        stream.write_all(ANSWER).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let _ = stream.read(&mut [0; 4096]);
    });
    let http = Http::default();
    for run in 0..250 {
        for url in [&closing, &reading] {
            let response = fetch(&http, request(url, None)).await;
            assert!(matches!(&response, Ok(r) if r.status == 200 && r.body == b"here"), "run {run}: {response:?}");
        }
    }
}

/// Serves one request on each connection, promises to keep it, and closes it when the next request arrives.
fn forgetful(mut stream: TcpStream) {
    let _ = stream.read(&mut [0; 4096]);
    stream.write_all(HERE).unwrap();
    let _ = stream.read(&mut [0; 4096]);
}

#[tokio::test]
async fn idempotent_request_is_repeated_when_the_server_closes_a_kept_connection() {
    let (url, count) = server(forgetful);
    let http = Http::default();
    for run in 1..=20 {
        let response = fetch(&http, Request { reuse_connection: true, ..request(&url, None) }).await;
        assert!(response.is_ok_and(|response| response.body == b"here"), "run {run}");
        assert_eq!(count.load(Ordering::SeqCst), run);
    }
    // What changes something at the server is not sent twice.
    let post = Request { method: "POST".to_owned(), reuse_connection: true, ..request(&url, None) };
    assert!(fetch(&http, post).await.is_err());
}

/// A 408 is about the connection, not about the request, which may never have reached the server.
#[tokio::test]
async fn idempotent_request_is_repeated_after_a_408_on_a_kept_connection() {
    const LATE: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let (url, count) = server(|mut stream| {
        let _ = stream.read(&mut [0; 4096]);
        stream.write_all(HERE).unwrap();
        let _ = stream.read(&mut [0; 4096]);
        stream.write_all(LATE).unwrap();
    });
    let http = Http::default();
    for run in 1..=3 {
        let response = fetch(&http, Request { reuse_connection: true, ..request(&url, None) }).await;
        assert!(response.is_ok_and(|response| response.status == 200), "run {run}");
        assert_eq!(count.load(Ordering::SeqCst), run);
    }
    // What changes something at the server is not sent twice.
    let post = Request { method: "POST".to_owned(), reuse_connection: true, ..request(&url, None) };
    assert_eq!(fetch(&http, post).await.unwrap().status, 408);
    // On a new connection it is the server's answer.
    let (url, count) = server(|mut stream| {
        let _ = stream.read(&mut [0; 4096]);
        stream.write_all(LATE).unwrap();
    });
    let response = fetch(&http, Request { reuse_connection: true, ..request(&url, None) }).await;
    assert!(response.is_ok_and(|response| response.status == 408));
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

/// Keeps its connections, and reports when one is closed.
fn faithful(closed: std::sync::mpsc::Sender<()>) -> impl Fn(TcpStream) + Send + Sync + 'static {
    move |mut stream| {
        while stream.read(&mut [0; 4096]).is_ok_and(|length| length > 0) {
            stream.write_all(HERE).unwrap();
        }
        closed.send(()).unwrap();
    }
}

/// Waits without blocking, so that the connections' tasks can run.
async fn is_closed(closed: &std::sync::mpsc::Receiver<()>) -> bool {
    for _ in 0..1000 {
        if closed.try_recv().is_ok() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

#[tokio::test]
async fn unused_kept_connection_is_closed_after_its_time() {
    let (sender, closed) = std::sync::mpsc::channel();
    let (url, count) = server(faithful(sender));
    let http = Http { kept: Kept::new(Duration::from_millis(200), 8), ..Http::default() };
    for run in 1..=2 {
        fetch(&http, Request { reuse_connection: true, ..request(&url, None) }).await.unwrap();
        assert!(is_closed(&closed).await, "run {run}");
        assert_eq!(count.load(Ordering::SeqCst), run);
    }
}

#[tokio::test]
async fn oldest_kept_connection_is_closed_first() {
    let (sender, closed) = std::sync::mpsc::channel();
    let (url, count) = server(faithful(sender));
    let http = Http { kept: Kept::new(Duration::from_secs(90), 2), ..Http::default() };
    let grants = Grants { http: vec![url.parse().unwrap()], ..Grants::default() };
    let fetch = async |check| {
        let wanted = Request { reuse_connection: true, ..request(&url, None) };
        http.fetch(check, &grants, wanted, 1 << 20, Duration::from_secs(5)).await.unwrap();
    };
    for check in ["a", "b", "c"] {
        fetch(check).await;
    }
    assert!(is_closed(&closed).await);
    for check in ["b", "c"] {
        fetch(check).await;
    }
    assert_eq!(count.load(Ordering::SeqCst), 3, "those of b and c were kept");
    fetch("a").await;
    assert_eq!(count.load(Ordering::SeqCst), 4);
}

/// The body of a redirect may be of any length, and take any time.
#[tokio::test]
async fn body_of_a_redirect_is_not_waited_for() {
    let (url, _) = server(|mut stream| {
        let mut request = [0; 4096];
        let length = stream.read(&mut request).unwrap();
        if request[..length].starts_with(b"GET /there") {
            stream.write_all(HERE).unwrap();
        } else {
            stream.write_all(b"HTTP/1.1 302 Found\r\nLocation: /there\r\n\r\n").unwrap();
            while stream.write_all(&[b'x'; 65536]).is_ok() {}
        }
    });
    let wanted = Request { follow_redirects: 1, max_body_bytes: u32::MAX, ..request(&url, None) };
    let response = fetch(&Http::default(), wanted).await;
    assert!(matches!(&response, Ok(r) if r.status == 200 && r.body == b"here"), "{response:?}");
}

#[tokio::test]
async fn redirect_to_an_unusable_url_is_blamed_on_the_server() {
    for location in ["ftp://127.0.0.1/", "mailto:a@example.com", "file:///etc/passwd", "http://", "http://[::"] {
        let (url, _) = server(move |mut stream| {
            let _ = stream.read(&mut [0; 4096]);
            let _ = write!(stream, "HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
        });
        let response = fetch(&Http::default(), Request { follow_redirects: 1, ..request(&url, None) }).await;
        assert!(
            matches!(&response, Err(ProbeError::Other(text)) if text.contains(location)),
            "{location}: {response:?}"
        );
    }
}

/// RFC 9112 section 9.8: without a length, only the peer's close_notify shows that nothing was cut.
#[tokio::test]
async fn body_without_a_length_under_tls_ends_with_close_notify() {
    const CHUNKS: &str = "Transfer-Encoding: chunked\r\n\r\n4\r\nhere\r\n0\r\n\r\n";
    let config = self_signed("localhost");
    for (rest, has_close_notify, is_whole) in [
        ("\r\nhere", true, true),
        ("\r\nhere", false, false),
        ("Content-Length: 4\r\n\r\nhere", false, true),
        (CHUNKS, false, true),
    ] {
        let config = Arc::clone(&config);
        let (url, _) = server(move |peer| {
            let mut stream = accept_tls(&config, peer);
            let _ = stream.read(&mut [0; 4096]);
            write!(stream, "HTTP/1.1 200 OK\r\n{rest}").unwrap();
            if has_close_notify {
                stream.conn.send_close_notify();
            }
            stream.flush().unwrap();
        });
        let wanted = Request { tls_verify: false, ..request(&url.replace("http:", "https:"), None) };
        match fetch(&Http::default(), wanted).await {
            Ok(response) => assert!(is_whole && response.body == b"here", "{rest:?}"),
            Err(error) => assert!(!is_whole && error.words().contains("within the HTTP answer"), "{error:?}"),
        }
    }
}

#[tokio::test]
async fn body_beyond_the_limit_is_an_error_that_names_it() {
    let (url, _) = server(|mut stream| {
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        let _ = stream.write_all(&vec![b'x'; 3 << 20]);
    });
    let http = Http::default();
    let some = fetch(&http, request(&url, None)).await.unwrap();
    assert_eq!(some.body.len(), 100, "as much as the plugin asked for");
    let all = fetch(&http, Request { max_body_bytes: u32::MAX, ..request(&url, None) }).await;
    assert!(matches!(&all, Err(ProbeError::Denied(text)) if text.contains("limits.probe_bytes")), "{all:?}");
}

/// The chunk's size has no end.
#[tokio::test]
async fn endless_answer_ends_at_the_limit() {
    let (url, _) = server(|mut stream| {
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        while stream.write_all(&[b'0'; 65536]).is_ok() {}
    });
    let response = fetch(&Http::default(), request(&url, None)).await;
    assert!(matches!(&response, Err(ProbeError::Denied(text)) if text.contains("limits.probe_bytes")), "{response:?}");
}

#[tokio::test]
async fn server_name_does_not_change_the_address() {
    let (url, _) = server(|mut stream| {
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(HERE);
    });
    let grants = Grants { http: vec![url.parse().unwrap()], ..Grants::default() };
    let http = Http::default();
    for sni in [None, Some("elsewhere.invalid"), Some("ELSEWHERE.invalid"), Some("b\u{fc}cher.invalid")] {
        let response = http.fetch("test", &grants, request(&url, sni), 1 << 20, Duration::from_secs(5)).await;
        assert!(response.is_ok_and(|response| response.body == b"here"), "{sni:?}");
    }
    for sni in ["127.0.0.2", "0x7f.2", "[::1]"] {
        let response = http.fetch("test", &grants, request(&url, Some(sni)), 1 << 20, Duration::from_secs(5)).await;
        assert!(matches!(response, Err(ProbeError::Invalid(_))), "{sni}");
    }
}
