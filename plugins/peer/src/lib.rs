//! Conversations with servers, for the plugins that have them: where it is, TLS or not, the password, and answers of a
//! known length. Not a plugin itself.

mod finding;
mod reader;

use std::time::Duration;

use vouchd_check::{Connection, Context, Error, ProbeError, Report, Result};

pub use finding::{Finding, Lag, one_of, only_with_login};
pub use reader::{Malformed, Parsed, Reader};

/// A password file may be this long.
const MAX_PASSWORD: u32 = 4096;

/// Why a conversation came to no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// The server doesn't serve.
    Fail(String),
    /// The check could not be carried out.
    Error(Error),
}

pub type Talk<T> = std::result::Result<T, Stop>;

impl Stop {
    pub fn fail(text: impl Into<String>) -> Self {
        Stop::Fail(text.into())
    }

    /// Say what was expected, what was found, and what to do.
    pub fn error(text: impl Into<String>) -> Self {
        Stop::Error(Error::new(text))
    }

    /// Begins with the server's name.
    ///
    /// # Errors
    /// If the check could not be carried out.
    pub fn report(self, peer: &str) -> Result<Report> {
        match self {
            Stop::Fail(text) => Ok(Report::fail(format!("{peer}: {text}"))),
            Stop::Error(error) => Err(Error::new(format!("{peer}: {error}"))),
        }
    }

    /// `doing` says what the probe was for.
    fn probe(error: ProbeError, doing: &str) -> Self {
        match error {
            // These name the line to add, or the parameter to change.
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

/// How its TLS is spoken.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Tls {
    name: String,
    verify: bool,
}

/// A server, as its check's parameters describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    place: Place,
    tls: Option<Tls>,
    /// For the connection, and again for each answer.
    timeout: Option<Duration>,
}

impl Peer {
    /// # Errors
    /// If there are both or neither of `address` and `socket`.
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

    /// With TLS; the server's certificate is for `sni`, else for the host of the address.
    ///
    /// # Errors
    /// If there is neither.
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

    /// As the operator wrote it.
    pub fn text(&self) -> &str {
        match &self.place {
            Place::Tcp(address) => address,
            Place::Unix(path) => path,
        }
    }

    /// # Errors
    /// If it is not granted, or no connection came about.
    pub fn connect(&self, ctx: &Context) -> Talk<Line> {
        let connection = match &self.place {
            Place::Tcp(address) => ctx.connect_tcp(address, self.timeout),
            Place::Unix(path) => ctx.connect_unix(path, self.timeout),
        };
        let connection = connection.map_err(|error| Stop::probe(error, ""))?;
        let is_private = matches!(self.place, Place::Unix(_));
        Ok(Line { connection, tls: self.tls.clone(), timeout: self.timeout, is_private })
    }
}

/// A connection with a server.
pub struct Line {
    connection: Connection,
    tls: Option<Tls>,
    timeout: Option<Duration>,
    is_private: bool,
}

impl Line {
    /// # Errors
    /// If not all could be sent.
    pub fn send(&mut self, data: &[u8]) -> Talk<()> {
        self.connection.send(data).map_err(|error| Stop::probe(error, "sending"))
    }

    /// That many bytes. `what` they are stands in the message when they don't come.
    ///
    /// # Errors
    /// If they don't come in time, or the server closes the connection before.
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

    /// What comes before `end`; with it at most that long. `what` it is stands in the message when it doesn't come.
    ///
    /// # Errors
    /// If it doesn't come in time, is longer, or the server closes the connection before.
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

    /// All that the server sends before it closes the connection, at most that much.
    ///
    /// # Errors
    /// If nothing comes in time.
    pub fn rest(&mut self, most: u32, what: &str) -> Talk<Vec<u8>> {
        let data = self.connection.receive(most, self.timeout);
        data.map_err(|error| Stop::probe(error, &format!("waiting for {what}")))
    }

    /// Goes on with TLS. Call it where [`Peer::wants_tls`], after the server agreed.
    ///
    /// # Errors
    /// If the handshake fails, or the certificate is not good and has to be.
    pub fn start_tls(&mut self) -> Talk<()> {
        let Some(Tls { name, verify }) = &self.tls else { return Ok(()) };
        self.connection.start_tls(name, *verify, self.timeout).map_err(|error| Stop::probe(error, ""))?;
        // Without verification it is hidden from who listens, not from who answers in the server's place.
        self.is_private |= *verify;
        Ok(())
    }

    /// Whether only the server itself learns what is sent: a unix socket, or TLS with a verified certificate.
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

/// The first line of a file. A password stands in one of its own, so that it is in no configuration, message or log.
///
/// # Errors
/// If the file is not granted, not there, or not text.
pub fn password(ctx: &Context, path: &str) -> Result<String> {
    let bad = |what: &str| Error::new(format!("parameter `password_file`: {path}: {what}"));
    let data = ctx.read(path, MAX_PASSWORD + 1)?.ok_or_else(|| bad("no such file or directory"))?;
    if u32::try_from(data.len()).is_ok_and(|length| length > MAX_PASSWORD) {
        return Err(bad(&format!("expected at most {MAX_PASSWORD} bytes")));
    }
    let text = String::from_utf8(data).map_err(|_| bad("expected UTF-8 text"))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// The parameter `expect`. An empty text is in every answer, and in none.
///
/// # Errors
/// If it is empty.
pub fn some_text(expect: Option<String>) -> Result<Option<String>> {
    if expect.as_deref() == Some("") {
        return Err(Error::new("parameter `expect`: expected some text; leave it out where a connection is enough"));
    }
    Ok(expect)
}

/// The beginning of an answer that was not the expected one, in quotes.
pub fn excerpt(data: &[u8]) -> String {
    if data.is_empty() {
        return "nothing".to_owned();
    }
    format!("{:?}", String::from_utf8_lossy(&data[..data.len().min(60)]))
}

/// What a server says, fit for a message: one line of printable characters, at most 160.
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
        let talk = peer.connect(ctx).and_then(|mut line| line.exactly(5, "a greeting"));
        talk.map(|data| Report::pass(quoted(&data))).or_else(|stop| stop.report(peer.text()))
    }

    #[test]
    fn an_answer_is_whole_or_a_failure() {
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
    fn a_line_has_its_end_or_is_a_failure() {
        fn line(ctx: &Context) -> Result<Report> {
            let peer = peer(None, Some("/run/a"))?;
            let talk = peer.connect(ctx).and_then(|mut line| {
                let first = line.until(b"\r\n", 8, "a line")?;
                Ok([first, line.rest(100, "the rest")?].concat())
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
    fn no_connection_is_a_failure_and_a_refusal_to_probe_an_error() {
        let host = FakeHost::new().on_connect_tcp(|_| Err(ProbeError::Refused));
        assert_eq!(host.run(check, &[]).unwrap(), Report::fail("192.0.2.1:1: connection refused"));
        let host = FakeHost::new().on_connect_tcp(|_| Err(ProbeError::Denied("add this".to_owned())));
        assert!(host.run(check, &[]).unwrap_err().to_string().contains("add this"));
    }

    #[test]
    fn a_server_is_in_one_place() {
        assert_eq!(peer(Some("a:1"), None).unwrap().text(), "a:1");
        assert_eq!(peer(None, Some("/run/a")).unwrap().text(), "/run/a");
        assert!(peer(None, None).is_err());
        assert!(peer(Some("a:1"), Some("/run/a")).is_err());
    }

    #[test]
    fn the_name_for_tls_is_given_or_the_address() {
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
    fn a_password_is_the_first_line_of_a_file() {
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
    fn what_a_server_says_is_one_printable_line() {
        assert_eq!(quoted(b"a\r\n\x1b[31mb\xff"), "a   [31mb\u{fffd}");
        assert_eq!(quoted(&[b'x'; 5000]).len(), 160);
    }
}
