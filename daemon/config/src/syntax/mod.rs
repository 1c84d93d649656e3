//! What is wrong with a file that is not TOML, in words about what was meant.

mod format;
mod line;

pub(crate) use line::truth;

use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;
use toml::de::DeTable;

use crate::reader::Problems;
use crate::source::{Place, Source, printable};

/// Of one file; who has made more mistakes has made the same one again and again.
const MOST_ERRORS: usize = 20;

/// None with an error for each line that can't be read.
pub(crate) fn parse<'a>(source: &'a Arc<Source>, problems: &mut Problems) -> Option<Spanned<DeTable<'a>>> {
    let (document, errors) = DeTable::parse_recoverable(&source.text);
    if errors.is_empty() {
        return Some(document);
    }
    if let Some((span, message)) = format::other_than_toml(&source.text) {
        problems.error(Place::new(source, span), "", message);
        return None;
    }
    let mut told = Vec::new();
    for error in &errors {
        let span = error.span().unwrap_or(0..0);
        let lines = line_around(&source.text, span.start);
        // What follows on the same line comes of the same mistake.
        if told.contains(&lines.start) || told.len() == MOST_ERRORS {
            continue;
        }
        told.push(lines.start);
        let text = &source.text[lines.clone()];
        let at = span.start.clamp(lines.start, lines.end) - lines.start;
        match line::explain(text, at) {
            Some((within, message)) => {
                let span = lines.start + within.start..lines.start + within.end;
                let message: String = message.chars().map(printable).collect();
                problems.error(Place::new(source, span), "", message);
            }
            None => problems.error(Place::new(source, span), "", format!("not TOML: {}", error.message())),
        }
    }
    None
}

/// The line that the byte is in, without its end.
fn line_around(text: &str, at: usize) -> Range<usize> {
    let at = text.floor_char_boundary(at.min(text.len()));
    let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let end = text[at..].find('\n').map_or(text.len(), |newline| at + newline);
    start..start + text[start..end].trim_end_matches('\r').len()
}
