//! The HTTP probe: one HTTP/1.1 request, redirects followed only as far as asked and granted.

use std::collections::HashMap;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{
    AUTHORIZATION, CONTENT_LENGTH, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue, LOCATION, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use reqwest::{Client, Method, StatusCode, Url, redirect};
use vouchd_config::Grants;

use super::tls::{Tls, Trust};
use super::{from_io, resolve, too_many_bytes, within};
use crate::contract::ProbeError;
use crate::contract::http::{Request, Response};

/// Kept connections: beyond this many kinds of them all are dropped.
const MAX_KEPT: usize = 256;

#[derive(Default)]
pub(crate) struct Http {
    pub(crate) tls: Arc<Tls>,
    kept: Mutex<HashMap<Target, Client>>,
}

/// What a client is good for. Connections are never shared between checks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Target {
    check: String,
    trust: Trust,
    /// The name in the URL that the client gets; TLS uses it as the server name.
    name: String,
    addresses: Vec<SocketAddr>,
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
        within(time, self.follow(check, grants, request, bound)).await
    }

    async fn follow(
        &self,
        check: &str,
        grants: &Grants,
        request: Request,
        bound: usize,
    ) -> Result<Response, ProbeError> {
        let started = Instant::now();
        if request.body.len() > bound {
            return Err(too_many_bytes(bound));
        }
        let mut url = Url::parse(&request.url).map_err(|e| invalid(format!("{:?} is not a URL: {e}", request.url)))?;
        let mut method = method(&request.method)?;
        let mut headers = headers(&request.headers)?;
        let mut body = request.body;
        let mut sni = request.sni;
        let mut left = request.follow_redirects;
        loop {
            let hop =
                Hop { url: &url, sni: sni.as_deref(), verify: request.tls_verify, keep: request.reuse_connection };
            let client = self.client(check, grants, &hop).await?;
            let (target, host) = hop.target()?;
            let mut sent = headers.clone();
            sent.entry(HOST).or_insert(host);
            let mut response = client
                .request(method.clone(), target)
                .headers(sent)
                .body(body.clone())
                .send()
                .await
                .map_err(|e| from_reqwest(&e))?;
            if left > 0
                && let Some(next) = redirect_target(&url, &response)?
            {
                left -= 1;
                let status = response.status();
                if status == StatusCode::SEE_OTHER
                    || (status != StatusCode::TEMPORARY_REDIRECT && method == Method::POST)
                {
                    method = Method::GET;
                    body.clear();
                }
                if next.origin() != url.origin() {
                    // What was meant for one server is not told another.
                    for private in [AUTHORIZATION, COOKIE, HOST] {
                        headers.remove(private);
                    }
                    sni = None;
                }
                url = next;
                continue;
            }
            let most = (request.max_body_bytes as usize).min(bound);
            let mut data = Vec::new();
            while data.len() < most {
                let Some(chunk) = response.chunk().await.map_err(|e| from_reqwest(&e))? else { break };
                data.extend_from_slice(&chunk[..chunk.len().min(most - data.len())]);
            }
            return Ok(Response {
                status: response.status().as_u16(),
                headers: response
                    .headers()
                    .iter()
                    .map(|(name, value)| {
                        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
                    })
                    .collect(),
                body: data,
                total_us: u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
            });
        }
    }

    /// A client that can reach this URL and nothing else, after asking whether the check may.
    async fn client(&self, check: &str, grants: &Grants, hop: &Hop<'_>) -> Result<Client, ProbeError> {
        let trust = match (hop.url.scheme(), hop.verify) {
            ("http", _) => Trust::Bare,
            ("https", true) => Trust::Verified,
            ("https", false) => Trust::Unverified,
            (scheme, _) => {
                return Err(invalid(format!("{scheme}: expected a URL that begins with http:// or https://")));
            }
        };
        grants.permits_http(hop.url).map_err(|refusal| ProbeError::Denied(refusal.to_string()))?;
        let host = hop.url.host_str().ok_or_else(|| invalid(format!("{}: no host", hop.url)))?;
        let port = hop.url.port_or_known_default().ok_or_else(|| invalid(format!("{}: no port", hop.url)))?;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let permits = |address: SocketAddr| grants.permits_http_address(hop.url, address.ip());
        let addresses = resolve::permitted(bare, port, permits).await?;
        // As it stands in the client's URL: any other spelling of it would be resolved anew, past what was granted.
        let name = hop.target()?.0.host_str().unwrap_or_default().to_owned();
        let target = Target { check: check.to_owned(), trust, name, addresses };
        if hop.keep
            && let Some(client) = self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(&target)
        {
            return Ok(client.clone());
        }
        let tls = Arc::clone(&self.tls);
        let config = tokio::task::spawn_blocking(move || tls.config(trust))
            .await
            .map_err(|e| ProbeError::Other(e.to_string()))?
            .map_err(ProbeError::Tls)?;
        let client = Client::builder()
            .tls_backend_preconfigured(config)
            .no_proxy()
            .redirect(redirect::Policy::none())
            .referer(false)
            .http1_only()
            .user_agent(concat!("vouchd/", env!("CARGO_PKG_VERSION")))
            .pool_max_idle_per_host(usize::from(hop.keep))
            .dns_resolver(Found(target.addresses.clone()))
            .build()
            .map_err(|e| from_reqwest(&e))?;
        if hop.keep {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() >= MAX_KEPT {
                kept.clear();
            }
            kept.insert(target, client.clone());
        }
        Ok(client)
    }
}

/// What the URL's host was found to be, whatever name the client asks for: nothing is looked up a second time.
struct Found(Vec<SocketAddr>);

impl Resolve for Found {
    fn resolve(&self, _name: Name) -> Resolving {
        let addresses: Addrs = Box::new(self.0.clone().into_iter());
        Box::pin(std::future::ready(Ok(addresses)))
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
    /// The URL for the client, whose host is the TLS server name, and the `Host` header of the real one.
    fn target(&self) -> Result<(Url, HeaderValue), ProbeError> {
        let host = self.url.host_str().unwrap_or_default();
        let shown = match self.url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        let header = HeaderValue::from_str(&shown).map_err(|_| invalid(format!("{}: bad host", self.url)))?;
        let mut target = self.url.clone();
        if let Some(sni) = self.sni {
            target.set_host(Some(sni)).map_err(|e| invalid(format!("sni {sni:?}: {e}")))?;
            // An address would be connected to, in place of the URL's.
            if target.domain().is_none() {
                return Err(invalid(format!("sni {sni:?}: expected a name")));
            }
        }
        Ok((target, header))
    }
}

fn method(text: &str) -> Result<Method, ProbeError> {
    match Method::from_bytes(text.as_bytes()) {
        // Would go to the server without the URL's path, which is what was granted.
        Ok(Method::CONNECT) => Err(invalid("CONNECT asks for a tunnel: expected a method that fetches the URL")),
        Ok(method) => Ok(method),
        Err(_) => Err(invalid(format!("{text:?} is not an HTTP method"))),
    }
}

/// Where a request ends is said by the client, which knows its body. Whoever else could say it could hide a request for
/// something that is not granted within another, or in what the next one on a kept connection begins with.
const FRAMING: [HeaderName; 4] = [CONTENT_LENGTH, TRANSFER_ENCODING, TRAILER, UPGRADE];

fn headers(pairs: &[(String, String)]) -> Result<HeaderMap, ProbeError> {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let name =
            HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid(format!("{name:?} is not a header name")))?;
        if FRAMING.contains(&name) {
            return Err(invalid(format!("the header {name} is the client's to set")));
        }
        let value =
            HeaderValue::from_str(value).map_err(|_| invalid(format!("header {name}: {value:?} can't be sent")))?;
        headers.append(name, value);
    }
    Ok(headers)
}

fn redirect_target(url: &Url, response: &reqwest::Response) -> Result<Option<Url>, ProbeError> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let Some(location) = response.headers().get(LOCATION) else { return Ok(None) };
    let location = String::from_utf8_lossy(location.as_bytes());
    url.join(&location).map(Some).map_err(|e| ProbeError::Other(format!("redirected to {location:?}: {e}")))
}

fn invalid(text: impl Into<String>) -> ProbeError {
    ProbeError::Invalid(text.into())
}

/// What lies at the bottom of a client's error says best what happened.
fn from_reqwest(error: &reqwest::Error) -> ProbeError {
    let mut last = error.to_string();
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return ProbeError::Tls(tls.to_string());
        }
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            match innermost(io) {
                Innermost::Tls(tls) => return ProbeError::Tls(tls.to_string()),
                Innermost::Io(io) if io.get_ref().is_none() => return from_io(io),
                Innermost::Io(_) => {}
            }
        }
        last = error.to_string();
        cause = error.source();
    }
    if error.is_timeout() { ProbeError::Timeout } else { ProbeError::Other(last) }
}

enum Innermost<'a> {
    Tls(&'a rustls::Error),
    Io(&'a std::io::Error),
}

/// I/O errors wrap others, themselves too, and `source` skips what they wrap.
fn innermost(mut error: &std::io::Error) -> Innermost<'_> {
    while let Some(inner) = error.get_ref() {
        if let Some(tls) = inner.downcast_ref() {
            return Innermost::Tls(tls);
        }
        let Some(io) = inner.downcast_ref() else { break };
        error = io;
    }
    Innermost::Io(error)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

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
}
