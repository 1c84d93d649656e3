//! Requests as a check makes them, to servers that behave in all kinds of ways.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

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
fn server(serve: impl Fn(TcpStream) + Send + 'static) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            counted.fetch_add(1, Ordering::SeqCst);
            serve(stream.unwrap());
        }
    });
    (url, count)
}

async fn fetch(http: &Http, request: Request) -> Result<Response, ProbeError> {
    let grants = Grants { http: vec![format!("{}*", request.url).parse().unwrap()], ..Grants::default() };
    http.fetch("test", &grants, request, 1 << 20, Duration::from_secs(5)).await
}

#[tokio::test]
async fn certificates_that_never_come_are_no_silence_of_the_servers() {
    let http = Http { tls: Tls::without_an_answer(), ..Http::default() };
    let grants = Grants { http: vec!["https://127.0.0.1:9/*".parse().unwrap()], ..Grants::default() };
    for run in 0..3 {
        for reuse_connection in [false, true] {
            let wanted = Request { reuse_connection, ..request("https://127.0.0.1:9/", None) };
            let fetched = http.fetch("test", &grants, wanted, 1 << 20, Duration::from_millis(50)).await;
            assert!(
                matches!(&fetched, Err(ProbeError::Unable(why)) if why.contains("does not answer")),
                "run {run}: {fetched:?}"
            );
        }
    }
}

/// As inetd, socat and nc do, whether they read what they are asked or not.
#[tokio::test]
async fn a_server_may_answer_before_it_is_asked() {
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

/// Serves one request on each connection, says that it keeps it, and closes it when the next one comes.
fn forgetful(mut stream: TcpStream) {
    std::thread::spawn(move || {
        let _ = stream.read(&mut [0; 4096]);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhere").unwrap();
        let _ = stream.read(&mut [0; 4096]);
    });
}

#[tokio::test]
async fn a_kept_connection_that_the_server_closes_is_made_anew_where_that_is_safe() {
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

/// A 408 says so of the connection, and not of the request, which may never have come to the server.
#[tokio::test]
async fn a_kept_connection_on_which_the_server_has_waited_too_long_is_made_anew() {
    const LATE: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let (url, count) = server(|mut stream| {
        std::thread::spawn(move || {
            let _ = stream.read(&mut [0; 4096]);
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhere").unwrap();
            let _ = stream.read(&mut [0; 4096]);
            stream.write_all(LATE).unwrap();
        });
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

/// Keeps its connections; the answer says when each of them is closed.
fn faithful(closed: std::sync::mpsc::Sender<()>) -> impl Fn(TcpStream) + Send + 'static {
    move |mut stream| {
        let closed = closed.clone();
        std::thread::spawn(move || {
            while stream.read(&mut [0; 4096]).is_ok_and(|length| length > 0) {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhere").unwrap();
            }
            closed.send(()).unwrap();
        });
    }
}

/// Waits in the background, so that the connections' tasks have their turns.
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
async fn a_kept_connection_that_nobody_uses_ends_by_itself() {
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
async fn of_kept_connections_the_oldest_goes_first() {
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

/// What a redirect says besides where to go may be of any length, and take any time.
#[tokio::test]
async fn the_body_of_a_redirect_is_not_waited_for() {
    let (url, _) = server(|mut stream| {
        let mut request = [0; 4096];
        let length = stream.read(&mut request).unwrap();
        if request[..length].starts_with(b"GET /there") {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhere").unwrap();
        } else {
            stream.write_all(b"HTTP/1.1 302 Found\r\nLocation: /there\r\n\r\n").unwrap();
            std::thread::spawn(move || while stream.write_all(&[b'x'; 65536]).is_ok() {});
        }
    });
    let wanted = Request { follow_redirects: 1, max_body_bytes: u32::MAX, ..request(&url, None) };
    let response = fetch(&Http::default(), wanted).await;
    assert!(matches!(&response, Ok(r) if r.status == 200 && r.body == b"here"), "{response:?}");
}

#[tokio::test]
async fn a_redirect_to_nowhere_is_the_servers_doing() {
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

/// RFC 9112 9.8: without a length, only the peer's goodbye says that nothing was cut.
#[tokio::test]
async fn under_tls_a_body_without_a_length_ends_with_a_goodbye() {
    const CHUNKS: &str = "Transfer-Encoding: chunked\r\n\r\n4\r\nhere\r\n0\r\n\r\n";
    let config = crate::probes::tls::self_signed_server("localhost");
    let config = Arc::new(config);
    for (rest, has_goodbye, is_whole) in [
        ("\r\nhere", true, true),
        ("\r\nhere", false, false),
        ("Content-Length: 4\r\n\r\nhere", false, true),
        (CHUNKS, false, true),
    ] {
        let config = Arc::clone(&config);
        let (url, _) = server(move |peer| {
            let session = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = rustls::StreamOwned::new(session, peer);
            let _ = stream.read(&mut [0; 4096]);
            write!(stream, "HTTP/1.1 200 OK\r\n{rest}").unwrap();
            if has_goodbye {
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
async fn a_body_beyond_the_limit_is_an_error_that_names_it() {
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

/// The chunk's size never ends, and always comes.
#[tokio::test]
async fn an_endless_answer_keeps_nobody() {
    let (url, _) = server(|mut stream| {
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        while stream.write_all(&[b'0'; 65536]).is_ok() {}
    });
    let response = fetch(&Http::default(), request(&url, None)).await;
    assert!(matches!(&response, Err(ProbeError::Denied(text)) if text.contains("limits.probe_bytes")), "{response:?}");
}

/// Where a request for a granted URL ends up, whatever else it names.
#[tokio::test]
async fn a_server_name_leads_nowhere_else() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhere");
        }
    });
    let url = format!("http://{address}/");
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
