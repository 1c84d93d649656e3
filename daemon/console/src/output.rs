//! What commands print: all of it goes through here, so that a reader that has gone (`vouchd explain | head`) is no panic, and
//! nothing that comes from a plugin, a peer or a file's name drives the terminal.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};

use serde::Serialize;
use vouchd_printable::{is_unprintable, printable};

/// To standard output: text of any number of lines. A reader that has read enough is no error: the command ends as it would
/// have.
///
/// # Errors
/// When it can't be written for another reason, a full disk for one.
pub fn print(text: impl AsRef<str>) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    let written = out.write_all(harmless(text.as_ref()).as_bytes()).and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(anyhow::Error::from(error).context("could not write to standard output"))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// A document as JSON, to standard output.
///
/// # Errors
/// As [`print()`].
pub fn print_json(document: &impl Serialize) -> anyhow::Result<()> {
    print(escaped(&serde_json::to_string_pretty(document)?) + "\n")
}

/// Text of any number of lines to standard error, always with a line break at the end.
pub fn complain(text: impl std::fmt::Display) {
    // There is nowhere left to say that it could not be said.
    let _ = writeln!(io::stderr(), "{}", harmless(text.to_string().trim_end()));
}

/// An error, on one line but for those of a configuration, which have their own.
pub fn complain_about(error: &anyhow::Error) {
    let text = format!("vouchd: {error:#}");
    let has_lines = error.chain().any(|cause| cause.is::<vouchd_config::Errors>());
    complain(if has_lines { text.as_str().into() } else { printable(text.trim_end()) });
}

/// The text with its lines and tabs, and a space for everything else that would do more than be read.
fn harmless(text: &str) -> Cow<'_, str> {
    let is_hostile = |c: char| is_unprintable(c) && c != '\n' && c != '\t';
    if text.contains(is_hostile) {
        Cow::Owned(text.chars().map(|c| if is_hostile(c) { ' ' } else { c }).collect())
    } else {
        Cow::Borrowed(text)
    }
}

/// JSON with escapes for all characters of strings that are not to be shown; the same document to whoever reads it.
pub fn escaped(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if is_unprintable(c) && c != '\n' {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a String can't fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_means_the_same_and_shows_nothing_hostile() {
        let text = "a\u{202e}b\u{2028}\u{7f}\u{e0041}\u{1b}ä\n";
        let json = escaped(&serde_json::to_string_pretty(&[text]).unwrap());
        assert!(!json.contains(|c| is_unprintable(c) && c != '\n'), "{json:?}");
        assert_eq!(serde_json::from_str::<[String; 1]>(&json).unwrap(), [text]);
    }

    #[test]
    fn lines_and_tabs_stay() {
        assert_eq!(harmless("a\n\tb\u{1b}[0m\r\n"), "a\n\tb [0m \n");
    }
}
