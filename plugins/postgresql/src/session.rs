//! A conversation with the server: TLS, the login, queries.

use std::time::UNIX_EPOCH;

use vouchd_check::Context;
use vouchd_check_peer::{Line, Malformed, Parsed, Peer, Stop, Talk, quoted};

use crate::proof::{Answer, Exchange, Keys, MECHANISM, Trouble, md5, nonce};
use crate::wire::{
    Auth, HEADER, Message, Refusal, TLS_ACCEPTED, header, message, password, query, sasl_first, sasl_next, startup,
    terminate, tls_request,
};

/// An answer has at most this many messages.
const MAX_MESSAGES: usize = 256;

/// A row of a result.
pub type Row = Vec<Option<String>>;

/// Whom the check logs in as.
pub struct Login<'a> {
    pub user: &'a str,
    pub database: &'a str,
    /// None: there is no password file.
    pub password: Option<&'a str>,
}

pub struct Session {
    line: Line,
    /// As a person says it: `15.3`.
    version: String,
}

/// The server's answer to someone whom it doesn't know yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Welcome {
    /// Lets the check in without more ado.
    In,
    /// Asks for a password or the like.
    Asks,
    /// Knows no such user or database, or lets it in from elsewhere only.
    Refuses,
}

impl Session {
    /// Connects, with TLS where the peer wants it.
    pub fn open(ctx: &Context, peer: &Peer) -> Talk<Self> {
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

    pub fn version(&self) -> &str {
        &self.version
    }

    /// How the server receives a user whom it need not know.
    pub fn knock(mut self) -> Talk<Welcome> {
        self.line.send(&startup("vouchd", "postgres"))?;
        for _ in 0..MAX_MESSAGES {
            match self.receive("an answer to a connection")? {
                Message::Auth(Auth::Done) => {
                    self.quit();
                    return Ok(Welcome::In);
                }
                // The server takes it for a client that now asks its user, and does not mind.
                Message::Auth(_) => return Ok(Welcome::Asks),
                Message::Refused(refusal) if is_personal(&refusal) => return Ok(Welcome::Refuses),
                Message::Refused(refusal) => return Err(refused(&refusal)),
                Message::Setting(..) | Message::Row(_) | Message::Ready | Message::Other => {}
            }
        }
        Err(strange())
    }

    /// Logs in. The keys of a login with SCRAM are remembered for the next: they cost thousands of rounds.
    pub fn login(&mut self, ctx: &Context, login: &Login) -> Talk<()> {
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
                // Who keeps quiet about the password does not know it.
                Auth::Done if exchange.is_some() => return Err(impostor()),
                Auth::Done => {}
                Auth::Clear if !self.line.is_private() => {
                    return Err(Stop::error(
                        "wants the password itself, which nobody else should see: expected scram-sha-256 in its \
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
                    let answered = begun.answer(&challenge, secret(login)?, known).map_err(|trouble| stop(&trouble))?;
                    self.line.send(&sasl_next(&answered.text))?;
                    answer = Some(answered);
                }
                Auth::SaslFinal(last) => {
                    let answered = answer.take().ok_or_else(strange)?;
                    answered.verify(&last).map_err(|trouble| stop(&trouble))?;
                    ctx.remember(&answered.keys.to_bytes());
                    exchange = None;
                }
                Auth::Sasl(_) | Auth::Other(_) => {
                    return Err(Stop::error(
                        "wants a login that this check can't: expected trust, password, md5, scram-sha-256 or peer in its \
                         pg_hba.conf",
                    ));
                }
            }
        }
        Err(strange())
    }

    /// The rows of an answer.
    pub fn query(&mut self, sql: &str) -> Talk<Vec<Row>> {
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

    /// Says goodbye, so that the server counts no broken connection.
    pub fn quit(mut self) {
        // Whatever comes of it: all is known by now.
        let _ = self.line.send(&terminate());
    }

    fn receive(&mut self, what: &str) -> Talk<Message> {
        let (kind, length) = parsed(header(&self.line.exactly(HEADER, what)?))?;
        parsed(message(kind, &self.line.exactly(length, what)?))
    }
}

fn secret<'a>(login: &Login<'a>) -> Talk<&'a str> {
    login.password.ok_or_else(|| {
        Stop::error(format!("wants a password for the user {:?}: expected the parameter `password_file`", login.user))
    })
}

/// The run's time, in nanoseconds as far as the clock has them.
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
    Stop::fail("does not know the password either: it is not the server that it says it is")
}

fn stop(trouble: &Trouble) -> Stop {
    match trouble {
        Trouble::Malformed => strange(),
        Trouble::Impostor => impostor(),
        Trouble::Rounds(rounds) => Stop::error(format!(
            "wants {rounds} rounds of scram-sha-256, expected at most 100000: lower its scram_iterations, and set the password \
             anew"
        )),
    }
}

/// Whether the server refuses this client only: unknown or unwelcome (28), a missing database, a missing privilege.
fn is_personal(refusal: &Refusal) -> bool {
    refusal.code.starts_with("28") || matches!(refusal.code.as_str(), "3D000" | "42501")
}

/// What keeps this check out is its own trouble; what keeps everybody out is the server's.
fn refused(refusal: &Refusal) -> Stop {
    let text = format!("{} ({})", quoted(&refusal.text), quoted(refusal.code.as_bytes()));
    if is_personal(refusal) { Stop::error(format!("does not let this check in: {text}")) } else { Stop::fail(text) }
}
