//! The files as they were read, and places in them.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// One file's path and text.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub path: PathBuf,
    pub text: String,
}

/// A stretch of a file.
#[derive(Clone)]
pub struct Place {
    source: Arc<Source>,
    span: Range<usize>,
}

impl Place {
    /// `span` in bytes; what lies outside the text is pulled in.
    pub(crate) fn new(source: &Arc<Source>, span: Range<usize>) -> Self {
        let boundary = |at: usize| source.text.floor_char_boundary(at.min(source.text.len()));
        let start = boundary(span.start);
        Place { source: Arc::clone(source), span: start..boundary(span.end).max(start) }
    }

    pub fn file(&self) -> &std::path::Path {
        &self.source.path
    }

    /// From 1.
    pub fn line(&self) -> usize {
        1 + self.source.text[..self.span.start].matches('\n').count()
    }

    /// In characters, from 1.
    pub fn column(&self) -> usize {
        1 + self.source.text[self.line_start()..self.span.start].chars().count()
    }

    /// The text at the place; only its first line.
    pub(crate) fn text(&self) -> &str {
        self.source.text[self.span.clone()].lines().next().unwrap_or_default()
    }

    fn line_start(&self) -> usize {
        self.source.text[..self.span.start].rfind('\n').map_or(0, |newline| newline + 1)
    }

    /// The source line and, below it, carets under the place.
    pub(crate) fn excerpt(&self) -> String {
        let start = self.line_start();
        let line = self.source.text[start..].lines().next().unwrap_or_default();
        // Tabs stay, so that the caret stands right whatever their width; other control characters must not reach a
        // terminal.
        let shown = |c: char| if c.is_control() && c != '\t' { '\u{fffd}' } else { c };
        let line: String = without_password(line).chars().map(shown).collect();
        let before = self.source.text[start..self.span.start].chars();
        let pad: String = before.map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        let number = self.line().to_string();
        let margin = " ".repeat(number.len());
        let carets = "^".repeat(self.text().chars().count().max(1));
        format!("  {number} | {line}\n  {margin} | {pad}{carets}")
    }
}

/// The line with stars for what is assigned to `password`: errors are logged.
fn without_password(line: &str) -> String {
    const KEY: &str = "password";
    let Some(after_key) = line.find(KEY).map(|at| at + KEY.len()) else { return line.to_owned() };
    let Some(equals) = line[after_key..].find('=').map(|at| after_key + at + 1) else { return line.to_owned() };
    let start = equals + line[equals..].len() - line[equals..].trim_start().len();
    let value = &line[start..];
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''));
    let end = match quote {
        Some(quote) => value[1..].find(quote).map(|at| 1 + at + 1),
        None => value.find([',', '}', ' ']),
    };
    let (secret, rest) = value.split_at(end.unwrap_or(value.len()));
    format!("{}{}{rest}", &line[..start], "*".repeat(secret.chars().count()))
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
