//! A session with the server: TLS, login, queries.

use std::time::UNIX_EPOCH;

use vouchd_check::Context;
use vouchd_check_peer::{Malformed, Parsed, Peer, Stop, Stream, Talk, quoted};

use crate::proof::{Answer, Exchange, Failure, Keys, MECHANISM, md5, nonce};
use crate::wire::{
    Auth, HEADER, Message, ServerError, TLS_ACCEPTED, header, message, password, query, sasl_first, sasl_next, startup,
    terminate, tls_request,
};

/// The most messages of an answer.
const MAX_MESSAGES: usize = 256;

/// A row of a result.
pub(crate) type Row = Vec<Option<String>>;

/// The account that the check logs in to.
pub(crate) struct Login<'a> {
    pub user: &'a str,
    pub database: &'a str,
    /// `None` without a password file.
    pub password: Option<&'a str>,
}

pub(crate) struct Session {
    stream: Stream,
    /// The number, such as `15.3`.
    version: String,
}

/// The server's answer to an unknown user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reception {
    /// It accepts the login without authentication.
    Accepts,
    /// It asks for authentication.
    AsksForLogin,
    /// It rejects the user, the database, or this host.
    Rejects,
}

impl Session {
    /// Connects, with TLS if the peer has it.
    pub(crate) fn open(ctx: &Context, peer: &Peer) -> Talk<Self> {
        let mut stream = peer.connect(ctx)?;
        if peer.wants_tls() {
            stream.send(&tls_request())?;
            if stream.exactly(1, "an answer to the request for TLS")? != [TLS_ACCEPTED] {
                return Err(Stop::fail("does not offer TLS"));
            }
            stream.start_tls()?;
        }
        Ok(Session { stream, version: String::new() })
    }

    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// Starts a login as a user that need not exist, to see whether the server accepts connections.
    pub(crate) fn try_login(mut self) -> Talk<Reception> {
        self.stream.send(&startup("vouchd", "postgres"))?;
        for _ in 0..MAX_MESSAGES {
            match self.receive("an answer to a connection")? {
                Message::Auth(Auth::Done) => {
                    self.quit();
                    return Ok(Reception::Accepts);
                }
                // To the server this is a client that asks its user for the password: it logs no error.
                Message::Auth(_) => return Ok(Reception::AsksForLogin),
                Message::Error(error) if is_personal(&error) => return Ok(Reception::Rejects),
                Message::Error(error) => return Err(rejected(&error)),
                Message::Setting(..) | Message::Row(_) | Message::Ready | Message::Other => {}
            }
        }
        Err(protocol_error())
    }

    /// Logs in. The keys of a login with SCRAM are remembered for the next run: they take thousands of rounds to derive.
    pub(crate) fn login(&mut self, ctx: &Context, login: &Login) -> Talk<()> {
        self.stream.send(&startup(login.user, login.database))?;
        let mut exchange: Option<Exchange> = None;
        let mut answer: Option<Answer> = None;
        for _ in 0..MAX_MESSAGES {
            let auth = match self.receive("an answer to the login")? {
                Message::Auth(auth) => auth,
                Message::Error(error) => return Err(rejected(&error)),
                Message::Setting(name, value) => {
                    if name == "server_version" {
                        self.version = quoted(value.split(' ').next().unwrap_or_default().as_bytes());
                    }
                    continue;
                }
                Message::Ready => return Ok(()),
                Message::Row(_) | Message::Other => continue,
            };
            match auth {
                // A server that skips its final proof does not know the password.
                Auth::Done if exchange.is_some() => return Err(impostor()),
                Auth::Done => {}
                Auth::Clear if !self.stream.is_private() => {
                    return Err(Stop::error(
                        "asks for the password in clear text, which nobody else should see: expected scram-sha-256 in its \
                         pg_hba.conf, a unix socket (`socket`), or `tls = true` with a certificate that can be verified",
                    ));
                }
                Auth::Clear => self.stream.send(&password(secret(login)?.as_bytes()))?,
                Auth::Md5(salt) => {
                    let proof = md5(login.user, secret(login)?, salt);
                    self.stream.send(&password(proof.as_bytes()))?;
                }
                Auth::Sasl(mechanisms) if mechanisms.iter().any(|name| name == MECHANISM) => {
                    let begun = Exchange::new(nonce(secret(login)?, &time(ctx)));
                    self.stream.send(&sasl_first(MECHANISM, &begun.first()))?;
                    exchange = Some(begun);
                }
                Auth::SaslContinue(challenge) => {
                    let begun = exchange.as_ref().ok_or_else(protocol_error)?;
                    let known = Keys::from_bytes(&ctx.recall());
                    let answered = begun.answer(&challenge, secret(login)?, known).map_err(|failure| stop(&failure))?;
                    self.stream.send(&sasl_next(&answered.text))?;
                    answer = Some(answered);
                }
                Auth::SaslFinal(last) => {
                    let answered = answer.take().ok_or_else(protocol_error)?;
                    answered.verify(&last).map_err(|failure| stop(&failure))?;
                    ctx.remember(&answered.keys.to_bytes());
                    exchange = None;
                }
                Auth::Sasl(_) | Auth::Other(_) => {
                    return Err(Stop::error(
                        "asks for an authentication method that this check does not support: expected trust, password, md5, \
                         scram-sha-256 or peer in its pg_hba.conf",
                    ));
                }
            }
        }
        Err(protocol_error())
    }

    /// Runs a query and returns its rows.
    pub(crate) fn query(&mut self, sql: &str) -> Talk<Vec<Row>> {
        self.stream.send(&query(sql))?;
        let mut rows = Vec::new();
        for _ in 0..MAX_MESSAGES {
            match self.receive("the answer to a query")? {
                Message::Row(row) => rows.push(row),
                Message::Ready => return Ok(rows),
                Message::Error(error) => return Err(rejected(&error)),
                Message::Auth(_) | Message::Setting(..) | Message::Other => {}
            }
        }
        Err(protocol_error())
    }

    /// Leaves properly, so that the server logs no broken connection.
    pub(crate) fn quit(mut self) {
        // An error here changes nothing: the findings are complete.
        let _ = self.stream.send(&terminate());
    }

    fn receive(&mut self, what: &str) -> Talk<Message> {
        let (kind, length) = parsed(header(&self.stream.exactly(HEADER, what)?))?;
        parsed(message(kind, &self.stream.exactly(length, what)?))
    }
}

fn secret<'a>(login: &Login<'a>) -> Talk<&'a str> {
    login.password.ok_or_else(|| {
        Stop::error(format!("asks for a password for user {:?}: expected the parameter `password_file`", login.user))
    })
}

/// The time of the run, as bytes for the nonce.
fn time(ctx: &Context) -> Vec<u8> {
    let since = ctx.now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_nanos().to_be_bytes().to_vec()
}

fn parsed<T>(result: Parsed<T>) -> Talk<T> {
    result.map_err(|Malformed| protocol_error())
}

fn protocol_error() -> Stop {
    Stop::fail("does not speak the PostgreSQL protocol")
}

fn impostor() -> Stop {
    Stop::fail("cannot prove that it knows the password: it may be an impostor")
}

fn stop(failure: &Failure) -> Stop {
    match failure {
        Failure::Malformed => protocol_error(),
        Failure::Impostor => impostor(),
        Failure::Rounds(rounds) => Stop::error(format!(
            "asks for {rounds} rounds of scram-sha-256, expected at most 100000: lower scram_iterations on the server, and set \
             the password again"
        )),
    }
}

/// Whether the server rejects only this client: its login (class 28), its database, or its privilege.
fn is_personal(error: &ServerError) -> bool {
    error.code.starts_with("28") || matches!(error.code.as_str(), "3D000" | "42501")
}

/// A server that rejects only this check is an error of the check; one that rejects everybody fails.
fn rejected(error: &ServerError) -> Stop {
    let text = format!("{} ({})", quoted(&error.text), quoted(error.code.as_bytes()));
    if is_personal(error) { Stop::error(format!("rejects this check: {text}")) } else { Stop::fail(text) }
}
