//! The output of all commands. A reader that is gone (`vouchd explain | head`) causes no panic, and text from a plugin, a peer
//! or a file name cannot control the terminal.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};

use serde::Serialize;
use vouchd_printable::{is_unprintable, printable};

/// Prints text of any number of lines to standard output. A reader that has closed the pipe is not an error: the command ends
/// with the same exit status.
///
/// # Errors
/// If the text can't be written for another reason, such as a full disk.
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

/// Prints a document as JSON to standard output.
///
/// # Errors
/// As [`print()`].
pub fn print_json(document: &impl Serialize) -> anyhow::Result<()> {
    print(escaped(&serde_json::to_string_pretty(document)?) + "\n")
}

/// Prints text of any number of lines to standard error, with a line break at the end.
pub fn complain(text: impl std::fmt::Display) {
    // There is nowhere to report that this failed.
    let _ = writeln!(io::stderr(), "{}", harmless(text.to_string().trim_end()));
}

/// Prints an error to standard error: on one line, except errors of a configuration, which have several.
pub fn complain_about(error: &anyhow::Error) {
    let text = format!("vouchd: {error:#}");
    let has_lines = error.chain().any(|cause| cause.is::<vouchd_config::Errors>());
    complain(if has_lines { text.as_str().into() } else { printable(text.trim_end()) });
}

/// The text with its line breaks and tabs, and a space for each other character that controls the terminal.
fn harmless(text: &str) -> Cow<'_, str> {
    let is_hostile = |c: char| is_unprintable(c) && c != '\n' && c != '\t';
    if text.contains(is_hostile) {
        Cow::Owned(text.chars().map(|c| if is_hostile(c) { ' ' } else { c }).collect())
    } else {
        Cow::Borrowed(text)
    }
}

/// The same JSON document with escapes for all characters that control a terminal or cannot be seen.
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
    fn escaped_json_is_the_same_document_without_hostile_characters() {
        let text = "a\u{202e}b\u{2028}\u{7f}\u{e0041}\u{1b}ä\n";
        let json = escaped(&serde_json::to_string_pretty(&[text]).unwrap());
        assert!(!json.contains(|c| is_unprintable(c) && c != '\n'), "{json:?}");
        assert_eq!(serde_json::from_str::<[String; 1]>(&json).unwrap(), [text]);
    }

    #[test]
    fn line_breaks_and_tabs_stay() {
        assert_eq!(harmless("a\n\tb\u{1b}[0m\r\n"), "a\n\tb [0m \n");
    }
}
