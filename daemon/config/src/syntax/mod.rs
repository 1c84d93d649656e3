//! What is wrong with a file that is not TOML, in words about what was meant.

mod format;
mod line;

pub(crate) use line::truth;

use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, Error};

use crate::errors::Problem;
use crate::reader::Problems;
use crate::source::{Place, Source};

/// Of one file; who has made more mistakes has made the same one again and again.
const MOST_ERRORS: usize = 20;

/// How often the parser gets what is left of a file.
const ROUNDS: usize = 3;

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
    collect(source, &source.text, &errors, &mut told);
    // The parser skips what follows some mistakes: it gets the rest again without those lines.
    for _ in 0..ROUNDS {
        let mut rest = source.text.clone();
        for mistake in &told {
            rest.replace_range(mistake.line.clone(), &comment(mistake.line.len()));
        }
        let (_, errors) = DeTable::parse_recoverable(&rest);
        let before = told.len();
        let mut more = Vec::new();
        collect(source, &rest, &errors, &mut more);
        // Without a line, the one after it may make no sense: only what is clearly a mistake of its own counts.
        more.retain(|mistake| mistake.is_explained && source.text[mistake.line.clone()].contains('='));
        told.extend(more);
        if told.len() == before {
            break;
        }
    }
    told.sort_by_key(|mistake| mistake.line.start);
    problems.errors.extend(told.into_iter().map(|mistake| mistake.problem).take(MOST_ERRORS));
    None
}

fn collect(source: &Arc<Source>, text: &str, errors: &[Error], told: &mut Vec<Mistake>) {
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        let line = line_around(text, span.start);
        // What follows on the same line comes of the same mistake.
        if told.len() >= MOST_ERRORS || told.iter().any(|other| other.line.start == line.start) {
            continue;
        }
        let at = span.start.clamp(line.start, line.end) - line.start;
        let explained = line::explain(&source.text[..line.start], &text[line.clone()], at);
        let is_explained = explained.is_some();
        let (span, message) = match explained {
            Some((within, message)) => (line.start + within.start..line.start + within.end, message),
            None => (span, format!("not TOML: {}", error.message())),
        };
        let problem = Problem { place: Some(Place::new(source, span)), subject: String::new(), message };
        told.push(Mistake { line, problem, is_explained });
    }
}

/// A line that can't be read.
struct Mistake {
    line: Range<usize>,
    problem: Problem,
    /// In words about what was meant.
    is_explained: bool,
}

/// As many bytes that say nothing.
fn comment(length: usize) -> String {
    "#".repeat(length)
}

/// The line that the byte is in, without its end.
fn line_around(text: &str, at: usize) -> Range<usize> {
    let at = text.floor_char_boundary(at.min(text.len()));
    let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let end = text[at..].find('\n').map_or(text.len(), |newline| at + newline);
    start..start + text[start..end].trim_end_matches('\r').len()
}
