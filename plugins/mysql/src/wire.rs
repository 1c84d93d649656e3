//! The packets of the client/server protocol, parsed and built without a connection.

use vouchd_check_peer::{Malformed, Parsed, Reader};

/// The most bytes of a greeting. With more it is another protocol.
pub(crate) const MAX_GREETING: u32 = 64 << 10;
/// Capability flags of the protocol.
pub(crate) mod capability {
    pub(crate) const LONG_PASSWORD: u32 = 1;
    pub(crate) const LONG_FLAG: u32 = 1 << 2;
    pub(crate) const PROTOCOL_41: u32 = 1 << 9;
    pub(crate) const TLS: u32 = 1 << 11;
    pub(crate) const SECURE_CONNECTION: u32 = 1 << 15;
    pub(crate) const PLUGIN_AUTH: u32 = 1 << 19;
    /// What this client always announces.
    pub(crate) const CLIENT: u32 = LONG_PASSWORD | LONG_FLAG | PROTOCOL_41 | SECURE_CONNECTION | PLUGIN_AUTH;
}

/// `utf8mb4_general_ci`: UTF-8 of up to four bytes a character.
const CHARSET: u8 = 45;

/// The first packet of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Greeting {
    /// Product and number: `MariaDB 10.11.6` or `MySQL 8.0.36`.
    pub version: String,
    pub capabilities: u32,
    pub challenge: Vec<u8>,
    pub plugin: String,
}

/// An error of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerError {
    pub code: u16,
    pub text: Vec<u8>,
}

/// The server's answer to a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LoginAnswer {
    Ok,
    Error(ServerError),
    /// The server asks for another authentication method.
    Switch {
        plugin: String,
        challenge: Vec<u8>,
    },
    /// Data of the current method.
    More(Vec<u8>),
}

/// Reads up to a zero byte, or to the end of the packet where there is none.
fn text<'a>(reader: &mut Reader<'a>) -> &'a [u8] {
    reader.text().unwrap_or_else(|Malformed| remainder(reader))
}

fn remainder<'a>(reader: &mut Reader<'a>) -> &'a [u8] {
    let rest = reader.rest();
    reader.take(rest.len()).unwrap_or_default()
}

/// Reads a length-encoded integer; `None` is NULL.
pub(crate) fn length(reader: &mut Reader) -> Parsed<Option<u64>> {
    match reader.byte()? {
        0xfb => Ok(None),
        0xfc => reader.little_endian(2).map(Some),
        0xfd => reader.little_endian(3).map(Some),
        0xfe => reader.little_endian(8).map(Some),
        0xff => Err(Malformed),
        small => Ok(Some(u64::from(small))),
    }
}

/// Reads a length-encoded string; `None` is NULL.
pub(crate) fn value<'a>(reader: &mut Reader<'a>) -> Parsed<Option<&'a [u8]>> {
    match length(reader)? {
        None => Ok(None),
        Some(length) => reader.take(usize::try_from(length).map_err(|_| Malformed)?).map(Some),
    }
}

/// The length and number of the packet that follows this header.
pub(crate) fn header(bytes: &[u8]) -> Parsed<(u32, u8)> {
    let mut reader = Reader::new(bytes);
    let length = u32::try_from(reader.little_endian(3)?).map_err(|_| Malformed)?;
    Ok((length, reader.byte()?))
}

/// A packet with its header. What the plugin sends always fits one packet.
pub(crate) fn packet(number: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes();
    let mut packet = vec![length[0], length[1], length[2], number];
    packet.extend_from_slice(body);
    packet
}

/// Parses the first packet: a greeting, or an error in its place.
pub(crate) fn greeting(packet: &[u8]) -> Parsed<Result<Greeting, ServerError>> {
    if packet.first() == Some(&0xff) {
        return server_error(packet).map(Err);
    }
    let mut reader = Reader::new(packet);
    if reader.byte()? != 10 {
        return Err(Malformed);
    }
    let version = text(&mut reader);
    reader.take(4)?; // the connection's number
    let mut challenge = reader.take(8)?.to_vec();
    reader.take(1)?;
    let low = reader.little_endian(2)?;
    reader.take(3)?; // character set, status
    let high = reader.little_endian(2)?;
    let length = usize::from(reader.byte()?);
    reader.take(10)?;
    let capabilities = u32::try_from(high << 16 | low).map_err(|_| Malformed)?;
    if capabilities & capability::SECURE_CONNECTION != 0 {
        let rest = reader.take(length.saturating_sub(8).max(13).min(reader.rest().len()))?;
        challenge.extend_from_slice(rest.strip_suffix(&[0]).unwrap_or(rest));
    }
    let plugin = if capabilities & capability::PLUGIN_AUTH == 0 {
        "mysql_native_password".into()
    } else {
        name(text(&mut reader))
    };
    Ok(Ok(Greeting { version: product(version), capabilities, challenge, plugin }))
}

pub(crate) fn name(text: &[u8]) -> String {
    String::from_utf8_lossy(&text[..text.len().min(64)]).into_owned()
}

/// `5.5.5-10.11.6-MariaDB-0+deb12u1` is MariaDB 10.11.6: the prefix is for old clients.
fn product(version: &[u8]) -> String {
    let version = name(version);
    let mariadb = version.contains("MariaDB");
    let number = if mariadb { version.strip_prefix("5.5.5-").unwrap_or(&version) } else { &version };
    let number: String = number.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    format!("{} {number}", if mariadb { "MariaDB" } else { "MySQL" })
}

pub(crate) fn server_error(packet: &[u8]) -> Parsed<ServerError> {
    let mut reader = Reader::new(packet);
    reader.take(1)?;
    let code = u16::try_from(reader.little_endian(2)?).map_err(|_| Malformed)?;
    // The SQLSTATE of five characters is optional.
    if reader.rest().first() == Some(&b'#') {
        reader.take(6)?;
    }
    Ok(ServerError { code, text: reader.rest().to_vec() })
}

pub(crate) fn login_answer(packet: &[u8]) -> Parsed<LoginAnswer> {
    match packet {
        [0x00, ..] => Ok(LoginAnswer::Ok),
        [0xff, ..] => server_error(packet).map(LoginAnswer::Error),
        [0x01, more @ ..] => Ok(LoginAnswer::More(more.to_vec())),
        // Without data it asks for the method from before MySQL 4.1.
        [0xfe] => Ok(LoginAnswer::Switch { plugin: "mysql_old_password".to_owned(), challenge: Vec::new() }),
        [0xfe, rest @ ..] => {
            let mut reader = Reader::new(rest);
            let plugin = name(text(&mut reader));
            let challenge = reader.rest().strip_suffix(&[0]).unwrap_or(reader.rest()).to_vec();
            Ok(LoginAnswer::Switch { plugin, challenge })
        }
        _ => Err(Malformed),
    }
}

/// The common start of the TLS request and the login.
fn client(capabilities: u32) -> Vec<u8> {
    let mut body = capabilities.to_le_bytes().to_vec();
    body.extend((1u32 << 24).to_le_bytes()); // the longest packet
    body.push(CHARSET);
    body.extend([0; 23]);
    body
}

/// The request to continue with TLS.
pub(crate) fn tls_request(capabilities: u32) -> Vec<u8> {
    client(capabilities)
}

pub(crate) fn login(capabilities: u32, user: &str, answer: &[u8], plugin: &str) -> Vec<u8> {
    let mut body = client(capabilities);
    body.extend_from_slice(user.as_bytes());
    body.push(0);
    // Answers are hashes, so their length fits a byte.
    let answer = &answer[..answer.len().min(250)];
    body.push(u8::try_from(answer.len()).unwrap_or(0));
    body.extend_from_slice(answer);
    body.extend_from_slice(plugin.as_bytes());
    body.push(0);
    body
}

pub(crate) fn query(sql: &str) -> Vec<u8> {
    [b"\x03", sql.as_bytes()].concat()
}

/// The client leaves.
pub(crate) const QUIT: [u8; 1] = [1];

#[cfg(test)]
pub(crate) mod tests {
    use vouchd_check::testing::random_messages;

    use super::*;

    /// The greeting of MariaDB 10.11.
    pub(crate) fn mariadb(plugin: &str) -> Vec<u8> {
        let mut bytes = b"\x0a5.5.5-10.11.6-MariaDB-0+deb12u1\0\x2a\0\0\0".to_vec();
        bytes.extend(b"12345678\0");
        bytes.extend(b"\xfe\xff\x2d\x02\0\xff\x81\x15");
        bytes.extend([0; 6]);
        bytes.extend(b"\x1d\0\0\0");
        bytes.extend(b"abcdefghijkl\0");
        bytes.extend(plugin.as_bytes());
        bytes.push(0);
        bytes
    }

    pub(crate) const TOO_MANY: &[u8] = b"\xff\x10\x04Too many connections";

    #[test]
    fn greeting_has_version_challenge_and_plugin() {
        let greeting = greeting(&mariadb("mysql_native_password")).unwrap().unwrap();
        assert_eq!(greeting.version, "MariaDB 10.11.6");
        assert_eq!(greeting.challenge, b"12345678abcdefghijkl");
        assert_eq!(greeting.plugin, "mysql_native_password");
        assert_ne!(greeting.capabilities & capability::TLS, 0);
    }

    #[test]
    fn version_is_product_and_number() {
        for (found, said) in [
            ("8.0.36", "MySQL 8.0.36"),
            ("8.4.0-log", "MySQL 8.4.0"),
            ("5.5.5-10.6.1-MariaDB", "MariaDB 10.6.1"),
            ("11.4.2-MariaDB-ubu2404", "MariaDB 11.4.2"),
            ("", "MySQL "),
        ] {
            assert_eq!(product(found.as_bytes()), said);
        }
    }

    #[test]
    fn error_may_replace_the_greeting() {
        let refused = greeting(TOO_MANY).unwrap().unwrap_err();
        assert_eq!((refused.code, refused.text.as_slice()), (1040, &b"Too many connections"[..]));
        let refused = greeting(b"\xff\x69\x04#HY000blocked").unwrap().unwrap_err();
        assert_eq!((refused.code, refused.text.as_slice()), (1129, &b"blocked"[..]));
    }

    #[test]
    fn no_input_panics() {
        let whole = mariadb("mysql_native_password");
        for length in 0..whole.len() {
            let _ = greeting(&whole[..length]);
        }
        assert_eq!(greeting(&whole[..40]), Err(Malformed));
        for bytes in [&b""[..], b"\x09old\0", b"SSH-2.0-x\r\n", b"\xff", b"\xff\x10", b"\xff\x10\x04#HY", b"\x0a"] {
            assert_eq!(greeting(bytes), Err(Malformed), "{bytes:?}");
        }
        for packet in random_messages(20_000) {
            let _ = (header(&packet), greeting(&packet), login_answer(&packet));
        }
    }

    #[test]
    fn login_answers_are_told_apart() {
        let table = [
            (&b"\x00\0\0\x02\0\0\0"[..], Ok(LoginAnswer::Ok)),
            (b"\x01\x03", Ok(LoginAnswer::More(vec![3]))),
            (
                b"\xfeclient_ed25519\0abc\0",
                Ok(LoginAnswer::Switch { plugin: "client_ed25519".to_owned(), challenge: b"abc".to_vec() }),
            ),
            (b"\xfe", Ok(LoginAnswer::Switch { plugin: "mysql_old_password".to_owned(), challenge: Vec::new() })),
            (
                b"\xff\x15\x04#28000Access denied",
                Ok(LoginAnswer::Error(ServerError { code: 1045, text: b"Access denied".to_vec() })),
            ),
            (b"", Err(Malformed)),
            (b"\x77", Err(Malformed)),
        ];
        for (packet, answer) in table {
            assert_eq!(login_answer(packet), answer, "{packet:?}");
        }
    }

    #[test]
    fn packet_has_length_and_number() {
        assert_eq!(packet(1, b"abc"), b"\x03\0\0\x01abc");
        assert_eq!(header(b"\x03\0\x01\x07"), Ok((0x1_0003, 7)));
        assert_eq!(header(b"\x03\0"), Err(Malformed));
        let login = login(capability::PROTOCOL_41, "me", b"\xaa\xbb", "p");
        assert_eq!(login[..4], [0, 2, 0, 0]);
        assert_eq!(login[32..], *b"me\0\x02\xaa\xbbp\0");
    }
}
