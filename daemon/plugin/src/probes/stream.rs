//! Conversations: a connection that stays open between the calls of a run.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use memchr::memmem;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use vouchd_config::Grants;

use super::error::{Stage, of_connection};
use super::tls::Tls;
use super::wire::{Portions, Wire};
use super::{Looks, certificate, checked_end, connect, tcp, too_many_bytes, until, within};
use crate::contract::ProbeError;
use crate::contract::stream::Certificate;

/// What a plugin holds on to.
pub struct Connection {
    /// None after a handshake that failed.
    wire: Option<Box<dyn Wire>>,
    is_tls: bool,
    /// Received, but not yet given to the plugin.
    held: Vec<u8>,
    /// Bytes that it carries each way at most.
    bound: usize,
    pub(crate) sent: usize,
    pub(crate) received: usize,
    /// Which entry of the run's probes it is.
    pub(crate) probe: usize,
}

pub(crate) async fn connect_tcp(
    grants: &Grants,
    addr: &str,
    bound: usize,
    time: Duration,
) -> Result<Connection, ProbeError> {
    let (_, stream) = tcp::connect(grants, addr, Instant::now() + time).await?;
    Ok(Connection::new(Box::new(stream), bound))
}

pub(crate) async fn connect_unix(
    looks: &Looks,
    grants: &Grants,
    path: &str,
    bound: usize,
    time: Duration,
) -> Result<Connection, ProbeError> {
    let stream = connect::unix(looks, grants, path, Instant::now() + time).await?;
    Ok(Connection::new(Box::new(Portions::new(stream)), bound))
}

impl Connection {
    fn new(wire: Box<dyn Wire>, bound: usize) -> Self {
        Connection { wire: Some(wire), is_tls: false, held: Vec::new(), bound, sent: 0, received: 0, probe: 0 }
    }

    fn wire(&mut self) -> Result<&mut Box<dyn Wire>, ProbeError> {
        self.wire
            .as_mut()
            .ok_or_else(|| ProbeError::Invalid("the connection broke off in the TLS handshake".to_owned()))
    }

    pub(crate) async fn send(&mut self, data: &[u8], time: Duration) -> Result<(), ProbeError> {
        if data.len() > self.bound - self.sent {
            return Err(too_many_bytes(self.bound));
        }
        self.sent += data.len();
        let wire = self.wire()?;
        within(time, async {
            wire.write_all(data).await.map_err(|e| failed(&e))?;
            wire.flush().await.map_err(|e| failed(&e))
        })
        .await
    }

    pub(crate) async fn receive(
        &mut self,
        until: Option<&[u8]>,
        most: u32,
        time: Duration,
    ) -> Result<Vec<u8>, ProbeError> {
        let most = most as usize;
        let until = checked_end(until)?;
        let length = match within(time, self.fill(until, most)).await {
            Ok(length) => length,
            // Without an end to wait for, silence after some data is the end.
            Err(ProbeError::Timeout) if until.is_none() && !self.held.is_empty() => self.held.len(),
            Err(error) => return Err(error),
        };
        Ok(self.held.drain(..length.min(most)).collect())
    }

    /// Reads until the answer is there; the answer is its length. What came before the time is up stays in `held`.
    async fn fill(&mut self, until: Option<&[u8]>, most: usize) -> Result<usize, ProbeError> {
        let mut searched = 0;
        loop {
            if let Some(until) = until {
                if let Some(at) = memmem::find(&self.held[searched..], until) {
                    return Ok(searched + at + until.len());
                }
                // It may have begun at the end of what came.
                searched = self.held.len().saturating_sub(until.len() - 1);
            }
            if self.held.len() >= most {
                return Ok(most);
            }
            let mut buffer = [0; 8192];
            // One more than may come: it tells an end from a cut.
            let room = buffer.len().min(most - self.held.len()).min((self.bound + 1).saturating_sub(self.received));
            if room == 0 {
                return Err(too_many_bytes(self.bound));
            }
            let n = match self.wire()?.read(&mut buffer[..room]).await {
                Ok(n) => n,
                // TLS peers that hang up without a goodbye.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
                Err(error) => match failed(&error) {
                    // What it had to say it may have said before it hung up on what it was asked.
                    error if error.is_the_peers() && !self.held.is_empty() => 0,
                    error => return Err(error),
                },
            };
            if n == 0 {
                return Ok(self.held.len());
            }
            self.received += n;
            if self.received > self.bound {
                return Err(too_many_bytes(self.bound));
            }
            self.held.extend_from_slice(&buffer[..n]);
        }
    }

    pub(crate) async fn start_tls(
        &mut self,
        tls: &Arc<Tls>,
        server_name: &str,
        verify: bool,
        time: Duration,
    ) -> Result<Certificate, ProbeError> {
        let name = ServerName::try_from(server_name.to_owned())
            .map_err(|_| ProbeError::Invalid(format!("{server_name:?} is not a server name for TLS")))?;
        if self.is_tls {
            return Err(ProbeError::Invalid("the connection is encrypted already".to_owned()));
        }
        // What was sent in the clear must not pass for something said under TLS.
        if !self.held.is_empty() {
            return Err(ProbeError::Tls(format!("the peer sent {} bytes before the handshake", self.held.len())));
        }
        self.wire()?;
        let Some(wire) = self.wire.take() else { return Err(ProbeError::Refused) };
        let deadline = Instant::now() + time;
        // Bounds itself: where the certificates don't come, that is this host's doing, and no silence of the peer's.
        let (config, verifier) = tls.noting(verify, deadline).await?;
        let connector = TlsConnector::from(Arc::new(config));
        let stream = until(deadline, async { connector.connect(name, wire).await.map_err(|e| from_tls(&e)) }).await?;
        let session = stream.get_ref().1;
        let protocol = match session.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
            Some(_) | None => "TLS",
        };
        let shown = session.peer_certificates().and_then(|chain| certificate::parse(chain.first()?));
        let shown = shown.ok_or_else(|| ProbeError::Tls("the server's certificate can't be read".to_owned()))?;
        let certificate = Certificate {
            subject: shown.subject,
            issuer: shown.issuer,
            names: shown.names,
            not_before: shown.not_before,
            not_after: shown.not_after,
            problem: verifier.problem(),
            protocol: protocol.to_owned(),
        };
        self.wire = Some(Box::new(stream));
        self.is_tls = true;
        Ok(certificate)
    }
}

/// Of an established connection.
fn failed(error: &io::Error) -> ProbeError {
    of_connection(error, Stage::There, "a conversation")
}

pub(super) fn from_tls(error: &io::Error) -> ProbeError {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(tls) => ProbeError::Tls(tls.to_string()),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            ProbeError::Tls("the peer closed the connection in the handshake".to_owned())
        }
        None => of_connection(error, Stage::There, "a TLS handshake"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::thread;

    use super::*;

    const SECOND: Duration = Duration::from_secs(2);
    const BOUND: usize = 1 << 20;

    fn serve(talk: impl FnOnce(TcpStream) + Send + 'static) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || talk(listener.accept().unwrap().0));
        address
    }

    fn looks() -> Looks {
        Looks { aside: vouchd_blocking::Blocking::default(), check: "test".to_owned() }
    }

    async fn open(address: SocketAddr) -> Connection {
        let grants = Grants { tcp: vec!["127.0.0.1:*".parse().unwrap()], ..Grants::default() };
        connect_tcp(&grants, &address.to_string(), BOUND, SECOND).await.unwrap()
    }

    #[tokio::test]
    async fn answers_end_where_they_are_told_to() {
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
        assert_eq!(connection.receive(None, 100, soon).await.unwrap(), b"rest", "what came in vain is not lost");
        assert!(matches!(connection.receive(None, 100, soon).await, Err(ProbeError::Timeout)));
        connection.send(b"bye", SECOND).await.unwrap();
        assert_eq!(connection.receive(line, 100, SECOND).await.unwrap(), b"bye", "the peer closed");
        assert_eq!(connection.receive(None, 100, SECOND).await.unwrap(), b"");
    }

    #[tokio::test]
    async fn a_connection_carries_only_so_much() {
        let address = serve(|mut peer| while peer.write_all(&[b'x'; 8192]).is_ok() {});
        let mut connection = open(address).await;
        assert_eq!(connection.receive(None, BOUND as u32, SECOND).await.unwrap().len(), BOUND);
        assert!(matches!(connection.receive(None, 1, SECOND).await, Err(ProbeError::Denied(_))));
        // What is cut is no answer: the end that is looked for may come later.
        for until in [Some(&b"never"[..]), None] {
            let mut connection = open(serve(|mut peer| while peer.write_all(&[b'x'; 8192]).is_ok() {})).await;
            assert!(matches!(connection.receive(until, u32::MAX, SECOND).await, Err(ProbeError::Denied(_))));
        }
        let too_long = vec![0; BOUND + 1];
        assert!(matches!(connection.send(&too_long, SECOND).await, Err(ProbeError::Denied(_))));
    }

    #[tokio::test]
    async fn what_is_not_granted_is_not_connected_to() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        assert!(matches!(connect_tcp(&Grants::default(), &address, BOUND, SECOND).await, Err(ProbeError::Denied(_))));
        assert!(matches!(
            connect_unix(&looks(), &Grants::default(), "/run/x.sock", BOUND, SECOND).await,
            Err(ProbeError::Denied(_))
        ));
        assert!(listener.accept().is_err(), "nobody came");
    }

    #[tokio::test]
    async fn a_unix_socket_is_a_conversation_too() {
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
        let mut connection = connect_unix(&looks(), &grants, path, BOUND, SECOND).await.unwrap();
        connection.send(b"well\n", SECOND).await.unwrap();
        assert_eq!(connection.receive(Some(b"\n"), 100, SECOND).await.unwrap(), b"yes\n");
    }

    fn tls_server(greeting: &'static [u8]) -> SocketAddr {
        let config = crate::probes::tls::self_signed_server("www.example.com");
        serve(move |mut peer| {
            peer.write_all(greeting).unwrap();
            let mut stream = rustls::StreamOwned::new(rustls::ServerConnection::new(Arc::new(config)).unwrap(), peer);
            // Without a goodbye: the connection just ends.
            let _ = stream.write_all(b"under TLS").and_then(|()| stream.flush());
        })
    }

    #[tokio::test]
    async fn tls_tells_what_the_server_showed_and_what_is_wrong_with_it() {
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
    async fn certificates_that_never_come_are_no_silence_of_the_peers() {
        let tls = Tls::without_an_answer();
        for run in 0..3 {
            for verify in [true, false] {
                let mut connection = open(tls_server(b"")).await;
                let time = Duration::from_millis(50);
                let refused = connection.start_tls(&tls, "www.example.com", verify, time).await;
                assert!(
                    matches!(&refused, Err(ProbeError::Unable(why)) if why.contains("does not answer")),
                    "run {run}: {refused:?}"
                );
                // What was meant to be encrypted is not sent in the clear.
                assert!(matches!(connection.send(b"x", time).await, Err(ProbeError::Invalid(_))));
            }
        }
    }

    #[tokio::test]
    async fn what_came_in_the_clear_does_not_pass_for_said_under_tls() {
        let tls = Arc::new(Tls::default());
        let mut connection = open(tls_server(b"220 go\n250 injected\n")).await;
        assert_eq!(connection.receive(Some(b"\n"), 100, SECOND).await.unwrap(), b"220 go\n");
        let refused = connection.start_tls(&tls, "www.example.com", false, SECOND).await;
        assert!(matches!(refused, Err(ProbeError::Tls(_))), "{refused:?}");
    }
}
