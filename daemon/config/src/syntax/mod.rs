//! Parses TOML. Explains what is wrong with a file that is not TOML by what was probably meant.

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

/// The most errors reported for one file. A file with more repeats the same mistakes.
const MAX_ERRORS: usize = 20;

/// How often the rest of a file is parsed again without the lines that were wrong.
const ROUNDS: usize = 3;

/// Parses a file. `None`, with an error for each unreadable line, if it is not TOML.
pub(crate) fn parse<'a>(source: &'a Arc<Source>, problems: &mut Problems) -> Option<Spanned<DeTable<'a>>> {
    let (document, errors) = DeTable::parse_recoverable(&source.text);
    if errors.is_empty() {
        return Some(document);
    }
    if let Some((span, message)) = format::other_than_toml(&source.text) {
        problems.error(Place::new(source, span), "", message);
        return None;
    }
    let mut found = Vec::new();
    collect(source, &source.text, &errors, &mut found);
    // The parser skips what follows some mistakes, so it gets the file again without those lines.
    for _ in 0..ROUNDS {
        let mut rest = source.text.clone();
        for mistake in &found {
            rest.replace_range(mistake.line.clone(), &comment(mistake.line.len()));
        }
        let (_, errors) = DeTable::parse_recoverable(&rest);
        let before = found.len();
        let mut more = Vec::new();
        collect(source, &rest, &errors, &mut more);
        // A line may be wrong only because the one before it was removed, so only explained mistakes count.
        more.retain(|mistake| mistake.is_explained && source.text[mistake.line.clone()].contains('='));
        found.extend(more);
        if found.len() == before {
            break;
        }
    }
    found.sort_by_key(|mistake| mistake.line.start);
    problems.has_more |= found.len() > MAX_ERRORS;
    problems.errors.extend(found.into_iter().map(|mistake| mistake.problem).take(MAX_ERRORS));
    None
}

fn collect(source: &Arc<Source>, text: &str, errors: &[Error], found: &mut Vec<Mistake>) {
    let unclosed = unclosed_list(source, text);
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        let line = line_around(text, span.start);
        // Further errors on the same line come from the same mistake.
        if found.len() > MAX_ERRORS || found.iter().any(|other| other.line.contains(&line.start)) {
            continue;
        }
        // After an unclosed list, nothing parses as intended.
        if unclosed.as_ref().is_some_and(|list| list.line.start <= line.start) {
            continue;
        }
        if error.message() == DUPLICATE
            && let Some(table) = table_again(source, text, line.start)
        {
            found.push(table);
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
        found.push(Mistake { line, problem, is_explained });
    }
    found.extend(unclosed);
}

/// The parser's message for a key or table that already exists.
const DUPLICATE: &str = "duplicate key";

/// The mistake of a table that appears twice, if the table around the line does.
fn table_again(source: &Arc<Source>, text: &str, line: usize) -> Option<Mistake> {
    let header = |line: &str| line.split('#').next().unwrap_or_default().trim().to_owned();
    let mut headers = Vec::new();
    let mut start = 0;
    for found in text.split_inclusive('\n') {
        let trimmed = found.trim_start();
        if trimmed.starts_with('[') && !trimmed.starts_with("[[") && !trimmed.contains('=') {
            headers.push((start, start + found.len() - trimmed.len(), header(found)));
        }
        start += found.len();
    }
    let next = headers.partition_point(|(start, ..)| *start <= line);
    let (start, at, again) = headers.get(next.checked_sub(1)?)?;
    let (_, first, _) = headers[..next - 1].iter().find(|(.., other)| other == again)?;
    let first = Place::new(source, *first..*first).line();
    let message = format!("{again} appears twice, first in line {first}: move its keys there, or give it another name");
    let place = Place::new(source, *at..at + again.len());
    let problem = Problem { place: Some(place), subject: String::new(), message };
    let end = headers.get(next).map_or(text.len(), |(next, ..)| next - 1);
    Some(Mistake { line: *start..end, problem, is_explained: true })
}

/// The mistake of a list that is not closed before the next `key =` or `[table]`.
fn unclosed_list(source: &Arc<Source>, text: &str) -> Option<Mistake> {
    // The start of the list, and the number of open brackets and of open inline tables, which have keys.
    let mut list: Option<(usize, usize, usize)> = None;
    let mut start = 0_usize;
    // A multi-line string may contain anything.
    if text.contains("\"\"\"") || text.contains("'''") {
        return None;
    }
    for line in text.split_inclusive('\n') {
        let Some(bare) = line::bare(line) else {
            list = None;
            start += line.len();
            continue;
        };
        let begins = bare.iter().map(|(_, c)| *c).collect::<String>();
        let begins = begins.trim();
        let is_header = begins.strip_prefix('[').is_some_and(|name| name.starts_with(char::is_alphabetic))
            && begins.ends_with(']')
            && !begins.contains(',');
        if let Some((opened, _, 0)) = list
            && (begins.contains('=') && !begins.contains(['{', '}']) || is_header)
        {
            let message = "this list is not closed; expected ] at its end";
            let problem = Problem {
                place: Some(Place::new(source, opened..opened + 1)),
                subject: String::new(),
                message: message.to_owned(),
            };
            let from = line_around(text, opened).start;
            return Some(Mistake { line: from..start.saturating_sub(1).max(from + 1), problem, is_explained: true });
        }
        let is_value = |at: usize| list.is_some() || bare.iter().any(|(other, c)| *other < at && *c == '=');
        let opens: Vec<(usize, char)> = bare.iter().copied().filter(|(at, _)| is_value(*at)).collect();
        for (at, c) in opens {
            match (c, &mut list) {
                ('[', None) => list = Some((start + at, 1, 0)),
                ('[', Some((_, brackets, _))) => *brackets += 1,
                (']', Some((_, brackets, _))) if *brackets > 1 => *brackets -= 1,
                (']', Some(_)) => list = None,
                ('{', Some((_, _, tables))) => *tables += 1,
                ('}', Some((_, _, tables))) => *tables = tables.saturating_sub(1),
                _ => {}
            }
        }
        start += line.len();
    }
    None
}

/// A mistake, with the lines that can't be parsed because of it.
struct Mistake {
    line: Range<usize>,
    problem: Problem,
    /// The message says what was probably meant, rather than repeating the parser.
    is_explained: bool,
}

/// A comment of `length` bytes.
fn comment(length: usize) -> String {
    "#".repeat(length)
}

/// The line around a byte, without its line ending.
fn line_around(text: &str, at: usize) -> Range<usize> {
    let at = text.floor_char_boundary(at.min(text.len()));
    let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let end = text[at..].find('\n').map_or(text.len(), |newline| at + newline);
    start..start + text[start..end].trim_end_matches('\r').len()
}
