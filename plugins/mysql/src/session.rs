//! A conversation with the server: its greeting, the login, queries.

use vouchd_check::Context;
use vouchd_check_peer::{Line, Malformed, Parsed, Peer, Stop, Talk, quoted};

use crate::auth::{Way, clear};
use crate::rows::{Progress, Row, Rows};
use crate::wire::{
    Greeting, LoginAnswer, MAX_GREETING, QUIT, Refusal, can, greeting, header, login, login_answer, packet, query,
    tls_request,
};

/// A login takes at most this many packets of the server.
const MAX_TURNS: u8 = 6;

/// The server's error numbers that the plugin knows.
mod code {
    /// `Access denied`, in its variants: to the database, to the account, without a password, for the lack of a privilege.
    pub const DENIED: [u16; 7] = [1044, 1045, 1142, 1227, 1698, 4151, 3118];
    /// No account may log in from this host.
    pub const HOST_NOT_ALLOWED: u16 = 1130;
    pub const SYNTAX: u16 = 1064;
}

pub struct Session {
    line: Line,
    /// Of the next packet.
    number: u8,
    greeting: Greeting,
}

impl Session {
    /// Connects and waits for the greeting.
    pub fn open(ctx: &Context, peer: &Peer) -> Talk<Self> {
        let mut line = peer.connect(ctx)?;
        let (number, first) = receive(&mut line, MAX_GREETING, "its greeting")?;
        let greeting = parsed(greeting(&first))?.map_err(|refusal| refused(&refusal))?;
        Ok(Session { line, number: number.wrapping_add(1), greeting })
    }

    /// `MariaDB 10.11.6`
    pub fn version(&self) -> &str {
        &self.greeting.version
    }

    /// Logs in, under TLS where the peer wants it.
    pub fn login(&mut self, peer: &Peer, user: &str, password: &str) -> Talk<()> {
        let mut capabilities =
            can::LONG_PASSWORD | can::LONG_FLAG | can::PROTOCOL_41 | can::SECURE_CONNECTION | can::PLUGIN_AUTH;
        if peer.wants_tls() {
            if self.greeting.capabilities & can::TLS == 0 {
                return Err(Stop::fail("does not offer TLS"));
            }
            capabilities |= can::TLS;
            self.send(&tls_request(capabilities))?;
            self.line.start_tls()?;
        }
        // Where the server's own way is unknown, it may name another for this user.
        let mut way = match Way::named(&self.greeting.plugin) {
            Some(Way::Clear) | None => Way::Native,
            Some(way) => way,
        };
        let proof = way.proof(password, &self.greeting.challenge);
        self.send(&login(capabilities, user, &proof, way.plugin()))?;
        for _ in 0..MAX_TURNS {
            match parsed(login_answer(&self.receive("an answer to the login")?))? {
                LoginAnswer::Welcome => return Ok(()),
                LoginAnswer::Refused(refusal) => return Err(refused(&refusal)),
                LoginAnswer::Switch { plugin, challenge } => {
                    way = Way::named(&plugin).ok_or_else(|| {
                        Stop::error(format!(
                            "wants a login by {:?}, which this check can't: expected a user with mysql_native_password, \
                             caching_sha2_password or unix_socket",
                            quoted(plugin.as_bytes())
                        ))
                    })?;
                    if way == Way::Clear {
                        self.expect_private()?;
                    }
                    self.send(&way.proof(password, &challenge))?;
                }
                // 3: the proof was good, the welcome follows. 4: the server does not remember the password, and wants it.
                LoginAnswer::More(more) => match (way, more.as_slice()) {
                    (Way::CachingSha2, [3]) => {}
                    (Way::CachingSha2, [4]) => {
                        self.expect_private()?;
                        self.send(&clear(password))?;
                    }
                    (Way::CachingSha2 | Way::Native | Way::Clear | Way::Socket, _) => return Err(strange()),
                },
            }
        }
        Err(strange())
    }

    /// A password goes out as it is only to the server itself.
    fn expect_private(&self) -> Talk<()> {
        if self.line.is_private() {
            return Ok(());
        }
        Err(Stop::error(
            "wants the password itself, which nobody else should see: expected a unix socket (`socket`), or `tls = true` with \
             a certificate that can be verified",
        ))
    }

    /// The rows of an answer.
    pub fn query(&mut self, sql: &str) -> Talk<Vec<Row>> {
        self.ask(sql)?.map_err(|refusal| refused(&refusal))
    }

    /// The same; none where the server does not know such a statement.
    pub fn query_if_known(&mut self, sql: &str) -> Talk<Option<Vec<Row>>> {
        match self.ask(sql)? {
            Ok(rows) => Ok(Some(rows)),
            Err(refusal) if refusal.code == code::SYNTAX => Ok(None),
            Err(refusal) => Err(refused(&refusal)),
        }
    }

    fn ask(&mut self, sql: &str) -> Talk<Result<Vec<Row>, Refusal>> {
        self.number = 0;
        self.send(&query(sql))?;
        let mut rows = Rows::default();
        loop {
            rows = match parsed(rows.take(&self.receive("the answer to a query")?))? {
                Progress::Wanting(rows) => rows,
                Progress::Done(rows) => return Ok(Ok(rows)),
                Progress::Refused(refusal) => return Ok(Err(refusal)),
            };
        }
    }

    /// Says goodbye, so that the server counts no broken connection.
    pub fn quit(mut self) {
        self.number = 0;
        // Whatever comes of it: all is known by now.
        let _ = self.send(&QUIT);
    }

    fn send(&mut self, body: &[u8]) -> Talk<()> {
        let packet = packet(self.number, body);
        self.number = self.number.wrapping_add(1);
        self.line.send(&packet)
    }

    fn receive(&mut self, what: &str) -> Talk<Vec<u8>> {
        let (number, body) = receive(&mut self.line, u32::MAX, what)?;
        self.number = number.wrapping_add(1);
        Ok(body)
    }
}

/// A packet of at most that many bytes, and its number.
fn receive(line: &mut Line, most: u32, what: &str) -> Talk<(u8, Vec<u8>)> {
    let (length, number) = parsed(header(&line.exactly(4, what)?))?;
    if length > most {
        return Err(strange());
    }
    Ok((number, line.exactly(length, what)?))
}

fn parsed<T>(result: Parsed<T>) -> Talk<T> {
    result.map_err(|Malformed| strange())
}

fn strange() -> Stop {
    Stop::fail("does not speak the MySQL protocol")
}

/// What keeps this check out is its own trouble; what keeps everybody out is the server's.
fn refused(refusal: &Refusal) -> Stop {
    let text = quoted(&refusal.text);
    if code::DENIED.contains(&refusal.code) || refusal.code == code::HOST_NOT_ALLOWED {
        Stop::error(format!("does not let this check in: {text} ({})", refusal.code))
    } else {
        Stop::fail(format!("{text} ({})", refusal.code))
    }
}
