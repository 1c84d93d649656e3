//! A session with the server: TLS, login, queries.

use std::time::UNIX_EPOCH;

use vouchd_check::Context;
use vouchd_check_peer::{Line, Malformed, Parsed, Peer, Stop, Talk, quoted};

use crate::proof::{Answer, Exchange, Failure, Keys, MECHANISM, md5, nonce};
use crate::wire::{
    Auth, HEADER, Message, Refusal, TLS_ACCEPTED, header, message, password, query, sasl_first, sasl_next, startup,
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
    line: Line,
    /// The number, such as `15.3`.
    version: String,
}

/// The server's answer to an unknown user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Welcome {
    /// It accepts the login without authentication.
    In,
    /// It asks for authentication.
    Asks,
    /// It rejects the user, the database, or this host.
    Refuses,
}

impl Session {
    /// Connects, with TLS if the peer has it.
    pub(crate) fn open(ctx: &Context, peer: &Peer) -> Talk<Self> {
        let mut line = peer.connect(ctx)?;
        if peer.wants_tls() {
            line.send(&tls_request())?;
            if line.exactly(1, "an answer to the request for TLS")? != [TLS_ACCEPTED] {
                return Err(Stop::fail("does not offer TLS"));
            }
            line.start_tls()?;
        }
        Ok(Session { line, version: String::new() })
    }

    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// Starts a login as a user that need not exist, to see whether the server accepts connections.
    pub(crate) fn knock(mut self) -> Talk<Welcome> {
        self.line.send(&startup("vouchd", "postgres"))?;
        for _ in 0..MAX_MESSAGES {
            match self.receive("an answer to a connection")? {
                Message::Auth(Auth::Done) => {
                    self.quit();
                    return Ok(Welcome::In);
                }
                // To the server this is a client that asks its user for the password: it logs no error.
                Message::Auth(_) => return Ok(Welcome::Asks),
                Message::Refused(refusal) if is_personal(&refusal) => return Ok(Welcome::Refuses),
                Message::Refused(refusal) => return Err(refused(&refusal)),
                Message::Setting(..) | Message::Row(_) | Message::Ready | Message::Other => {}
            }
        }
        Err(strange())
    }

    /// Logs in. The keys of a login with SCRAM are remembered for the next run: they take thousands of rounds to derive.
    pub(crate) fn login(&mut self, ctx: &Context, login: &Login) -> Talk<()> {
        self.line.send(&startup(login.user, login.database))?;
        let mut exchange: Option<Exchange> = None;
        let mut answer: Option<Answer> = None;
        for _ in 0..MAX_MESSAGES {
            let auth = match self.receive("an answer to the login")? {
                Message::Auth(auth) => auth,
                Message::Refused(refusal) => return Err(refused(&refusal)),
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
                Auth::Clear if !self.line.is_private() => {
                    return Err(Stop::error(
                        "asks for the password in clear text, which nobody else should see: expected scram-sha-256 in its \
                         pg_hba.conf, a unix socket (`socket`), or `tls = true` with a certificate that can be verified",
                    ));
                }
                Auth::Clear => self.line.send(&password(secret(login)?.as_bytes()))?,
                Auth::Md5(salt) => {
                    let proof = md5(login.user, secret(login)?, salt);
                    self.line.send(&password(proof.as_bytes()))?;
                }
                Auth::Sasl(mechanisms) if mechanisms.iter().any(|name| name == MECHANISM) => {
                    let begun = Exchange::new(nonce(secret(login)?, &time(ctx)));
                    self.line.send(&sasl_first(MECHANISM, &begun.first()))?;
                    exchange = Some(begun);
                }
                Auth::SaslContinue(challenge) => {
                    let begun = exchange.as_ref().ok_or_else(strange)?;
                    let known = Keys::from_bytes(&ctx.recall());
                    let answered = begun.answer(&challenge, secret(login)?, known).map_err(|failure| stop(&failure))?;
                    self.line.send(&sasl_next(&answered.text))?;
                    answer = Some(answered);
                }
                Auth::SaslFinal(last) => {
                    let answered = answer.take().ok_or_else(strange)?;
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
        Err(strange())
    }

    /// Runs a query and returns its rows.
    pub(crate) fn query(&mut self, sql: &str) -> Talk<Vec<Row>> {
        self.line.send(&query(sql))?;
        let mut rows = Vec::new();
        for _ in 0..MAX_MESSAGES {
            match self.receive("the answer to a query")? {
                Message::Row(row) => rows.push(row),
                Message::Ready => return Ok(rows),
                Message::Refused(refusal) => return Err(refused(&refusal)),
                Message::Auth(_) | Message::Setting(..) | Message::Other => {}
            }
        }
        Err(strange())
    }

    /// Leaves properly, so that the server logs no broken connection.
    pub(crate) fn quit(mut self) {
        // An error here changes nothing: the findings are complete.
        let _ = self.line.send(&terminate());
    }

    fn receive(&mut self, what: &str) -> Talk<Message> {
        let (kind, length) = parsed(header(&self.line.exactly(HEADER, what)?))?;
        parsed(message(kind, &self.line.exactly(length, what)?))
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
    result.map_err(|Malformed| strange())
}

fn strange() -> Stop {
    Stop::fail("does not speak the PostgreSQL protocol")
}

fn impostor() -> Stop {
    Stop::fail("cannot prove that it knows the password: it may be an impostor")
}

fn stop(failure: &Failure) -> Stop {
    match failure {
        Failure::Malformed => strange(),
        Failure::Impostor => impostor(),
        Failure::Rounds(rounds) => Stop::error(format!(
            "asks for {rounds} rounds of scram-sha-256, expected at most 100000: lower scram_iterations on the server, and set \
             the password again"
        )),
    }
}

/// Whether the server rejects only this client: its login (class 28), its database, or its privilege.
fn is_personal(refusal: &Refusal) -> bool {
    refusal.code.starts_with("28") || matches!(refusal.code.as_str(), "3D000" | "42501")
}

/// A server that rejects only this check is an error of the check; one that rejects everybody fails.
fn refused(refusal: &Refusal) -> Stop {
    let text = format!("{} ({})", quoted(&refusal.text), quoted(refusal.code.as_bytes()));
    if is_personal(refusal) { Stop::error(format!("rejects this check: {text}")) } else { Stop::fail(text) }
}
