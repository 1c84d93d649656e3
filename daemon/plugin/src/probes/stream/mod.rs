//! The stream probe: a connection that stays open between the calls of a run.

#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use memchr::memmem;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use vouchd_config::Grants;

use super::bounds::{checked_delimiter, too_many_bytes, until, within};
use super::check_io::CheckIo;
use super::connection::{self, Portions, Wire};
use super::error::{Stage, of_connection};
use super::tcp;
use super::tls::{Tls, certificate, handshake_failed};
use crate::contract::ProbeError;
use crate::contract::stream::Certificate;

/// A connection that a plugin holds.
pub(crate) struct Connection {
    /// `None` after a failed handshake.
    wire: Option<Box<dyn Wire>>,
    is_tls: bool,
    /// Received, but not yet handed to the plugin.
    held: Vec<u8>,
    /// The most bytes that the connection carries each way.
    bound: usize,
    pub(crate) sent: usize,
    pub(crate) received: usize,
    /// Index of the connection among the run's probes.
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
    io: &CheckIo,
    grants: &Grants,
    path: &str,
    bound: usize,
    time: Duration,
) -> Result<Connection, ProbeError> {
    let stream = connection::unix(io, grants, path, Instant::now() + time).await?;
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
        let until = checked_delimiter(until)?;
        let length = match within(time, self.fill(until, most)).await {
            Ok(length) => length,
            // Without a delimiter to wait for, silence after some data ends the answer.
            Err(ProbeError::Timeout) if until.is_none() && !self.held.is_empty() => self.held.len(),
            Err(error) => return Err(error),
        };
        Ok(self.held.drain(..length.min(most)).collect())
    }

    /// Reads until the answer is complete, and returns its length. What arrived before a timeout stays in `held`.
    async fn fill(&mut self, until: Option<&[u8]>, most: usize) -> Result<usize, ProbeError> {
        let mut searched = 0;
        loop {
            if let Some(until) = until {
                if let Some(at) = memmem::find(&self.held[searched..], until) {
                    return Ok(searched + at + until.len());
                }
                // The delimiter may have begun at the end of the data.
                searched = self.held.len().saturating_sub(until.len() - 1);
            }
            if self.held.len() >= most {
                return Ok(most);
            }
            let mut buffer = [0; 8192];
            // One byte more than allowed tells the end of the data from a cut.
            let room = buffer.len().min(most - self.held.len()).min((self.bound + 1).saturating_sub(self.received));
            if room == 0 {
                return Err(too_many_bytes(self.bound));
            }
            let n = match self.wire()?.read(&mut buffer[..room]).await {
                Ok(n) => n,
                // TLS peers that hang up without a close_notify.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
                Err(error) => match failed(&error) {
                    // A peer may answer before it hangs up on the request.
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
        // Plain text must not pass for something that was sent under TLS.
        if !self.held.is_empty() {
            return Err(ProbeError::Tls(format!("the peer sent {} bytes before the handshake", self.held.len())));
        }
        self.wire()?;
        let Some(wire) = self.wire.take() else { return Err(ProbeError::Refused) };
        let deadline = Instant::now() + time;
        // Outside of `until`: a failure to read the certificates in time is this host's, and no silence of the peer's.
        let (config, verifier) = tls.noting(verify, deadline).await?;
        let connector = TlsConnector::from(Arc::new(config));
        let stream =
            until(deadline, async { connector.connect(name, wire).await.map_err(|e| handshake_failed(&e)) }).await?;
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

/// A failure of an established connection.
fn failed(error: &io::Error) -> ProbeError {
    of_connection(error, Stage::There, "a conversation")
}
