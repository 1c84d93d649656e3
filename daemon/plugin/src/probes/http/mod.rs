//! The HTTP probe: one HTTP/1.1 request, redirects followed only as far as asked and granted.

mod connection;
mod kept;
mod meter;
mod request;
mod response;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::{Client, StatusCode, Url};
use rustls::ClientConfig;
use tokio::time::Instant as Deadline;
use vouchd_config::Grants;

use super::bounds::{too_many_bytes, until};
use super::connection::unless_unplugged;
use super::resolver;
use super::tls::{Tls, Trust};
use crate::contract::ProbeError;
use crate::contract::http::{Request, Response};
use connection::{Answer, Connection, Target, Wanted};
use kept::Kept;
use request::Outgoing;

#[derive(Default)]
pub(crate) struct Http {
    pub(crate) tls: Arc<Tls>,
    /// Builds requests, and connects to nothing.
    requests: Client,
    kept: Kept,
}

/// The check that makes a request, and its deadline.
struct Errand<'a> {
    check: &'a str,
    grants: &'a Grants,
    deadline: Deadline,
}

impl Http {
    pub(crate) async fn fetch(
        &self,
        check: &str,
        grants: &Grants,
        request: Request,
        bound: usize,
        time: Duration,
    ) -> Result<Response, ProbeError> {
        let errand = Errand { check, grants, deadline: Deadline::now() + time };
        self.follow(&errand, request, bound).await
    }

    /// Closes the kept connections if `failed` is a lack of descriptors. Returns whether another attempt is worthwhile.
    pub(crate) async fn makes_room(&self, failed: Option<&ProbeError>) -> bool {
        failed.is_some_and(ProbeError::is_lack_of_descriptors) && self.kept.give_back().await
    }

    async fn follow(&self, errand: &Errand<'_>, request: Request, bound: usize) -> Result<Response, ProbeError> {
        let started = Instant::now();
        if request.body.len() > bound {
            return Err(too_many_bytes(bound));
        }
        let mut url = Url::parse(&request.url).map_err(|e| invalid(format!("{:?} is not a URL: {e}", request.url)))?;
        let mut outgoing = Outgoing::new(&request.method, &request.headers, request.body)?;
        let mut sni = request.sni;
        let mut left = request.follow_redirects;
        loop {
            let hop =
                Hop { url: &url, sni: sni.as_deref(), verify: request.tls_verify, keep: request.reuse_connection };
            let wanted = Wanted {
                body: request.max_body_bytes as usize,
                follow: left > 0,
                bound,
                keep: request.reuse_connection,
            };
            let answer = self.exchange(errand, &hop, &outgoing, wanted, started).await?;
            if left > 0
                && let Some(next) = redirect_target(&url, &answer.response)?
            {
                left -= 1;
                let same_origin = next.origin() == url.origin();
                outgoing.redirect(answer.response.status().as_u16(), same_origin);
                if !same_origin {
                    sni = None;
                }
                url = next;
                continue;
            }
            return Ok(Response {
                status: answer.response.status().as_u16(),
                headers: response::headers(&answer.response),
                body: answer.body,
                total_us: u64::try_from(answer.took.as_micros()).unwrap_or(u64::MAX),
            });
        }
    }

    /// One request and its answer, after the check of its grants.
    async fn exchange(
        &self,
        errand: &Errand<'_>,
        hop: &Hop<'_>,
        outgoing: &Outgoing,
        wanted: Wanted,
        started: Instant,
    ) -> Result<Answer, ProbeError> {
        let target = match hop.target(errand).await {
            Err(error) if self.makes_room(Some(&error)).await => hop.target(errand).await?,
            found => found?,
        };
        let answer = self.ask(errand, hop, &target, outgoing, wanted, started).await;
        answer.map_err(|error| unless_unplugged(error, &target.addresses))
    }

    async fn ask(
        &self,
        errand: &Errand<'_>,
        hop: &Hop<'_>,
        target: &Target,
        outgoing: &Outgoing,
        wanted: Wanted,
        started: Instant,
    ) -> Result<Answer, ProbeError> {
        let request = || outgoing.request(&self.requests, hop.url);
        if hop.keep
            && let Some(answer) =
                until(errand.deadline, self.on_kept(target, outgoing, &request, wanted, started)).await?
        {
            return Ok(answer);
        }
        // Outside of `until`: a failure to read the certificates in time is this host's, and no silence of the server's.
        let tls = match self.tls_for(target.trust, errand.deadline).await {
            Err(error) if self.makes_room(Some(&error)).await => self.tls_for(target.trust, errand.deadline).await?,
            found => found?,
        };
        until(errand.deadline, async {
            let mut connection = match Connection::open(target, tls.clone(), wanted.bound).await {
                Err(error) if self.makes_room(Some(&error)).await => {
                    Connection::open(target, tls, wanted.bound).await?
                }
                opened => opened?,
            };
            match connection.exchange(request()?, wanted, started).await {
                Ok(answer) => Ok(self.keep(target.clone(), connection, answer)),
                Err(failure) => Err(failure.error),
            }
        })
        .await
    }

    /// Makes the request on a kept connection; `None` if none is usable.
    async fn on_kept(
        &self,
        target: &Target,
        outgoing: &Outgoing,
        request: &impl Fn() -> Result<reqwest::Request, ProbeError>,
        wanted: Wanted,
        started: Instant,
    ) -> Result<Option<Answer>, ProbeError> {
        let Some(mut connection) = self.kept.take(target).await else { return Ok(None) };
        match connection.exchange(request()?, wanted, started).await {
            // The server waited for a request too long and closes the connection this way (RFC 9110 section 15.5.9).
            Ok(answer) if answer.response.status() == StatusCode::REQUEST_TIMEOUT && outgoing.is_idempotent() => {
                Ok(None)
            }
            Ok(answer) => Ok(Some(self.keep(target.clone(), connection, answer))),
            // The server may close an idle connection at any time (RFC 9112 section 9.3.1).
            Err(failure) if failure.was_stale && outgoing.is_idempotent() => Ok(None),
            Err(failure) => Err(failure.error),
        }
    }

    fn keep(&self, target: Target, connection: Connection, answer: Answer) -> Answer {
        if answer.is_reusable {
            self.kept.put(target, connection);
        }
        answer
    }

    async fn tls_for(&self, trust: Trust, deadline: Deadline) -> Result<Option<ClientConfig>, ProbeError> {
        if trust == Trust::Plain {
            return Ok(None);
        }
        let mut config = self.tls.config(trust == Trust::Verified, deadline).await?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Some(config))
    }
}

/// One request of a chain of redirects.
struct Hop<'a> {
    url: &'a Url,
    sni: Option<&'a str>,
    verify: bool,
    keep: bool,
}

impl Hop<'_> {
    /// Where the request goes, if that is granted. The addresses that were checked are the ones to connect to: no name is
    /// looked up twice.
    async fn target(&self, errand: &Errand<'_>) -> Result<Target, ProbeError> {
        let Errand { check, grants, deadline } = errand;
        let trust = match (self.url.scheme(), self.verify) {
            ("http", _) => Trust::Plain,
            ("https", true) => Trust::Verified,
            ("https", false) => Trust::Unverified,
            (scheme, _) => {
                return Err(invalid(format!("{scheme}: expected a URL that begins with http:// or https://")));
            }
        };
        grants.permits_http(self.url).map_err(|refusal| ProbeError::Denied(refusal.to_string()))?;
        let name = self.server_name()?;
        let host = self.url.host_str().ok_or_else(|| invalid(format!("{}: no host", self.url)))?;
        let port = self.url.port_or_known_default().ok_or_else(|| invalid(format!("{}: no port", self.url)))?;
        let permits = |address: SocketAddr| grants.permits_http_address(self.url, address.ip());
        let addresses = resolver::permitted(bare(host), port, permits, *deadline).await?;
        Ok(Target { check: (*check).to_owned(), trust, name, addresses })
    }

    /// The server name for TLS.
    fn server_name(&self) -> Result<String, ProbeError> {
        let Some(sni) = self.sni else { return Ok(bare(self.url.host_str().unwrap_or_default()).to_owned()) };
        // Normalized as the host of a URL.
        let mut named = self.url.clone();
        named.set_host(Some(sni)).map_err(|e| invalid(format!("sni {sni:?}: {e}")))?;
        named.domain().map(str::to_owned).ok_or_else(|| invalid(format!("sni {sni:?}: expected a name")))
    }
}

/// The host without the brackets of an IPv6 address.
fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

fn redirect_target(url: &Url, response: &reqwest::Response) -> Result<Option<Url>, ProbeError> {
    let Some(location) = response::location(response) else { return Ok(None) };
    let next = url.join(&location).map_err(|e| ProbeError::Other(format!("redirected to {location:?}: {e}")))?;
    match next.scheme() {
        "http" | "https" => Ok(Some(next)),
        // The server's fault, whatever the check is granted.
        _ => Err(ProbeError::Other(format!(
            "redirected to {location:?}: expected a URL that begins with http:// or https://"
        ))),
    }
}

fn invalid(text: impl Into<String>) -> ProbeError {
    ProbeError::Invalid(text.into())
}
