//! The messages of the frontend/backend protocol, version 3, parsed and built without a connection.
//!
//! Hand-written: the crate postgres-protocol 0.6.12 would save 55 of 153 lines, but makes the module 203 kB instead of 175 kB
//! and brings 24 more crates, of which `rand` does not build for wasm32-unknown-unknown.

use vouchd_check_peer::{Malformed, Parsed, Reader};

/// The most bytes of a server's message.
const MAX_MESSAGE: u32 = 64 << 10;
/// The most columns of a row.
const MAX_COLUMNS: usize = 64;

const VERSION: u32 = 3 << 16;
/// Takes the place of the version in the request for TLS.
const TLS: u32 = 80_877_103;

/// The server's step of a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Auth {
    /// Authentication is complete.
    Done,
    /// It asks for the password in clear text.
    Clear,
    Md5([u8; 4]),
    /// It offers these mechanisms.
    Sasl(Vec<String>),
    SaslContinue(Vec<u8>),
    SaslFinal(Vec<u8>),
    /// Kerberos and the like.
    Other(u32),
}

/// An error of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerError {
    /// The SQLSTATE: five characters, the first two of which are its class.
    pub code: String,
    pub text: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message {
    Auth(Auth),
    Error(ServerError),
    /// A setting of the server: name and value.
    Setting(String, String),
    Row(Vec<Option<String>>),
    /// Ready for the next query.
    Ready,
    /// Any other message.
    Other,
}

/// The type and the length of the message that follows this header.
pub(crate) fn header(bytes: &[u8]) -> Parsed<(u8, u32)> {
    let mut reader = Reader::new(bytes);
    let [kind] = reader.array()?;
    let length = u32::from_be_bytes(reader.array()?).checked_sub(4).ok_or(Malformed)?;
    if length > MAX_MESSAGE || !kind.is_ascii_alphanumeric() { Err(Malformed) } else { Ok((kind, length)) }
}

/// The length of a header.
pub(crate) const HEADER: u32 = 5;

pub(crate) fn message(kind: u8, body: &[u8]) -> Parsed<Message> {
    let mut reader = Reader::new(body);
    Ok(match kind {
        b'R' => Message::Auth(auth(&mut reader)?),
        b'E' => Message::Error(server_error(&mut reader)?),
        b'S' => Message::Setting(string(reader.text()?), string(reader.text()?)),
        b'D' => Message::Row(row(&mut reader)?),
        b'Z' => Message::Ready,
        _ => Message::Other,
    })
}

fn string(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

fn auth(reader: &mut Reader) -> Parsed<Auth> {
    Ok(match u32::from_be_bytes(reader.array()?) {
        0 => Auth::Done,
        3 => Auth::Clear,
        5 => Auth::Md5(reader.array()?),
        10 => {
            let mut mechanisms = Vec::new();
            loop {
                match reader.text()? {
                    [] => break Auth::Sasl(mechanisms),
                    name => mechanisms.push(string(name)),
                }
            }
        }
        11 => Auth::SaslContinue(reader.rest().to_vec()),
        12 => Auth::SaslFinal(reader.rest().to_vec()),
        other => Auth::Other(other),
    })
}

fn server_error(reader: &mut Reader) -> Parsed<ServerError> {
    let mut server_error = ServerError { code: String::new(), text: Vec::new() };
    loop {
        match reader.array()? {
            [0] => return Ok(server_error),
            [b'C'] => server_error.code = string(reader.text()?).chars().take(5).collect(),
            [b'M'] => server_error.text = reader.text()?.to_vec(),
            _ => {
                reader.text()?;
            }
        }
    }
}

fn row(reader: &mut Reader) -> Parsed<Vec<Option<String>>> {
    let columns = usize::from(u16::from_be_bytes(reader.array()?));
    if columns > MAX_COLUMNS {
        return Err(Malformed);
    }
    let mut row = Vec::new();
    for _ in 0..columns {
        row.push(match i32::from_be_bytes(reader.array()?) {
            -1 => None,
            length => Some(string(reader.take(usize::try_from(length).map_err(|_| Malformed)?)?)),
        });
    }
    Ok(row)
}

/// Puts the length in front, which counts itself. What the plugin sends always fits.
fn with_length(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), body].concat()
}

fn typed(kind: u8, body: &[u8]) -> Vec<u8> {
    [vec![kind], with_length(body)].concat()
}

/// The request to continue with TLS. The answer is a single byte.
pub(crate) fn tls_request() -> Vec<u8> {
    with_length(&TLS.to_be_bytes())
}

/// The answer that accepts TLS.
pub(crate) const TLS_ACCEPTED: u8 = b'S';

pub(crate) fn startup(user: &str, database: &str) -> Vec<u8> {
    let mut body = VERSION.to_be_bytes().to_vec();
    for text in ["user", user, "database", database, "application_name", "vouchd", "client_encoding", "UTF8", ""] {
        body.extend_from_slice(text.as_bytes());
        body.push(0);
    }
    with_length(&body)
}

pub(crate) fn password(password: &[u8]) -> Vec<u8> {
    typed(b'p', &[password, &[0]].concat())
}

pub(crate) fn sasl_first(mechanism: &str, data: &str) -> Vec<u8> {
    typed(b'p', &[mechanism.as_bytes(), &[0], &with_sasl_length(data)].concat())
}

fn with_sasl_length(data: &str) -> Vec<u8> {
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), data.as_bytes()].concat()
}

pub(crate) fn sasl_next(data: &str) -> Vec<u8> {
    typed(b'p', data.as_bytes())
}

pub(crate) fn query(sql: &str) -> Vec<u8> {
    typed(b'Q', &[sql.as_bytes(), &[0]].concat())
}

/// The client leaves.
pub(crate) fn terminate() -> Vec<u8> {
    typed(b'X', &[])
}

#[cfg(test)]
pub(crate) mod tests {
    use vouchd_check::testing::random_messages;

    use super::*;

    /// A message of the server.
    pub(crate) fn said(kind: u8, body: &[u8]) -> Vec<u8> {
        typed(kind, body)
    }

    pub(crate) fn rejected(code: &str, text: &str) -> Vec<u8> {
        said(b'E', format!("SFATAL\0VFATAL\0C{code}\0M{text}\0Fpostmaster.c\0\0").as_bytes())
    }

    #[test]
    fn messages_are_told_apart() {
        let server_error =
            ServerError { code: "57P03".to_owned(), text: b"the database system is starting up".to_vec() };
        let starting = rejected("57P03", "the database system is starting up");
        let table = [
            (b'R', &b"\0\0\0\0"[..], Message::Auth(Auth::Done)),
            (b'R', b"\0\0\0\x03", Message::Auth(Auth::Clear)),
            (b'R', b"\0\0\0\x05abcd", Message::Auth(Auth::Md5(*b"abcd"))),
            (b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0", Message::Auth(Auth::Sasl(vec!["SCRAM-SHA-256".to_owned()]))),
            (b'R', b"\0\0\0\x0br=x", Message::Auth(Auth::SaslContinue(b"r=x".to_vec()))),
            (b'R', b"\0\0\0\x0cv=x", Message::Auth(Auth::SaslFinal(b"v=x".to_vec()))),
            (b'R', b"\0\0\0\x07", Message::Auth(Auth::Other(7))),
            (b'E', &starting[5..], Message::Error(server_error)),
            (b'S', b"server_version\x0015.3\0", Message::Setting("server_version".to_owned(), "15.3".to_owned())),
            (b'D', b"\0\x02\0\0\0\x01t\xff\xff\xff\xff", Message::Row(vec![Some("t".to_owned()), None])),
            (b'Z', b"I", Message::Ready),
            (b'K', b"12345678", Message::Other),
        ];
        for (kind, body, expected) in table {
            assert_eq!(message(kind, body), Ok(expected));
        }
    }

    #[test]
    fn bad_messages_are_malformed_and_no_input_panics() {
        let table: [(u8, &[u8]); 10] = [
            (b'R', b""),
            (b'R', b"\0\0\0\x05abc"),
            (b'R', b"\0\0\0\x0aSCRAM"),
            (b'R', b"\0\0\0\x0aSCRAM\0"),
            (b'E', b""),
            (b'E', b"C57P03\0"),
            (b'S', b"name\0"),
            (b'D', b"\0\x01\0\0\0\x05abc"),
            (b'D', b"\0\x01\x80\0\0\0"),
            (b'D', b"\xff\xff"),
        ];
        for (kind, body) in table {
            assert_eq!(message(kind, body), Err(Malformed), "{body:?}");
        }
        for mut body in random_messages(20_000) {
            // Small numbers, and negative ones.
            body.iter_mut().for_each(|byte| *byte &= 0x83);
            for kind in b"RESDZ" {
                let _ = message(*kind, &body);
            }
        }
    }

    #[test]
    fn lengths_are_bounded() {
        assert_eq!(header(b"R\0\0\0\x08"), Ok((b'R', 4)));
        for bytes in [&b"R\0\0\0\x03"[..], b"R\0\x10\0\0", b"R\xff\xff\xff\xff", b"HTTP/", b"\0\0\0\0\x08", b"R\0\0"] {
            assert_eq!(header(bytes), Err(Malformed), "{bytes:?}");
        }
    }

    #[test]
    fn sent_messages_have_their_length() {
        assert_eq!(tls_request(), b"\0\0\0\x08\x04\xd2\x16\x2f");
        assert_eq!(terminate(), b"X\0\0\0\x04");
        assert_eq!(query("x"), b"Q\0\0\0\x06x\0");
        assert_eq!(password(b"ab"), b"p\0\0\0\x07ab\0");
        assert_eq!(sasl_first("M", "ab"), b"p\0\0\0\x0cM\0\0\0\0\x02ab");
        let startup = startup("me", "db");
        assert_eq!(startup[..8], [0, 0, 0, u8::try_from(startup.len()).unwrap(), 0, 3, 0, 0]);
        assert_eq!(startup[8..28], *b"user\0me\0database\0db\0");
    }
}
