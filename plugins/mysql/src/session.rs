//! A session with the server: greeting, login, queries.

use vouchd_check::Context;
use vouchd_check_peer::{Malformed, Parsed, Peer, Stop, Stream, Talk, quoted};

use crate::auth::{Method, clear};
use crate::rows::{Progress, Row, Rows};
use crate::wire::{
    Greeting, LoginAnswer, MAX_GREETING, QUIT, ServerError, capability, greeting, header, login, login_answer, packet,
    query, tls_request,
};

/// The most packets of the server during a login.
const MAX_TURNS: u8 = 6;

/// Error numbers of the server.
mod code {
    /// The variants of `Access denied`: to a database, to an account, without a password, for lack of a privilege.
    pub(super) const DENIED: [u16; 7] = [1044, 1045, 1142, 1227, 1698, 4151, 3118];
    /// No account may log in from this host.
    pub(super) const HOST_NOT_ALLOWED: u16 = 1130;
    pub(super) const SYNTAX: u16 = 1064;
}

pub(crate) struct Session {
    stream: Stream,
    /// The number of the next packet.
    number: u8,
    greeting: Greeting,
}

impl Session {
    /// Connects and waits for the greeting.
    pub(crate) fn open(ctx: &Context, peer: &Peer) -> Talk<Self> {
        let mut stream = peer.connect(ctx)?;
        let (number, first) = receive(&mut stream, MAX_GREETING, "its greeting")?;
        let greeting = parsed(greeting(&first))?.map_err(|error| rejected(&error))?;
        Ok(Session { stream, number: number.wrapping_add(1), greeting })
    }

    /// `MariaDB 10.11.6`
    pub(crate) fn version(&self) -> &str {
        &self.greeting.version
    }

    /// Logs in, over TLS if the peer has it.
    pub(crate) fn login(&mut self, peer: &Peer, user: &str, password: &str) -> Talk<()> {
        let mut capabilities = capability::CLIENT;
        if peer.wants_tls() {
            if self.greeting.capabilities & capability::TLS == 0 {
                return Err(Stop::fail("does not offer TLS"));
            }
            capabilities |= capability::TLS;
            self.send(&tls_request(capabilities))?;
            self.stream.start_tls()?;
        }
        // If its default method is unknown to us, the server may still name another for this user.
        let mut method = match Method::named(&self.greeting.plugin) {
            Some(Method::Clear) | None => Method::Native,
            Some(method) => method,
        };
        let proof = method.proof(password, &self.greeting.challenge);
        self.send(&login(capabilities, user, &proof, method.plugin()))?;
        for _ in 0..MAX_TURNS {
            match parsed(login_answer(&self.receive("an answer to the login")?))? {
                LoginAnswer::Ok => return Ok(()),
                LoginAnswer::Error(error) => return Err(rejected(&error)),
                LoginAnswer::Switch { plugin, challenge } => {
                    method = Method::named(&plugin).ok_or_else(|| {
                        Stop::error(format!(
                            "asks for authentication by {:?}, which this check does not support: expected a user with \
                             mysql_native_password, caching_sha2_password or unix_socket",
                            quoted(plugin.as_bytes())
                        ))
                    })?;
                    if method == Method::Clear {
                        self.expect_private()?;
                    }
                    self.send(&method.proof(password, &challenge))?;
                }
                // 3: the proof is right, the welcome follows. 4: the server has not cached the password, and asks for it.
                LoginAnswer::More(more) => match (method, more.as_slice()) {
                    (Method::CachingSha2, [3]) => {}
                    (Method::CachingSha2, [4]) => {
                        self.expect_private()?;
                        self.send(&clear(password))?;
                    }
                    (Method::CachingSha2 | Method::Native | Method::Clear | Method::Socket, _) => {
                        return Err(protocol_error());
                    }
                },
            }
        }
        Err(protocol_error())
    }

    /// A password in clear text goes only to the server itself.
    fn expect_private(&self) -> Talk<()> {
        if self.stream.is_private() {
            return Ok(());
        }
        Err(Stop::error(
            "asks for the password in clear text, which nobody else should see: expected a unix socket (`socket`), or \
             `tls = true` with a certificate that can be verified",
        ))
    }

    /// Runs a query and returns its rows.
    pub(crate) fn query(&mut self, sql: &str) -> Talk<Vec<Row>> {
        self.ask(sql)?.map_err(|error| rejected(&error))
    }

    /// Like [`query`](Self::query); `None` if the server does not know the statement.
    pub(crate) fn query_if_known(&mut self, sql: &str) -> Talk<Option<Vec<Row>>> {
        match self.ask(sql)? {
            Ok(rows) => Ok(Some(rows)),
            Err(error) if error.code == code::SYNTAX => Ok(None),
            Err(error) => Err(rejected(&error)),
        }
    }

    fn ask(&mut self, sql: &str) -> Talk<Result<Vec<Row>, ServerError>> {
        self.number = 0;
        self.send(&query(sql))?;
        let mut rows = Rows::default();
        loop {
            rows = match parsed(rows.take(&self.receive("the answer to a query")?))? {
                Progress::Wanting(rows) => rows,
                Progress::Done(rows) => return Ok(Ok(rows)),
                Progress::Error(error) => return Ok(Err(error)),
            };
        }
    }

    /// Leaves properly, so that the server does not count an aborted connection.
    pub(crate) fn quit(mut self) {
        self.number = 0;
        // An error here changes nothing: the findings are complete.
        let _ = self.send(&QUIT);
    }

    fn send(&mut self, body: &[u8]) -> Talk<()> {
        let packet = packet(self.number, body);
        self.number = self.number.wrapping_add(1);
        self.stream.send(&packet)
    }

    fn receive(&mut self, what: &str) -> Talk<Vec<u8>> {
        let (number, body) = receive(&mut self.stream, u32::MAX, what)?;
        self.number = number.wrapping_add(1);
        Ok(body)
    }
}

/// Receives a packet of at most `most` bytes. Returns its number and its body.
fn receive(stream: &mut Stream, most: u32, what: &str) -> Talk<(u8, Vec<u8>)> {
    let (length, number) = parsed(header(&stream.exactly(4, what)?))?;
    if length > most {
        return Err(protocol_error());
    }
    Ok((number, stream.exactly(length, what)?))
}

fn parsed<T>(result: Parsed<T>) -> Talk<T> {
    result.map_err(|Malformed| protocol_error())
}

fn protocol_error() -> Stop {
    Stop::fail("does not speak the MySQL protocol")
}

/// A server that rejects only this check is an error of the check; one that rejects everybody fails.
fn rejected(error: &ServerError) -> Stop {
    let text = quoted(&error.text);
    if code::DENIED.contains(&error.code) || error.code == code::HOST_NOT_ALLOWED {
        Stop::error(format!("rejects this check: {text} ({})", error.code))
    } else {
        Stop::fail(format!("{text} ({})", error.code))
    }
}
