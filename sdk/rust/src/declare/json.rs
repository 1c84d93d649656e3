//! The section's content, written while the plugin is compiled: hence without allocation and with loops of indices.

use super::Declared;

/// Length of [`json`] in bytes.
#[doc(hidden)]
pub const fn json_len(params: &[Declared]) -> usize {
    written::<0>(params).at
}

/// The section's content; `N` is [`json_len`].
#[doc(hidden)]
pub const fn json<const N: usize>(params: &[Declared]) -> [u8; N] {
    written::<N>(params).bytes
}

/// Counts what does not fit, too.
struct Out<const N: usize> {
    bytes: [u8; N],
    at: usize,
}

/// A name and the tables around it.
struct Dotted<'a> {
    outer: Option<&'a Dotted<'a>>,
    name: &'a str,
}

const fn written<const N: usize>(params: &[Declared]) -> Out<N> {
    let mut out = Out { bytes: [0; N], at: 0 };
    out.raw("[");
    out.params(params, None);
    out.raw("]");
    out
}

impl<const N: usize> Out<N> {
    const fn byte(&mut self, byte: u8) {
        if self.at < N {
            self.bytes[self.at] = byte;
        }
        self.at += 1;
    }

    const fn raw(&mut self, text: &str) {
        let bytes = text.as_bytes();
        let mut i = 0;
        while i < bytes.len() {
            self.byte(bytes[i]);
            i += 1;
        }
    }

    /// The inside of a JSON string.
    const fn text(&mut self, text: &str) {
        let bytes = text.as_bytes();
        let mut i = 0;
        while i < bytes.len() {
            match bytes[i] {
                b'"' => self.raw("\\\""),
                b'\\' => self.raw("\\\\"),
                b'\n' => self.raw("\\n"),
                b'\r' => self.raw("\\r"),
                b'\t' => self.raw("\\t"),
                control @ 0..0x20 => {
                    self.raw("\\u00");
                    self.byte(b'0' + (control >> 4));
                    self.byte(b"0123456789abcdef"[(control & 15) as usize]);
                }
                byte => self.byte(byte),
            }
            i += 1;
        }
    }

    const fn number(&mut self, key: &str, number: Option<i64>) {
        let Some(number) = number else { return };
        self.raw(key);
        if number < 0 {
            self.byte(b'-');
        }
        let number = number.unsigned_abs();
        let mut unit = 1;
        while number / unit > 9 {
            unit *= 10;
        }
        while unit > 0 {
            self.byte(b'0' + (number / unit % 10) as u8);
            unit /= 10;
        }
    }

    const fn name(&mut self, name: &Dotted<'_>) {
        if let Some(outer) = name.outer {
            self.name(outer);
            self.raw(".");
        }
        self.text(name.name);
    }

    /// A table is followed by what is in it.
    const fn params(&mut self, params: &[Declared], outer: Option<&Dotted<'_>>) {
        let mut i = 0;
        while i < params.len() {
            if i > 0 || outer.is_some() {
                self.raw(",");
            }
            let name = Dotted { outer, name: params[i].name };
            self.param(&params[i], &name);
            self.params(params[i].fields, Some(&name));
            i += 1;
        }
    }

    const fn param(&mut self, param: &Declared, name: &Dotted<'_>) {
        self.raw("{\"name\":\"");
        self.name(name);
        self.raw("\",\"type\":\"");
        self.raw(param.kind.as_str());
        self.raw("\"");
        if param.list {
            self.raw(",\"list\":true");
        }
        if param.required {
            self.raw(",\"required\":true");
        }
        self.number(",\"min\":", param.min);
        self.number(",\"max\":", param.max);
        if let Some(default) = param.default {
            self.raw(",\"default\":\"");
            self.text(default);
            self.raw("\"");
        }
        self.raw(",\"doc\":\"");
        let mut i = 0;
        while i < param.doc.len() {
            if i > 0 {
                self.raw(" ");
            }
            self.text(param.doc[i].trim_ascii());
            i += 1;
        }
        self.raw("\"}");
    }
}
