//! One connection to a server: opened, used for a request, and perhaps kept for the next. hyper speaks HTTP on it with
//! reqwest's messages. The connection is our own, since only granted addresses are connected to, and what a server may do
//! to us is bounded below both libraries.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use reqwest::{Body, Request, Response};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use super::super::bounds::too_many_bytes;
use super::super::connection::{self, Wire};
use super::super::tls::{Trust, handshake_failed};
use super::meter::{Meter, Metered};
use super::response::{failure, wants_no_body};
use crate::contract::ProbeError;

/// Wait for the rest of an unwanted body, so that its connection can be kept.
const PATIENCE: Duration = Duration::from_millis(20);

/// Most headers of one answer. Some servers send more than hyper's own limit of 100.
pub(super) const MAX_HEADERS: usize = 5000;

/// The smallest buffer that hyper accepts, in bytes.
const SMALLEST_BUFFER: usize = 8192;

/// The requests that a connection can serve. It is never shared between checks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Target {
    pub(super) check: String,
    pub(super) trust: Trust,
    /// The server name for TLS.
    pub(super) name: String,
    pub(super) addresses: Vec<SocketAddr>,
}

pub(super) struct Connection {
    sender: SendRequest<Body>,
    meter: Meter,
    /// Reads and writes for as long as the connection lives.
    worker: JoinHandle<()>,
    /// Whether it has served a request.
    was_used: bool,
}

/// What the caller wants of an answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    /// Most bytes of the body.
    pub(super) body: usize,
    /// Whether redirects are followed; their bodies are not read.
    pub(super) follow: bool,
    /// Most bytes that the check lets a probe receive.
    pub(super) bound: usize,
    /// Whether to keep the connection.
    pub(super) keep: bool,
}

pub(super) struct Answer {
    pub(super) response: Response,
    pub(super) body: Vec<u8>,
    pub(super) took: Duration,
    /// Whether the connection can serve another request.
    pub(super) is_reusable: bool,
}

/// A failed exchange.
pub(super) struct Failure {
    pub(super) error: ProbeError,
    /// The server closed a kept connection before this request reached it.
    pub(super) was_stale: bool,
}

impl Connection {
    pub(super) async fn open(target: &Target, tls: Option<ClientConfig>, bound: usize) -> Result<Self, ProbeError> {
        let stream = connection::tcp(&target.addresses).await?;
        let Some(config) = tls else { return Self::on(Box::new(stream), bound, false).await };
        let name = ServerName::try_from(target.name.clone())
            .map_err(|_| ProbeError::Invalid(format!("{:?} is not a server name for TLS", target.name)))?;
        let stream =
            TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|e| handshake_failed(&e))?;
        Self::on(Box::new(stream), bound, true).await
    }

    pub(super) async fn on(wire: Box<dyn Wire>, bound: usize, is_tls: bool) -> Result<Self, ProbeError> {
        let meter = Meter::default();
        let (sender, connection) = Builder::new()
            .allow_obsolete_multiline_headers_in_responses(true)
            .allow_spaces_after_header_name_in_responses(true)
            .ignore_invalid_headers_in_responses(true)
            .max_headers(MAX_HEADERS)
            .max_header_size(bound)
            .max_buf_size(bound.max(SMALLEST_BUFFER))
            .handshake(TokioIo::new(Metered::new(wire, meter.clone(), is_tls)))
            .await
            .map_err(|error| failure(&error, &meter, bound))?;
        // Its errors reach the exchange as well.
        let worker = tokio::spawn(async move { drop(connection.await) });
        Ok(Connection { sender, meter, worker, was_used: false })
    }

    pub(super) async fn exchange(
        &mut self,
        request: Request,
        wanted: Wanted,
        started: Instant,
    ) -> Result<Answer, Failure> {
        let was_used = std::mem::replace(&mut self.was_used, true);
        // The limit applies to head and body each; chunk framing counts as well.
        self.meter.begin(wanted.bound.saturating_mul(2));
        self.receive(request, wanted, started).await.map_err(|error| {
            let was_stale = was_used && self.meter.beginning().is_empty() && error.is_the_peers();
            Failure { error, was_stale }
        })
    }

    async fn receive(&mut self, request: Request, wanted: Wanted, started: Instant) -> Result<Answer, ProbeError> {
        let failed = |error: &(dyn std::error::Error + 'static)| failure(error, &self.meter, wanted.bound);
        let request = http_request(request)?;
        let answer = self.sender.send_request(request).await.map_err(|error| failed(&error))?;
        let mut response = Response::from(answer.map(Body::wrap));
        let most = if wanted.follow && wants_no_body(&response) { 0 } else { wanted.body };
        let mut body = Vec::new();
        let mut done = false;
        while body.len() < most && !done {
            match response.chunk().await.map_err(|error| failed(&error))? {
                Some(chunk) => {
                    self.meter.count_body(chunk.len());
                    body.extend_from_slice(&chunk[..chunk.len().min(most - body.len())]);
                }
                None => done = true,
            }
            if body.len() > wanted.bound {
                return Err(too_many_bytes(wanted.bound));
            }
        }
        let took = started.elapsed();
        if wanted.keep && !done {
            let rest = async { while let Ok(Some(_)) = response.chunk().await {} };
            done = tokio::time::timeout(PATIENCE, rest).await.is_ok();
        }
        let is_reusable = wanted.keep && done && !self.sender.is_closed();
        Ok(Answer { response, body, took, is_reusable })
    }

    /// Whether the connection is open, and the server has sent nothing since.
    pub(super) async fn is_idle(&mut self) -> bool {
        self.sender.ready().await.is_ok()
    }

    /// Closes the connection; its descriptor is free afterwards.
    pub(super) async fn end(mut self) {
        self.worker.abort();
        let _ = (&mut self.worker).await;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.worker.abort();
    }
}

/// The request as hyper sends it: its target is the path alone.
fn http_request(request: Request) -> Result<hyper::Request<Body>, ProbeError> {
    let unsendable = |error: &dyn std::fmt::Display| ProbeError::Invalid(format!("the request can't be sent: {error}"));
    let mut request = hyper::Request::<Body>::try_from(request).map_err(|error| unsendable(&error))?;
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
    *request.uri_mut() = path.parse().map_err(|error: hyper::http::uri::InvalidUri| unsendable(&error))?;
    Ok(request)
}
