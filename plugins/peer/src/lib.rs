//! What the plugins that talk to servers share: connecting by TCP or unix socket, TLS, passwords, reading messages, and findings
//! about the server. A library, not a plugin.

mod finding;
mod reader;

use std::time::Duration;

use vouchd_check::{Connection, Context, Error, ProbeError, Report, Result};

pub use finding::{Finding, Lag, one_of, only_with_login};
pub use reader::{Malformed, Parsed, Reader};

/// The most bytes of a password file.
const MAX_PASSWORD: u32 = 4096;

/// Why a conversation ended without a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// The server does not serve: a `fail` report.
    Fail(String),
    /// The check could not be carried out: an error.
    Error(Error),
}

/// The result of a step of a conversation.
pub type Talk<T> = std::result::Result<T, Stop>;

impl Stop {
    /// The server does not serve. The text follows its name in the message.
    pub fn fail(text: impl Into<String>) -> Self {
        Stop::Fail(text.into())
    }

    /// The check could not be carried out. Say what was expected, what was found, and what to do.
    pub fn error(text: impl Into<String>) -> Self {
        Stop::Error(Error::new(text))
    }

    /// Makes the report, or the error, of the run. Its message starts with `peer`.
    ///
    /// # Errors
    /// If the check could not be carried out.
    pub fn report(self, peer: &str) -> Result<Report> {
        match self {
            Stop::Fail(text) => Ok(Report::fail(format!("{peer}: {text}"))),
            Stop::Error(error) => Err(Error::new(format!("{peer}: {error}"))),
        }
    }

    /// Sorts the failure of a probe. `doing` is what the plugin was doing; it may be empty.
    fn probe(error: ProbeError, doing: &str) -> Self {
        match error {
            // Their texts name the line to add to the configuration, or the parameter to change.
            ProbeError::Denied(_) | ProbeError::Invalid(_) => Stop::Error(error.into()),
            ProbeError::Timeout
            | ProbeError::Refused
            | ProbeError::Unresolved
            | ProbeError::Tls(_)
            | ProbeError::Other(_) => Stop::Fail(match doing {
                "" => error.to_string(),
                doing => format!("{doing}: {error}"),
            }),
        }
    }
}

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// `host:port`.
    Tcp(String),
    /// A path.
    Unix(String),
}

/// The TLS settings of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Tls {
    name: String,
    verify: bool,
}

/// A server, as the parameters of a check describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    place: Place,
    tls: Option<Tls>,
    /// For connecting, and for each answer.
    timeout: Option<Duration>,
}

impl Peer {
    /// A server at `address` (`host:port`), or at a unix socket.
    ///
    /// # Errors
    /// Unless exactly one of `address` and `socket` is given.
    pub fn new(address: Option<String>, socket: Option<String>, timeout: Option<Duration>) -> Result<Self> {
        let place = match (address, socket) {
            (Some(address), None) => Place::Tcp(address),
            (None, Some(path)) => Place::Unix(path),
            (None, None) => {
                return Err(Error::new("no parameter says where the server is: expected `address` or `socket`"));
            }
            (Some(_), Some(_)) => {
                return Err(Error::new("parameters `address` and `socket`: expected only one of them, found both"));
            }
        };
        Ok(Peer { place, tls: None, timeout })
    }

    /// The same server with TLS. The certificate must be for `sni`, or for the host of the address.
    ///
    /// # Errors
    /// If neither is known.
    pub fn with_tls(mut self, sni: Option<String>, verify: bool) -> Result<Self> {
        let host = match &self.place {
            Place::Tcp(address) => host_of(address),
            Place::Unix(_) => None,
        };
        let name = sni.or_else(|| host.map(str::to_owned)).ok_or_else(|| {
            Error::new("parameter `tls` needs the server's name: expected `address` = \"host:port\", or `sni`")
        })?;
        self.tls = Some(Tls { name, verify });
        Ok(self)
    }

    /// Whether TLS is wanted.
    pub fn wants_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// The address or path, as the operator wrote it.
    pub fn text(&self) -> &str {
        match &self.place {
            Place::Tcp(address) => address,
            Place::Unix(path) => path,
        }
    }

    /// Connects, without TLS; see [`Stream::start_tls`].
    ///
    /// # Errors
    /// If the check has no grant for it, or the connection fails.
    pub fn connect(&self, ctx: &Context) -> Talk<Stream> {
        let connection = match &self.place {
            Place::Tcp(address) => ctx.connect_tcp(address, self.timeout),
            Place::Unix(path) => ctx.connect_unix(path, self.timeout),
        };
        let connection = connection.map_err(|error| Stop::probe(error, ""))?;
        let is_private = matches!(self.place, Place::Unix(_));
        Ok(Stream { connection, tls: self.tls.clone(), timeout: self.timeout, is_private })
    }
}

/// A connection to a server.
pub struct Stream {
    connection: Connection,
    tls: Option<Tls>,
    timeout: Option<Duration>,
    is_private: bool,
}

impl Stream {
    /// Sends all of `data`.
    ///
    /// # Errors
    /// If the server closed the connection, or the run has no time left.
    pub fn send(&mut self, data: &[u8]) -> Talk<()> {
        self.connection.send(data).map_err(|error| Stop::probe(error, "sending"))
    }

    /// Receives exactly `length` bytes. Messages about a failure call them `what`.
    ///
    /// # Errors
    /// If they do not arrive in time, or the server closes the connection first.
    pub fn exactly(&mut self, length: u32, what: &str) -> Talk<Vec<u8>> {
        let mut data: Vec<u8> = Vec::new();
        loop {
            let left = length.saturating_sub(u32::try_from(data.len()).unwrap_or(u32::MAX));
            if left == 0 {
                return Ok(data);
            }
            let more = self.connection.receive(left, self.timeout);
            let more = more.map_err(|error| Stop::probe(error, &format!("waiting for {what}")))?;
            if more.is_empty() {
                return Err(Stop::fail(format!("closed the connection instead of sending {what}")));
            }
            data.extend(more);
        }
    }

    /// Receives up to `end`, which is cut off; at most `most` bytes with it. Messages about a failure call them `what`.
    ///
    /// # Errors
    /// If `end` does not arrive in time or within `most` bytes, or the server closes the connection first.
    pub fn until(&mut self, end: &[u8], most: u32, what: &str) -> Talk<Vec<u8>> {
        let data = self.connection.receive_until(end, most, self.timeout);
        let mut data = data.map_err(|error| Stop::probe(error, &format!("waiting for {what}")))?;
        if data.ends_with(end) {
            data.truncate(data.len() - end.len());
            Ok(data)
        } else if data.is_empty() {
            Err(Stop::fail(format!("closed the connection instead of sending {what}")))
        } else {
            Err(Stop::fail(format!("sent {:?} instead of {what}", quoted(&data[..data.len().min(60)]))))
        }
    }

    /// Receives all that the server sends until it closes the connection, at most `most` bytes.
    ///
    /// # Errors
    /// If nothing arrives in time.
    pub fn rest(&mut self, most: u32, what: &str) -> Talk<Vec<u8>> {
        let data = self.connection.receive(most, self.timeout);
        data.map_err(|error| Stop::probe(error, &format!("waiting for {what}")))
    }

    /// Continues with TLS, if the peer has it. Call it after the server has agreed.
    ///
    /// # Errors
    /// If the handshake fails, or the certificate cannot be verified but must be.
    pub fn start_tls(&mut self) -> Talk<()> {
        let Some(Tls { name, verify }) = &self.tls else { return Ok(()) };
        self.connection.start_tls(name, *verify, self.timeout).map_err(|error| Stop::probe(error, ""))?;
        // Without verification an eavesdropper learns nothing, but an impostor does.
        self.is_private |= *verify;
        Ok(())
    }

    /// Whether only the server itself can read what is sent: over a unix socket, or TLS with a verified certificate.
    pub fn is_private(&self) -> bool {
        self.is_private
    }
}

/// The host in `host:port`, without the brackets of an IPv6 address; `None` if there is no port, or no host before it.
pub fn host_of(address: &str) -> Option<&str> {
    let (host, _port) = address.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (!host.is_empty()).then_some(host)
}

/// Reads a password, the first line of a file. In a file of its own it appears in no configuration, message or log.
///
/// # Errors
/// If the check has no grant for the file, it does not exist, or it is not text.
pub fn password(ctx: &Context, path: &str) -> Result<String> {
    let bad = |what: &str| Error::new(format!("parameter `password_file`: {path}: {what}"));
    let data = ctx.read(path, MAX_PASSWORD + 1)?.ok_or_else(|| bad("no such file or directory"))?;
    if u32::try_from(data.len()).is_ok_and(|length| length > MAX_PASSWORD) {
        return Err(bad(&format!("expected at most {MAX_PASSWORD} bytes")));
    }
    let text = String::from_utf8(data).map_err(|_| bad("expected UTF-8 text"))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// The parameter `expect`, which must not be empty: every answer contains an empty text, even none at all.
///
/// # Errors
/// If it is empty.
pub fn some_text(expect: Option<String>) -> Result<Option<String>> {
    if expect.as_deref() == Some("") {
        return Err(Error::new("parameter `expect`: expected some text; leave it out if a connection is enough"));
    }
    Ok(expect)
}

/// The start of an unexpected answer, in quotes; `nothing` if it is empty.
pub fn excerpt(data: &[u8]) -> String {
    if data.is_empty() {
        return "nothing".to_owned();
    }
    format!("{:?}", String::from_utf8_lossy(&data[..data.len().min(60)]))
}

/// What a server says, as part of a message: one line of at most 160 printable characters.
pub fn quoted(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(&text[..text.len().min(1024)]);
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(160).collect()
}

#[cfg(test)]
mod tests {
    use vouchd_check::Verdict;
    use vouchd_check::testing::{FakeHost, Script};

    use super::*;

    fn peer(address: Option<&str>, socket: Option<&str>) -> Result<Peer> {
        Peer::new(address.map(str::to_owned), socket.map(str::to_owned), None)
    }

    /// Reads a greeting of five bytes.
    fn check(ctx: &Context) -> Result<Report> {
        let peer = peer(Some("192.0.2.1:1"), None)?;
        let talk = peer.connect(ctx).and_then(|mut stream| stream.exactly(5, "a greeting"));
        talk.map(|data| Report::pass(quoted(&data))).or_else(|stop| stop.report(peer.text()))
    }

    #[test]
    fn short_answer_is_a_failure() {
        let host =
            |said: &'static str| FakeHost::new().on_connect_tcp(move |_| Ok(Script::new().greets(said).connection()));
        assert_eq!(host("hello world").run(check, &[]).unwrap(), Report::pass("hello"));
        for said in ["", "hell"] {
            let report = host(said).run(check, &[]).unwrap();
            assert_eq!(report.verdict, Verdict::Fail);
            assert_eq!(report.message, "192.0.2.1:1: closed the connection instead of sending a greeting");
        }
    }

    #[test]
    fn line_without_end_is_a_failure() {
        fn line(ctx: &Context) -> Result<Report> {
            let peer = peer(None, Some("/run/a"))?;
            let talk = peer.connect(ctx).and_then(|mut stream| {
                let first = stream.until(b"\r\n", 8, "a line")?;
                Ok([first, stream.rest(100, "the rest")?].concat())
            });
            talk.map(|data| Report::pass(quoted(&data))).or_else(|stop| stop.report(peer.text()))
        }
        for (said, expected) in [
            ("ok\r\nrest", "okrest"),
            ("", "/run/a: closed the connection instead of sending a line"),
            ("ok\r", "/run/a: sent \"ok \" instead of a line"),
            ("too long\r\n", "/run/a: sent \"too long\" instead of a line"),
        ] {
            let host = FakeHost::new().on_connect_unix(move |_| Ok(Script::new().greets(said).connection()));
            assert_eq!(host.run(line, &[]).unwrap().message, expected);
        }
    }

    #[test]
    fn refused_connection_fails_and_denied_probe_is_an_error() {
        let host = FakeHost::new().on_connect_tcp(|_| Err(ProbeError::Refused));
        assert_eq!(host.run(check, &[]).unwrap(), Report::fail("192.0.2.1:1: connection refused"));
        let host = FakeHost::new().on_connect_tcp(|_| Err(ProbeError::Denied("add this".to_owned())));
        assert!(host.run(check, &[]).unwrap_err().to_string().contains("add this"));
    }

    #[test]
    fn server_has_an_address_or_a_socket() {
        assert_eq!(peer(Some("a:1"), None).unwrap().text(), "a:1");
        assert_eq!(peer(None, Some("/run/a")).unwrap().text(), "/run/a");
        assert!(peer(None, None).is_err());
        assert!(peer(Some("a:1"), Some("/run/a")).is_err());
    }

    #[test]
    fn tls_name_is_sni_or_the_host_of_the_address() {
        let name = |address, socket, sni: Option<&str>| {
            let peer = peer(address, socket).unwrap().with_tls(sni.map(str::to_owned), true);
            peer.ok().and_then(|peer| peer.tls).map(|tls| tls.name)
        };
        assert_eq!(name(Some("db.example.com:1"), None, None).as_deref(), Some("db.example.com"));
        assert_eq!(name(Some("[::1]:1"), None, None).as_deref(), Some("::1"));
        assert_eq!(name(Some("[::1]:1"), None, Some("db")).as_deref(), Some("db"));
        assert_eq!(name(None, Some("/run/a"), None), None);
        assert_eq!(name(Some("nothing"), None, None), None);
    }

    #[test]
    fn password_is_the_first_line_of_its_file() {
        fn check(ctx: &Context) -> Result<Report> {
            password(ctx, "/etc/p").map(Report::pass)
        }
        for (contents, expected) in [("secret\n", "secret"), ("a b \r\nmore", "a b "), ("", "")] {
            let host = FakeHost::new().on_read(move |_| Ok(Some(contents.as_bytes().to_vec())));
            assert_eq!(host.run(check, &[]).unwrap().message, expected);
        }
        let host = FakeHost::new().on_read(|_| Ok(None));
        assert!(host.run(check, &[]).unwrap_err().to_string().contains("/etc/p: no such file"));
        let host = FakeHost::new().on_read(|_| Ok(Some(vec![b'x'; 5000])));
        assert!(host.run(check, &[]).unwrap_err().to_string().contains("/etc/p: expected at most 4096 bytes"));
        let host = FakeHost::new().on_read(|_| Ok(Some(b"se\xffcret".to_vec())));
        let error = host.run(check, &[]).unwrap_err().to_string();
        assert!(error.contains("expected UTF-8") && !error.contains("cret"), "{error}");
    }

    #[test]
    fn quoted_text_is_one_printable_line() {
        assert_eq!(quoted(b"a\r\n\x1b[31mb\xff"), "a   [31mb\u{fffd}");
        assert_eq!(quoted(&[b'x'; 5000]).len(), 160);
    }
}
