//! The part of D-Bus that this check needs: calls with text arguments, and answers that are a text or a variant with a text.
//! <https://dbus.freedesktop.org/doc/dbus-specification.html>
//!
//! Hand-written: the crate zvariant 5.15 would save about 55 of 168 lines, but makes the module 243 kB instead of 85 kB, brings
//! 9 more crates, and is deprecated in favour of zbus, which needs sockets and an async runtime.

use vouchd_check_peer::{Malformed, Parsed, Reader};

/// The first bytes of a message, which give its length.
pub(crate) const HEAD: u32 = 16;
/// The most bytes of a message. The answers to our calls are shorter.
pub(crate) const MAX_MESSAGE: u32 = 64 << 10;

/// The codes of the header's fields.
const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;

/// A method call with text arguments.
pub(crate) struct Call<'a> {
    pub destination: &'a str,
    pub path: &'a str,
    pub interface: &'a str,
    pub member: &'a str,
    pub arguments: &'a [&'a str],
}

/// Writes little-endian.
#[derive(Default)]
struct Encoder(Vec<u8>);

impl Encoder {
    fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    fn number(&mut self, number: usize) {
        self.align(4);
        self.0.extend(u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len());
        self.0.extend(text.as_bytes());
        self.0.push(0);
    }

    fn signature(&mut self, signature: &str) {
        self.0.push(u8::try_from(signature.len()).unwrap_or(u8::MAX));
        self.0.extend(signature.as_bytes());
        self.0.push(0);
    }

    fn field(&mut self, code: u8, kind: &str, value: &str) {
        self.align(8);
        self.0.push(code);
        self.signature(kind);
        if kind == "g" { self.signature(value) } else { self.text(value) }
    }
}

impl Call<'_> {
    pub(crate) fn message(&self, serial: u32) -> Vec<u8> {
        let mut body = Encoder::default();
        self.arguments.iter().for_each(|argument| body.text(argument));
        let mut fields = Encoder::default();
        fields.field(PATH, "o", self.path);
        fields.field(INTERFACE, "s", self.interface);
        fields.field(MEMBER, "s", self.member);
        fields.field(DESTINATION, "s", self.destination);
        if !self.arguments.is_empty() {
            fields.field(SIGNATURE, "g", &"s".repeat(self.arguments.len()));
        }
        // Little-endian, a call, no flags, version 1.
        let mut out = Encoder(vec![b'l', 1, 0, 1]);
        out.number(body.0.len());
        out.number(usize::try_from(serial).unwrap_or_default());
        out.number(fields.0.len());
        out.0.extend(fields.0);
        out.align(8);
        out.0.extend(body.0);
        out.0
    }
}

/// What a message means to this check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Answer,
    /// An error, with its name.
    Error(String),
    /// A signal, or a call from another client.
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub kind: Kind,
    /// The serial number of the call that it answers.
    pub answers: Option<u32>,
    /// The first argument, if it is a text or a variant with a text.
    pub text: Option<String>,
}

/// The number of bytes after the head.
///
/// # Errors
/// If it is not the head of a message, or the message is too long.
pub(crate) fn rest(head: &[u8]) -> Parsed<u32> {
    let mut input = Decoder::new(head)?;
    input.reader.take(4)?;
    let body = input.number()?;
    input.number()?;
    let fields = input.number()?;
    let length = fields.checked_next_multiple_of(8).and_then(|fields| fields.checked_add(body)).ok_or(Malformed)?;
    if length <= MAX_MESSAGE { Ok(length) } else { Err(Malformed) }
}

/// Reads in the byte order of the message.
struct Decoder<'a> {
    reader: Reader<'a>,
    is_big_endian: bool,
}

impl<'a> Decoder<'a> {
    /// # Errors
    /// If it does not begin like a message of version 1.
    fn new(data: &'a [u8]) -> Parsed<Self> {
        match data {
            [order @ (b'l' | b'B'), _, _, 1, ..] => {
                Ok(Decoder { reader: Reader::new(data), is_big_endian: *order == b'B' })
            }
            _ => Err(Malformed),
        }
    }

    fn number(&mut self) -> Parsed<u32> {
        self.reader.align(4)?;
        let bytes = self.reader.array()?;
        Ok(if self.is_big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    fn text(&mut self) -> Parsed<String> {
        let length = usize::try_from(self.number()?).map_err(|_| Malformed)?;
        self.terminated(length)
    }

    fn signature(&mut self) -> Parsed<String> {
        let length = usize::from(self.reader.byte()?);
        self.terminated(length)
    }

    /// Reads a text of this length and the zero byte after it.
    fn terminated(&mut self, length: usize) -> Parsed<String> {
        let text = String::from_utf8(self.reader.take(length)?.to_vec()).map_err(|_| Malformed)?;
        if self.reader.byte()? == 0 { Ok(text) } else { Err(Malformed) }
    }
}

impl Message {
    /// Parses a whole message, head included.
    ///
    /// # Errors
    /// If it is not one.
    pub(crate) fn parse(data: &[u8]) -> Parsed<Self> {
        let mut input = Decoder::new(data)?;
        input.reader.byte()?;
        let kind = input.reader.byte()?;
        input.reader.take(10)?;
        let fields = usize::try_from(input.number()?).map_err(|_| Malformed)?;
        let end = input.reader.position().checked_add(fields).ok_or(Malformed)?;
        let (mut answers, mut error, mut signature) = (None, None, String::new());
        loop {
            input.reader.align(8)?;
            if input.reader.position() >= end {
                break;
            }
            let code = input.reader.byte()?;
            // The fields of the specification have only these types.
            match (code, input.signature()?.as_str()) {
                (REPLY_SERIAL, "u") => answers = Some(input.number()?),
                (ERROR_NAME, "s") => error = Some(input.text()?),
                (SIGNATURE, "g") => signature = input.signature()?,
                (_, "u") => drop(input.number()?),
                (_, "s" | "o") => drop(input.text()?),
                (_, "g") => drop(input.signature()?),
                _ => return Err(Malformed),
            }
        }
        let is_text = match signature.as_bytes().first() {
            Some(b'v') => input.signature()? == "s",
            first => first == Some(&b's'),
        };
        let text = if is_text { Some(input.text()?) } else { None };
        let kind = match (kind, error) {
            (2, _) => Kind::Answer,
            (3, Some(name)) => Kind::Error(name),
            (3, None) => return Err(Malformed),
            _ => Kind::Other,
        };
        Ok(Message { kind, answers, text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: Call<'_> = Call {
        destination: "org.freedesktop.DBus",
        path: "/org/freedesktop/DBus",
        interface: "org.freedesktop.DBus",
        member: "Hello",
        arguments: &[],
    };

    /// An answer to call 7 with the variant `active`.
    pub(super) fn answer(is_big: bool) -> Vec<u8> {
        let number = |n: u32| if is_big { n.to_be_bytes() } else { n.to_le_bytes() };
        let mut data = vec![if is_big { b'B' } else { b'l' }, 2, 1, 1];
        data.extend([number(15), number(3), number(15)].concat());
        data.extend([REPLY_SERIAL, 1, b'u', 0]);
        data.extend(number(7));
        data.extend([SIGNATURE, 1, b'g', 0, 1, b'v', 0, 0]);
        data.extend([1, b's', 0, 0]);
        data.extend(number(6));
        data.extend(b"active\0");
        data
    }

    #[test]
    fn call_follows_the_specification() {
        let message = HELLO.message(1);
        assert_eq!(&message[..16], b"l\x01\0\x01\0\0\0\0\x01\0\0\0\x6d\0\0\0");
        assert_eq!(&message[16..48], b"\x01\x01o\0\x15\0\0\0/org/freedesktop/DBus\0\0\0");
        assert_eq!(message.len() % 8, 0);
        let ask = Call { arguments: &["a", "bc"], ..HELLO };
        assert!(ask.message(1).ends_with(b"\x01\0\0\0a\0\0\0\x02\0\0\0bc\0"));
        assert!(ask.message(1).windows(7).any(|window| window == b"\x08\x01g\0\x02ss"));
    }

    #[test]
    fn answer_is_read_in_either_byte_order() {
        for is_big in [false, true] {
            let data = answer(is_big);
            let expected = Message { kind: Kind::Answer, answers: Some(7), text: Some("active".to_owned()) };
            assert_eq!(Message::parse(&data), Ok(expected));
            assert_eq!(rest(&data[..16]).map(|rest| rest as usize + 16), Ok(data.len()));
        }
    }

    #[test]
    fn cut_or_changed_message_never_panics() {
        let data = answer(false);
        for end in 0..data.len() {
            assert_eq!(Message::parse(&data[..end]), Err(Malformed), "{end}");
        }
        for at in 0..data.len() {
            for byte in [0, 1, 7, b'B', b's', b'v', 0x7f, 0xff] {
                let mut changed = data.clone();
                changed[at] = byte;
                let _ = (rest(&changed), Message::parse(&changed));
            }
        }
        assert_eq!(rest(b"l\x02\x01\x01\xff\xff\xff\xff\0\0\0\0\xff\xff\xff\xff"), Err(Malformed));
        assert_eq!(rest(b"l\x02\x01\x02\0\0\0\0\0\0\0\0\0\0\0\0"), Err(Malformed), "another version");
        assert_eq!(rest(b""), Err(Malformed));
    }
}
