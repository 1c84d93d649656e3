//! A session on the system's D-Bus, to ask systemd.

use vouchd_check_peer::{Stop, Stream, Talk, quoted};

use crate::unit::{State, Unit};
use crate::wire::{self, Call, HEAD, Kind, Message};

/// The most messages, such as signals, that may come before an answer.
const MAX_OTHERS: usize = 32;

pub(crate) struct Bus {
    stream: Stream,
    serial: u32,
}

impl Bus {
    /// Authenticates as the user that the kernel reports to the bus. A plugin does not know which user it runs as.
    ///
    /// # Errors
    /// If the bus rejects the user.
    pub(crate) fn open(mut stream: Stream) -> Talk<Self> {
        // Without an initial response the server asks for data; there is none.
        stream.send(b"\0AUTH EXTERNAL\r\n")?;
        expect(&mut stream, "DATA")?;
        stream.send(b"DATA\r\n")?;
        expect(&mut stream, "OK")?;
        stream.send(b"BEGIN\r\n")?;
        let mut bus = Bus { stream, serial: 0 };
        let hello = Call {
            destination: "org.freedesktop.DBus",
            path: "/org/freedesktop/DBus",
            interface: "org.freedesktop.DBus",
            member: "Hello",
            arguments: &[],
        };
        bus.call(&hello, "a name of the bus")?;
        Ok(bus)
    }

    /// Asks for the state of a unit.
    ///
    /// # Errors
    /// If systemd does not answer.
    pub(crate) fn state(&mut self, unit: &Unit) -> Talk<State> {
        let object = unit.object();
        let mut property = |name: &str| {
            let get = Call {
                destination: "org.freedesktop.systemd1",
                path: &object,
                interface: "org.freedesktop.DBus.Properties",
                member: "Get",
                arguments: &["org.freedesktop.systemd1.Unit", name],
            };
            let value = self.call(&get, name)?;
            Ok(quoted(value.ok_or_else(|| Stop::fail(format!("systemd's {name} is not text")))?.as_bytes()))
        };
        Ok(State { load: property("LoadState")?, active: property("ActiveState")?, sub: property("SubState")? })
    }

    /// Calls a method and returns the text of its answer. Messages about a failure call it `what`.
    fn call(&mut self, call: &Call<'_>, what: &str) -> Talk<Option<String>> {
        self.serial += 1;
        self.stream.send(&call.message(self.serial))?;
        for _ in 0..MAX_OTHERS {
            let message = self.message(what)?;
            if message.answers != Some(self.serial) {
                continue;
            }
            return match message.kind {
                Kind::Answer => Ok(message.text),
                Kind::Error(name) => {
                    let text = message.text.unwrap_or_default();
                    Err(Stop::fail(format!("no {what}: {}", quoted(format!("{name}: {text}").as_bytes()))))
                }
                Kind::Other => continue,
            };
        }
        Err(Stop::fail(format!("sent {MAX_OTHERS} other messages instead of {what}")))
    }

    fn message(&mut self, what: &str) -> Talk<Message> {
        let mut data = self.stream.exactly(HEAD, what)?;
        let rest = wire::rest(&data).map_err(|_| Stop::fail(format!("sent no D-Bus message for {what}")))?;
        data.extend(self.stream.exactly(rest, what)?);
        Message::parse(&data).map_err(|_| Stop::fail(format!("sent a malformed D-Bus message for {what}")))
    }
}

/// Expects a line of the authentication to start with `word`.
fn expect(stream: &mut Stream, word: &str) -> Talk<()> {
    let said = stream.until(b"\r\n", 512, "an answer to the login")?;
    match String::from_utf8_lossy(&said).split(' ').next() {
        Some(first) if first == word => Ok(()),
        _ => Err(Stop::fail(format!("rejects this user: expected {word}, found {:?}", quoted(&said)))),
    }
}
