//! One connection to a server: made, used for a request, and perhaps kept for the next.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio_rustls::TlsConnector;

use super::super::connect;
use super::super::error::{Stage, of_connection};
use super::super::stream::from_tls;
use super::super::tls::Trust;
use super::super::wire::Wire;
use super::body;
use super::response::{Head, Incoming};
use crate::contract::ProbeError;

/// Kept connections: beyond this many kinds of them all are dropped.
const MAX_KEPT: usize = 256;

/// Servers close what is idle for longer.
const MAX_IDLE: Duration = Duration::from_secs(90);

/// The rest of a body, which nobody wants, is waited for this long so that its connection can be kept.
const PATIENCE: Duration = Duration::from_millis(20);

/// What a connection is good for. It is never shared between checks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Target {
    pub(super) check: String,
    pub(super) trust: Trust,
    /// The server name for TLS.
    pub(super) name: String,
    pub(super) addresses: Vec<SocketAddr>,
}

pub(super) struct Connection {
    wire: Box<dyn Wire>,
    /// It has served a request.
    was_used: bool,
}

/// What is wanted of an answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) is_head_request: bool,
    /// Bytes of the body; none of that of a redirect that is followed.
    pub(super) body: usize,
    pub(super) follow: bool,
    pub(super) bound: usize,
    /// Whether the connection is to be kept.
    pub(super) keep: bool,
}

pub(super) struct Answer {
    pub(super) head: Head,
    pub(super) body: Vec<u8>,
    pub(super) took: Duration,
    /// Fit for another request.
    pub(super) is_reusable: bool,
}

/// An exchange that came to nothing.
pub(super) struct Failure {
    pub(super) error: ProbeError,
    /// The server closed a connection that it had kept, before it knew of this request.
    pub(super) was_stale: bool,
}

impl Connection {
    pub(super) async fn open(target: &Target, tls: Option<ClientConfig>) -> Result<Self, ProbeError> {
        let stream = connect::tcp(&target.addresses).await?;
        let Some(config) = tls else { return Ok(Connection { wire: Box::new(stream), was_used: false }) };
        let name = ServerName::try_from(target.name.clone())
            .map_err(|_| ProbeError::Invalid(format!("{:?} is not a server name for TLS", target.name)))?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|e| from_tls(&e))?;
        Ok(Connection { wire: Box::new(stream), was_used: false })
    }

    /// Sends the request and reads the answer at the same time: some servers answer before they are asked, and close.
    pub(super) async fn exchange(
        &mut self,
        request: &[u8],
        wanted: Wanted,
        started: Instant,
    ) -> Result<Answer, Failure> {
        let was_used = std::mem::replace(&mut self.was_used, true);
        let (reader, mut writer) = tokio::io::split(&mut self.wire);
        let mut incoming = Incoming::new(reader, wanted.bound);
        let mut sent = None;
        let answer = {
            let mut sending = pin!(async {
                writer.write_all(request).await?;
                writer.flush().await
            });
            let mut receiving = pin!(receive(&mut incoming, wanted, started));
            loop {
                tokio::select! {
                    biased;
                    done = &mut sending, if sent.is_none() => sent = Some(done),
                    answer = &mut receiving => break answer,
                }
            }
        };
        match answer {
            Ok(mut answer) => {
                answer.is_reusable &= matches!(sent, Some(Ok(())));
                Ok(answer)
            }
            Err(error) => {
                let was_stale = was_used && !incoming.began && error.is_the_peers();
                let error = match sent {
                    Some(Err(unsent)) if !incoming.began => {
                        of_connection(&unsent, Stage::There, "sending an HTTP request")
                    }
                    Some(_) | None => error,
                };
                Err(Failure { error, was_stale })
            }
        }
    }

    /// Whether it is open, and the server has said nothing since.
    async fn is_idle(&mut self) -> bool {
        let mut byte = [0; 1];
        let wire = &mut self.wire;
        std::future::poll_fn(|context| {
            let read = Pin::new(&mut *wire).poll_read(context, &mut ReadBuf::new(&mut byte));
            Poll::Ready(read.is_pending())
        })
        .await
    }
}

async fn receive<R: AsyncRead + Unpin>(
    incoming: &mut Incoming<R>,
    wanted: Wanted,
    started: Instant,
) -> Result<Answer, ProbeError> {
    let head = incoming.head().await?;
    let mut data = Vec::new();
    let wanted = if wanted.follow && head.is_redirect() { Wanted { body: 0, ..wanted } } else { wanted };
    if wanted.body == 0 && !wanted.keep {
        return Ok(Answer { head, body: data, took: started.elapsed(), is_reusable: false });
    }
    let mut framing = body::Framing::of(&head, wanted.is_head_request)?;
    let mut done = body::read(incoming, &mut framing, &mut data, wanted.body).await?;
    let took = started.elapsed();
    let is_open = wanted.keep && head.keeps_open() && framing != body::Framing::UntilClose;
    if is_open && !done {
        let mut rest = Vec::new();
        let reading = body::read(incoming, &mut framing, &mut rest, usize::MAX);
        done = matches!(tokio::time::timeout(PATIENCE, reading).await, Ok(Ok(true)));
    }
    Ok(Answer { head, body: data, took, is_reusable: is_open && done && incoming.buffer.is_empty() })
}

/// Connections for the next runs.
#[derive(Default)]
pub(super) struct Kept(Mutex<HashMap<Target, (Instant, Connection)>>);

impl Kept {
    /// One that is still good.
    pub(super) async fn take(&self, target: &Target) -> Option<Connection> {
        let found = {
            let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            kept.retain(|_, (since, _)| since.elapsed() < MAX_IDLE);
            kept.remove(target)
        };
        let (_, mut connection) = found?;
        connection.is_idle().await.then_some(connection)
    }

    pub(super) fn put(&self, target: Target, connection: Connection) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MAX_KEPT {
            kept.clear();
        }
        kept.insert(target, (Instant::now(), connection));
    }
}
