//! Requests: method, headers and body, and what redirects change.

use super::invalid;
use crate::contract::ProbeError;
use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_LENGTH, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue, TRAILER,
    TRANSFER_ENCODING, UPGRADE, USER_AGENT,
};
use reqwest::{Client, Method, Request, Url};

/// Headers that decide where a request ends; only the client sets them. Otherwise a plugin could hide a request for
/// something that is not granted within another, or at the beginning of the next one on a kept connection.
const FRAMING: [HeaderName; 4] = [CONTENT_LENGTH, TRANSFER_ENCODING, TRAILER, UPGRADE];

/// Headers for one server that no other may see.
const PRIVATE: [HeaderName; 3] = [AUTHORIZATION, COOKIE, HOST];

/// One request, which redirects change.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    method: Method,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Outgoing {
    pub(super) fn new(method: &str, pairs: &[(String, String)], body: Vec<u8>) -> Result<Self, ProbeError> {
        let method = match Method::from_bytes(method.as_bytes()) {
            // It would reach the server without the URL's path, which is what was granted.
            Ok(Method::CONNECT) => {
                return Err(invalid("CONNECT asks for a tunnel: expected a method that fetches the URL"));
            }
            Ok(method) => method,
            Err(_) => return Err(invalid(format!("{method:?} is not an HTTP method"))),
        };
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let name = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| invalid(format!("{name:?} is not a header name")))?;
            if FRAMING.contains(&name) {
                return Err(invalid(format!("the header {name} is the client's to set")));
            }
            let value =
                HeaderValue::from_str(value).map_err(|_| invalid(format!("header {name}: {value:?} can't be sent")))?;
            headers.append(name, value);
        }
        Ok(Outgoing { method, headers, body })
    }

    /// Whether sending it twice has no further effect (RFC 9110 section 9.2.2).
    pub(super) fn is_idempotent(&self) -> bool {
        self.method.is_idempotent()
    }

    /// Follows a redirect with this status (RFC 9110 section 15.4).
    pub(super) fn redirect(&mut self, status: u16, same_origin: bool) {
        if status == 303 || (matches!(status, 301 | 302) && self.method == Method::POST) {
            if self.method != Method::HEAD {
                self.method = Method::GET;
            }
            self.body.clear();
        }
        if !same_origin {
            for private in PRIVATE {
                self.headers.remove(private);
            }
        }
    }

    /// All of the request, for this URL.
    pub(super) fn request(&self, client: &Client, url: &Url) -> Result<Request, ProbeError> {
        let mut headers = self.headers.clone();
        let host = HeaderValue::from_str(&authority(url)).map_err(|_| invalid(format!("{url}: bad host")))?;
        headers.entry(HOST).or_insert(host);
        headers.entry(ACCEPT).or_insert(HeaderValue::from_static("*/*"));
        let agent = HeaderValue::from_static(concat!("vouchd/", env!("CARGO_PKG_VERSION")));
        headers.entry(USER_AGENT).or_insert(agent);
        // The builder makes a header of the URL's user and password; the plugin's own has precedence.
        let request = client.request(self.method.clone(), url.clone()).headers(headers).body(self.body.clone());
        request.build().map_err(|error| invalid(format!("{url}: {error}")))
    }
}

/// The URL's host, with a port that is not the scheme's.
fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(method: &str, url: &str, pairs: &[(&str, &str)], body: &str) -> Request {
        let pairs: Vec<_> = pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let outgoing = Outgoing::new(method, &pairs, body.as_bytes().to_vec()).unwrap();
        outgoing.request(&Client::new(), &url.parse().unwrap()).unwrap()
    }

    /// The values of a header.
    fn values(request: &Request, name: &str) -> Vec<String> {
        request.headers().get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn request_has_the_usual_headers_unless_given() {
        let agent = concat!("vouchd/", env!("CARGO_PKG_VERSION"));
        let plain = built("GET", "http://a.example/x?y=z#part", &[], "");
        for (name, value) in [("host", "a.example"), ("accept", "*/*"), ("user-agent", agent)] {
            assert_eq!(values(&plain, name), [value]);
        }
        let given = [("Host", "b"), ("Accept", "text/x"), ("USER-AGENT", "c")];
        let request = built("POST", "http://[::1]:81", &given, "four");
        for (name, value) in [("host", "b"), ("accept", "text/x"), ("user-agent", "c")] {
            assert_eq!(values(&request, name), [value]);
        }
        assert_eq!(values(&built("PUT", "http://a:8080/", &[], ""), "host"), ["a:8080"]);
    }

    #[test]
    fn user_and_password_of_the_url_are_sent_unless_the_plugin_has_its_own() {
        let url = "http://me:p%40ss@a/";
        assert_eq!(values(&built("GET", url, &[], ""), "authorization"), ["Basic bWU6cEBzcw=="]);
        assert_eq!(values(&built("GET", url, &[("Authorization", "Bearer x")], ""), "authorization"), ["Bearer x"]);
    }

    #[test]
    fn plugin_cannot_set_where_a_request_ends() {
        for (name, value) in
            [("Content-Length", "4"), ("transfer-encoding", "chunked"), ("a b", "c"), ("", "c"), ("a", "b\r\nc: d")]
        {
            let pairs = [(name.to_owned(), value.to_owned())];
            assert!(matches!(Outgoing::new("GET", &pairs, Vec::new()), Err(ProbeError::Invalid(_))), "{name}");
        }
        for method in ["", "G T", "CONNECT", "GET / HTTP/1.1\r\n"] {
            assert!(matches!(Outgoing::new(method, &[], Vec::new()), Err(ProbeError::Invalid(_))), "{method}");
        }
    }

    #[test]
    fn redirects_change_what_is_sent() {
        let outgoing = || Outgoing::new("POST", &[("Cookie".to_owned(), "c".to_owned())], b"b".to_vec()).unwrap();
        for (status, method, body) in
            [(301, "GET", 0), (302, "GET", 0), (303, "GET", 0), (307, "POST", 1), (308, "POST", 1)]
        {
            let mut next = outgoing();
            next.redirect(status, true);
            assert_eq!((next.method.as_str(), next.body.len(), next.headers.len()), (method, body, 1), "{status}");
            next.redirect(status, false);
            assert!(next.headers.is_empty());
        }
    }
}
