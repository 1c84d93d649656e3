//! What goes out: method, headers and where they end.

use url::Url;

use super::invalid;
use crate::contract::ProbeError;

/// Where a request ends is said by the client, which knows its body. Whoever else could say it could hide a request for
/// something that is not granted within another, or in what the next one on a kept connection begins with.
const FRAMING: [&str; 4] = ["content-length", "transfer-encoding", "trailer", "upgrade"];

/// Headers that the client sends unless the plugin does.
const USUAL: [(&str, &str); 2] = [("accept", "*/*"), ("user-agent", concat!("vouchd/", env!("CARGO_PKG_VERSION")))];

/// One request, which redirects change.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    pub(super) method: String,
    headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Outgoing {
    pub(super) fn new(method: &str, headers: Vec<(String, String)>, body: Vec<u8>) -> Result<Self, ProbeError> {
        if method.is_empty() || !method.bytes().all(is_token) {
            return Err(invalid(format!("{method:?} is not an HTTP method")));
        }
        // Would go to the server without the URL's path, which is what was granted.
        if method == "CONNECT" {
            return Err(invalid("CONNECT asks for a tunnel: expected a method that fetches the URL"));
        }
        for (name, value) in &headers {
            if name.is_empty() || !name.bytes().all(is_token) {
                return Err(invalid(format!("{name:?} is not a header name")));
            }
            if FRAMING.iter().any(|framing| name.eq_ignore_ascii_case(framing)) {
                return Err(invalid(format!("the header {} is the client's to set", name.to_ascii_lowercase())));
            }
            if !value.bytes().all(|b| b == b'\t' || (b' '..=b'~').contains(&b)) {
                return Err(invalid(format!("header {name}: {value:?} can't be sent")));
            }
        }
        Ok(Outgoing { method: method.to_owned(), headers, body })
    }

    /// RFC 9110 9.2.2: sent twice it does no more than once.
    pub(super) fn is_idempotent(&self) -> bool {
        matches!(self.method.as_str(), "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE")
    }

    /// As a redirect with this status wants it (RFC 9110 15.4).
    pub(super) fn redirect(&mut self, status: u16, same_origin: bool) {
        if status == 303 || (matches!(status, 301 | 302) && self.method == "POST") {
            if self.method != "HEAD" {
                self.method = "GET".to_owned();
            }
            self.body.clear();
        }
        if !same_origin {
            // What was meant for one server is not told another.
            self.headers.retain(|(name, _)| {
                !["authorization", "cookie", "host"].iter().any(|private| name.eq_ignore_ascii_case(private))
            });
        }
    }

    fn has(&self, name: &str) -> bool {
        self.headers.iter().any(|(given, _)| given.eq_ignore_ascii_case(name))
    }

    /// All of the request, for this URL.
    pub(super) fn bytes(&self, url: &Url) -> Vec<u8> {
        let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
        let mut head = format!("{} {}{query} HTTP/1.1\r\n", self.method, url.path());
        let mut add = |name: &str, value: &str| {
            head.push_str(name);
            head.push_str(": ");
            head.push_str(value);
            head.push_str("\r\n");
        };
        if !self.has("host") {
            add("host", &authority(url));
        }
        for (name, value) in USUAL {
            if !self.has(name) {
                add(name, value);
            }
        }
        if let Some(login) = login(url).filter(|_| !self.has("authorization")) {
            add("authorization", &login);
        }
        for (name, value) in &self.headers {
            add(name, value);
        }
        if !self.body.is_empty() || matches!(self.method.as_str(), "POST" | "PUT" | "PATCH") {
            add("content-length", &self.body.len().to_string());
        }
        head.push_str("\r\n");
        [head.as_bytes(), &self.body].concat()
    }
}

/// RFC 9110 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The URL's host, with a port that is not the scheme's.
fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// `http://user:password@host/`
fn login(url: &Url) -> Option<String> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let decoded = |text: &str| percent_encoding::percent_decode_str(text).collect::<Vec<u8>>();
    let pair = [decoded(url.username()), b":".to_vec(), decoded(url.password().unwrap_or_default())].concat();
    Some(format!("Basic {}", base64(&pair)))
}

/// RFC 4648 4.
fn base64(data: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in data.chunks(3) {
        let bits = group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for digit in 0..4 {
            let index = (bits >> (18 - 6 * digit)) & 0x3f;
            let is_there = digit <= group.len();
            text.push(if is_there { char::from(DIGITS[index as usize]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(method: &str, url: &str, headers: &[(&str, &str)], body: &str) -> String {
        let headers = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let outgoing = Outgoing::new(method, headers, body.as_bytes().to_vec()).unwrap();
        String::from_utf8(outgoing.bytes(&url.parse().unwrap())).unwrap()
    }

    #[test]
    fn a_request_has_the_usual_headers_unless_given() {
        let agent = concat!("vouchd/", env!("CARGO_PKG_VERSION"));
        assert_eq!(
            sent("GET", "http://a.example/x?y=z#part", &[], ""),
            format!("GET /x?y=z HTTP/1.1\r\nhost: a.example\r\naccept: */*\r\nuser-agent: {agent}\r\n\r\n")
        );
        assert_eq!(
            sent("POST", "http://[::1]:81", &[("Host", "b"), ("Accept", "text/x"), ("USER-AGENT", "c")], "four"),
            "POST / HTTP/1.1\r\nHost: b\r\nAccept: text/x\r\nUSER-AGENT: c\r\ncontent-length: 4\r\n\r\nfour"
        );
        assert!(sent("PUT", "http://a:8080/", &[], "").contains("host: a:8080\r\n"));
        assert!(sent("PUT", "http://a/", &[], "").contains("content-length: 0\r\n"));
        assert!(sent("GET", "http://me:p%40ss@a/", &[], "").contains("authorization: Basic bWU6cEBzcw==\r\n"));
    }

    #[test]
    fn what_would_say_where_a_request_ends_is_not_the_plugins_to_say() {
        for (name, value) in
            [("Content-Length", "4"), ("transfer-encoding", "chunked"), ("a b", "c"), ("", "c"), ("a", "b\r\nc: d")]
        {
            let headers = vec![(name.to_owned(), value.to_owned())];
            assert!(matches!(Outgoing::new("GET", headers, Vec::new()), Err(ProbeError::Invalid(_))), "{name}");
        }
        for method in ["", "G T", "CONNECT", "GET / HTTP/1.1\r\n"] {
            assert!(matches!(Outgoing::new(method, Vec::new(), Vec::new()), Err(ProbeError::Invalid(_))), "{method}");
        }
    }

    #[test]
    fn redirects_change_what_is_sent() {
        let outgoing = || Outgoing::new("POST", vec![("Cookie".to_owned(), "c".to_owned())], b"b".to_vec()).unwrap();
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

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (data, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(data.as_bytes()), text);
        }
    }
}
