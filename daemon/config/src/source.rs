//! The files as they were read, and places in them.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use vouchd_printable::is_unprintable;

use crate::errors::Problem;
use crate::secrets::without_secrets;

/// One file's path and text.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

impl Source {
    /// # Errors
    /// The content is not text in UTF-8.
    pub(crate) fn decode(path: PathBuf, bytes: Vec<u8>) -> Result<Self, Problem> {
        const UTF_16: &str = "this file is in UTF-16; expected UTF-8: convert it, `iconv -f UTF-16 -t UTF-8`";
        let problem = |path: PathBuf, text: String, at: usize, message: String| {
            let source = Arc::new(Source { path, text });
            Problem { place: Some(Place::new(&source, at..at + 1)), subject: String::new(), message }
        };
        const UTF_32: &str = "this file is in UTF-32; expected UTF-8: convert it, `iconv -f UTF-32 -t UTF-8`";
        if bytes.starts_with(b"\xff\xfe\0\0") || bytes.starts_with(b"\0\0\xfe\xff") {
            return Err(problem(path, String::new(), 0, UTF_32.to_owned()));
        }
        if let Some(kind) = other_kind(&bytes) {
            let message = format!("this is {kind}; expected a configuration");
            return Err(problem(path, String::new(), 0, message));
        }
        if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
            return Err(problem(path, String::new(), 0, UTF_16.to_owned()));
        }
        // Tools that add a byte order mark may add it again.
        let mut text = bytes.as_slice();
        while let Some(rest) = text.strip_prefix(b"\xef\xbb\xbf") {
            text = rest;
        }
        let bytes = text.to_vec();
        if let Some(at) = bytes.iter().position(|byte| *byte == 0) {
            let message = if bytes.starts_with(b"\0asm") {
                "this is a WebAssembly file; expected a configuration: put plugins into plugin_dir".to_owned()
            } else if is_wide(&bytes, 4) {
                UTF_32.to_owned()
            } else if is_wide(&bytes, 2) {
                UTF_16.to_owned()
            } else {
                "found a NUL byte; expected text: the file may be damaged, by a crash or a full disk".to_owned()
            };
            let before = String::from_utf8_lossy(&bytes[..at]).into_owned();
            let place = before.len();
            return Err(problem(path, before + &String::from_utf8_lossy(&bytes[at..]), place, message));
        }
        String::from_utf8(bytes).map(|text| Source { path: path.clone(), text }).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            let bytes = error.into_bytes();
            let message = format!(
                "the byte 0x{:02X} is not UTF-8; expected text in UTF-8: if the file is in Latin-1, convert it, \
                 `iconv -f LATIN1 -t UTF-8`",
                bytes[at]
            );
            problem(path, String::from_utf8_lossy(&bytes).into_owned(), at, message)
        })
    }
}

/// The kind of a binary file, by its first bytes.
fn other_kind(bytes: &[u8]) -> Option<&'static str> {
    const KINDS: [(&[u8], &str); 6] = [
        (b"\x7fELF", "a program"),
        (b"\x1f\x8b", "a file compressed with gzip"),
        (b"\x28\xb5\x2f\xfd", "a file compressed with zstd"),
        (b"\xfd7zXZ", "a file compressed with xz"),
        (b"BZh", "a file compressed with bzip2"),
        (b"PK\x03\x04", "a ZIP archive"),
    ];
    KINDS.iter().find(|(start, _)| bytes.starts_with(start)).map(|(_, kind)| *kind)
}

/// Whether it is text with `width` bytes per character, of which all but one are nearly always 0.
fn is_wide(bytes: &[u8], width: usize) -> bool {
    let zeros = |at: usize| bytes.iter().skip(at).step_by(width).filter(|byte| **byte == 0).count();
    let characters = bytes.len() / width;
    let mostly_zero = |at: &usize| zeros(*at) * 10 >= characters * 9;
    let columns = (0..width).filter(mostly_zero).count();
    characters > 0 && columns == width - 1
}

/// A range of text in a file.
#[derive(Clone)]
pub struct Place {
    source: Arc<Source>,
    span: Range<usize>,
}

impl Place {
    /// `span` is in bytes, and is clamped to the text.
    pub(crate) fn new(source: &Arc<Source>, span: Range<usize>) -> Self {
        let boundary = |at: usize| source.text.floor_char_boundary(at.min(source.text.len()));
        let start = boundary(span.start);
        Place { source: Arc::clone(source), span: start..boundary(span.end).max(start) }
    }

    /// The file's path.
    pub fn file(&self) -> &std::path::Path {
        &self.source.path
    }

    /// The line of its first character, from 1.
    pub fn line(&self) -> usize {
        1 + self.source.text[..self.span.start].matches('\n').count()
    }

    /// The column of its first character, in characters, from 1.
    pub fn column(&self) -> usize {
        1 + self.source.text[self.line_start()..self.span.start].chars().count()
    }

    /// The first line of the text at the place.
    pub(crate) fn text(&self) -> &str {
        self.source.text[self.span.clone()].lines().next().unwrap_or_default()
    }

    fn line_start(&self) -> usize {
        self.source.text[..self.span.start].rfind('\n').map_or(0, |newline| newline + 1)
    }

    /// Bytes from the beginning of the file, for sorting.
    pub(crate) fn offset(&self) -> usize {
        self.span.start
    }

    /// The source line with carets below the place. A long line is cut around the place.
    pub(crate) fn excerpt(&self) -> String {
        /// Characters shown before and after the start of the place.
        const AROUND: (usize, usize) = (80, 120);
        let start = self.line_start();
        let line = self.source.text[start..].lines().next().unwrap_or_default();
        // Tabs stay, so that the carets align whatever their width. Other control characters must not reach a terminal.
        let line: Vec<char> = without_secrets(&self.source.text[..start], line)
            .chars()
            .map(|c| if c == '\t' { c } else { printable(c) })
            .collect();
        let column = self.source.text[start..self.span.start].chars().count();
        let (from, to) = (column.saturating_sub(AROUND.0).min(line.len()), (column + AROUND.1).min(line.len()));
        let (before, behind) = (if from > 0 { "..." } else { "" }, if to < line.len() { "..." } else { "" });
        let shown: String = line[from..to].iter().collect();
        let blank = |c: &char| if *c == '\t' { '\t' } else { ' ' };
        let pad: String = before.chars().map(|_| ' ').chain(line[from..column.min(to)].iter().map(blank)).collect();
        let number = self.line().to_string();
        let margin = " ".repeat(number.len());
        let carets = "^".repeat(self.text().chars().count().clamp(1, (to - from).max(1)));
        format!("  {number} | {before}{shown}{behind}\n  {margin} | {pad}{carets}")
    }
}

/// Replaces a character that would drive a terminal or change the order of the text.
pub(crate) fn printable(c: char) -> char {
    if is_unprintable(c) { '\u{fffd}' } else { c }
}

/// `file:line:column`
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.source.path.display(), self.line(), self.column())
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({self})")
    }
}
