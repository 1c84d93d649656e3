//! Conversations with servers that behave well and badly.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;

use vouchd_tests::local::{accept_tls, self_signed, serve};

use super::*;

const SECOND: Duration = Duration::from_secs(2);
const BOUND: usize = 1 << 20;

fn io() -> CheckIo {
    CheckIo { blocking: vouchd_blocking::Blocking::default(), check: "test".to_owned() }
}

async fn open(address: SocketAddr) -> Connection {
    let grants = Grants { tcp: vec!["127.0.0.1:*".parse().unwrap()], ..Grants::default() };
    connect_tcp(&grants, &address.to_string(), BOUND, SECOND).await.unwrap()
}

#[tokio::test]
async fn answer_ends_at_its_delimiter() {
    let address = serve(|mut peer| {
        peer.write_all(b"220 hello\r\n250-a\r\n250 b\r\nrest").unwrap();
        let mut byte = [0; 3];
        peer.read_exact(&mut byte).unwrap();
        peer.write_all(&byte).unwrap();
    });
    let mut connection = open(address).await;
    let line = Some(&b"\r\n"[..]);
    assert_eq!(connection.receive(line, 100, SECOND).await.unwrap(), b"220 hello\r\n");
    assert_eq!(connection.receive(line, 3, SECOND).await.unwrap(), b"250");
    assert_eq!(connection.receive(Some(b"250 b\r\n"), 100, SECOND).await.unwrap(), b"-a\r\n250 b\r\n");
    let soon = Duration::from_millis(50);
    assert!(matches!(connection.receive(line, 100, soon).await, Err(ProbeError::Timeout)));
    assert_eq!(
        connection.receive(None, 100, soon).await.unwrap(),
        b"rest",
        "what arrived before the timeout is not lost"
    );
    assert!(matches!(connection.receive(None, 100, soon).await, Err(ProbeError::Timeout)));
    connection.send(b"bye", SECOND).await.unwrap();
    assert_eq!(connection.receive(line, 100, SECOND).await.unwrap(), b"bye", "the peer closed");
    assert_eq!(connection.receive(None, 100, SECOND).await.unwrap(), b"");
}

#[tokio::test]
async fn connection_carries_no_more_than_its_limit() {
    let address = serve(|mut peer| while peer.write_all(&[b'x'; 8192]).is_ok() {});
    let mut connection = open(address).await;
    assert_eq!(connection.receive(None, BOUND as u32, SECOND).await.unwrap().len(), BOUND);
    assert!(matches!(connection.receive(None, 1, SECOND).await, Err(ProbeError::Denied(_))));
    // A cut answer is none: the delimiter may come later.
    for until in [Some(&b"never"[..]), None] {
        let mut connection = open(serve(|mut peer| while peer.write_all(&[b'x'; 8192]).is_ok() {})).await;
        assert!(matches!(connection.receive(until, u32::MAX, SECOND).await, Err(ProbeError::Denied(_))));
    }
    let too_long = vec![0; BOUND + 1];
    assert!(matches!(connection.send(&too_long, SECOND).await, Err(ProbeError::Denied(_))));
}

#[tokio::test]
async fn nothing_connects_without_a_grant() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    assert!(matches!(connect_tcp(&Grants::default(), &address, BOUND, SECOND).await, Err(ProbeError::Denied(_))));
    assert!(matches!(
        connect_unix(&io(), &Grants::default(), "/run/x.sock", BOUND, SECOND).await,
        Err(ProbeError::Denied(_))
    ));
    assert!(listener.accept().is_err(), "nobody came");
}

#[tokio::test]
async fn conversation_works_over_a_unix_socket() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("admin.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    thread::spawn(move || {
        let mut peer = listener.accept().unwrap().0;
        let mut question = [0; 5];
        peer.read_exact(&mut question).unwrap();
        peer.write_all(b"yes\n").unwrap();
    });
    let path = path.to_str().unwrap();
    let grants = Grants { unix: vec![path.parse().unwrap()], ..Grants::default() };
    let mut connection = connect_unix(&io(), &grants, path, BOUND, SECOND).await.unwrap();
    connection.send(b"well\n", SECOND).await.unwrap();
    assert_eq!(connection.receive(Some(b"\n"), 100, SECOND).await.unwrap(), b"yes\n");
}

fn tls_server(greeting: &'static [u8]) -> SocketAddr {
    let config = self_signed("www.example.com");
    serve(move |mut peer| {
        peer.write_all(greeting).unwrap();
        let mut stream = accept_tls(&config, peer);
        // Without close_notify: the connection just ends.
        let _ = stream.write_all(b"under TLS").and_then(|()| stream.flush());
    })
}

#[tokio::test]
async fn tls_reports_the_certificate_and_what_is_wrong_with_it() {
    let tls = Arc::new(Tls::default());
    let mut connection = open(tls_server(b"220 go\n")).await;
    assert_eq!(connection.receive(Some(b"\n"), 100, SECOND).await.unwrap(), b"220 go\n");
    let shown = connection.start_tls(&tls, "www.example.com", false, SECOND).await.unwrap();
    assert_eq!((shown.names, shown.protocol.as_str()), (vec!["www.example.com".to_owned()], "TLSv1.3"));
    assert!(shown.problem.is_some_and(|problem| !problem.is_empty()));
    assert_eq!(connection.receive(None, 100, SECOND).await.unwrap(), b"under TLS");
    assert!(matches!(connection.start_tls(&tls, "a", false, SECOND).await, Err(ProbeError::Invalid(_))));

    let mut connection = open(tls_server(b"")).await;
    let refused = connection.start_tls(&tls, "www.example.com", true, SECOND).await;
    assert!(matches!(refused, Err(ProbeError::Tls(_))), "{refused:?}");
    assert!(matches!(connection.send(b"x", SECOND).await, Err(ProbeError::Invalid(_))));
}

#[tokio::test]
async fn unreadable_ca_certificates_are_not_blamed_on_the_peer() {
    let tls = Tls::without_an_answer();
    for run in 0..3 {
        for verify in [true, false] {
            let mut connection = open(tls_server(b"")).await;
            let time = Duration::from_millis(50);
            let refused = connection.start_tls(&tls, "www.example.com", verify, time).await;
            assert!(
                matches!(&refused, Err(ProbeError::Unable(why)) if why.contains("has not answered")),
                "run {run}: {refused:?}"
            );
            // What was meant to be encrypted is not sent in plain text.
            assert!(matches!(connection.send(b"x", time).await, Err(ProbeError::Invalid(_))));
        }
    }
}

#[tokio::test]
async fn plain_text_does_not_pass_for_text_under_tls() {
    let tls = Arc::new(Tls::default());
    let mut connection = open(tls_server(b"220 go\n250 injected\n")).await;
    assert_eq!(connection.receive(Some(b"\n"), 100, SECOND).await.unwrap(), b"220 go\n");
    let refused = connection.start_tls(&tls, "www.example.com", false, SECOND).await;
    assert!(matches!(refused, Err(ProbeError::Tls(_))), "{refused:?}");
}
