//! What was probably meant by a line that is not TOML.

use std::ops::Range;

use super::format;
use crate::{hints, secrets};

/// Returns the place in the line and what to write there. `before` is the file up to this line, `at` where the parser failed.
/// `None` if the parser's message is the best one.
pub(super) fn explain(before: &str, line: &str, at: usize) -> Option<(Range<usize>, String)> {
    let code = Code::of(line);
    left_over(&code)
        .or_else(|| odd_sign(&code))
        .or_else(|| comment(&code))
        .or_else(|| keepalived(&code))
        .or_else(|| header(&code))
        .or_else(|| colon(&code))
        .or_else(|| unquoted(&code, at, secrets::without_secrets(before, line) != line))
        .or_else(|| unclosed(&code))
        .or_else(|| no_value(&code))
}

/// The characters of a line that are neither in quotes nor in a comment. `None` if a string does not end on it.
pub(super) fn bare(line: &str) -> Option<Vec<(usize, char)>> {
    let code = Code::of(line);
    code.unclosed.is_none().then_some(code.bare)
}

/// A line, and its characters that are neither in quotes nor in a comment.
struct Code<'a> {
    line: &'a str,
    /// Byte positions and characters.
    bare: Vec<(usize, char)>,
    /// The start of a string that does not end on this line.
    unclosed: Option<usize>,
}

impl<'a> Code<'a> {
    fn of(line: &'a str) -> Self {
        let mut code = Code { line, bare: Vec::new(), unclosed: None };
        let mut escaped = false;
        let mut within: Option<(usize, char)> = None;
        for (at, c) in line.char_indices() {
            match within {
                Some((_, quote)) => {
                    if c == quote && !escaped {
                        within = None;
                    }
                    escaped = c == '\\' && quote == '"' && !escaped;
                }
                None if matches!(c, '"' | '\'') => within = Some((at, c)),
                None if c == '#' => break,
                None => code.bare.push((at, c)),
            }
        }
        code.unclosed = within.map(|(at, _)| at);
        code
    }

    fn find(&self, is: impl Fn(char) -> bool) -> Option<(usize, char)> {
        self.bare.iter().copied().find(|(_, c)| is(*c))
    }

    /// The position of `text` outside of strings.
    fn find_text(&self, text: &str) -> Option<usize> {
        let starts: Vec<usize> = self.bare.iter().map(|(at, _)| *at).collect();
        self.line.match_indices(text).map(|(at, _)| at).find(|at| starts.contains(at))
    }

    /// The word around a byte, up to whitespace, commas, brackets, quotes and `=`.
    fn word_at(&self, at: usize) -> Option<Range<usize>> {
        let ends = |c: char| c.is_whitespace() || matches!(c, ',' | '[' | ']' | '{' | '}' | '"' | '\'' | '=' | '#');
        let at = self.line.floor_char_boundary(at.min(self.line.len()));
        // The parser may have failed at the end of the word.
        let at = if self.line[at..].chars().next().is_none_or(ends) {
            self.line[..at].char_indices().next_back().filter(|(_, c)| !ends(*c)).map_or(at, |(before, _)| before)
        } else {
            at
        };
        let start = self.line[..at].char_indices().rev().find(|(_, c)| ends(*c)).map_or(0, |(at, c)| at + c.len_utf8());
        let end = self.line[at..].find(ends).map_or(self.line.len(), |length| at + length);
        let is_bare = |word: &Range<usize>| self.bare.iter().any(|(at, _)| *at == word.start);
        Some(start..end).filter(|word| word.start < word.end && is_bare(word))
    }
}

type Advice = Option<(Range<usize>, String)>;

/// What another program should have removed: merge conflict markers, template syntax, variables.
fn left_over(code: &Code<'_>) -> Advice {
    let all = || 0..code.line.len();
    if format::is_merge_mark(code.line) {
        let message = "this is a merge conflict marker; keep one of the two sides and remove the markers";
        return Some((all(), message.to_owned()));
    }
    let bare: String = code.bare.iter().map(|(_, c)| *c).collect();
    if format::is_template(&bare) {
        return Some((all(), "this is template syntax; expected the rendered file".to_owned()));
    }
    let at = code.find_text("${")?;
    let end = code.line[at..].find('}').map_or(code.line.len(), |length| at + length + 1);
    Some((at..end, "variables are not replaced in this file; expected the value itself".to_owned()))
}

fn odd_sign(code: &Code<'_>) -> Advice {
    const QUOTES: [char; 12] = ['“', '”', '„', '‟', '‘', '’', '‚', '‛', '«', '»', '″', '＂'];
    if let Some((at, quote)) = code.find(|c| QUOTES.contains(&c)) {
        let message = format!("{quote} is a typographic quotation mark; expected a plain one, \"");
        return Some((at..at + quote.len_utf8(), message));
    }
    const DASHES: [char; 4] = ['–', '—', '−', '‐'];
    if let Some((at, dash)) = code.find(|c| DASHES.contains(&c)) {
        return Some((at..at + dash.len_utf8(), format!("{dash} is a typographic dash; expected a plain one, -")));
    }
    let is_blank = |c: char| {
        c.is_whitespace() && !matches!(c, ' ' | '\t' | '\r')
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    let (at, blank) = code.find(is_blank)?;
    let message =
        format!("U+{:04X} looks like a space or is invisible; expected a plain space or nothing", u32::from(blank));
    Some((at..at + blank.len_utf8(), message))
}

fn comment(code: &Code<'_>) -> Advice {
    let first = code.find(|c| !c.is_whitespace())?;
    let mark =
        |at: usize, mark: &str| Some((at..at + mark.len(), format!("{mark} does not begin a comment; expected #")));
    for sign in ["//", "/*", "*/", "--", ";", "!"] {
        if code.line[first.0..].starts_with(sign) {
            return mark(first.0, sign);
        }
    }
    for sign in [" //", "\t//", " /*", " ;", "\t;"] {
        if let Some(at) = code.find_text(sign) {
            return mark(at + 1, &sign[1..]);
        }
    }
    // `priority = 100; # ...`, as other formats end a line.
    let (at, last) = code.bare.iter().rev().copied().find(|(_, c)| !c.is_whitespace())?;
    let is_end = code.line[at + last.len_utf8()..].trim_start();
    (last == ';' && (is_end.is_empty() || is_end.starts_with('#')))
        .then(|| (at..at + 1, "found ; at the end of a line; remove it".to_owned()))
}

/// `nopreempt`, `advert_int 1`, `virtual_ipaddress {`
fn keepalived(code: &Code<'_>) -> Advice {
    let start = code.find(|c| !c.is_whitespace())?.0;
    let end = code.line[start..]
        .find(|c: char| c.is_whitespace() || c == '{')
        .map_or(code.line.len(), |length| start + length);
    let rest = code.line[end..].trim_start();
    if rest.starts_with(['=', '.', ':']) || code.line[start..end].contains(['=', '[', '"', '\'']) {
        return None;
    }
    let word = &code.line[start..end];
    let hint = hints::for_keepalived(word)?;
    Some((start..end, format!("{word} is not TOML{hint}")))
}

/// `[instance web]`, `[instance.web`
fn header(code: &Code<'_>) -> Advice {
    let start = code.find(|c| !c.is_whitespace()).filter(|(_, c)| *c == '[')?.0;
    let line = code.line[start..].trim_end();
    if line.contains([',', '=', '"', '\'']) || line.starts_with("[[") {
        return None;
    }
    let (name, closed) = match line[1..].split_once(']') {
        Some((name, _)) => (name.trim(), true),
        None => (line[1..].trim(), false),
    };
    let words: Vec<&str> = name.split_whitespace().collect();
    let is_word = |word: &&str| word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
    if words.is_empty() || !words.iter().all(is_word) {
        return None;
    }
    let range = start..start + line.len();
    match (words.as_slice(), closed) {
        ([kind, name], _) => Some((range, format!("expected a dot and no space in a table's name: [{kind}.{name}]"))),
        ([name], false) => Some((range, format!("expected ] at the end of a table's name: [{name}]"))),
        (_, _) => None,
    }
}

/// `priority: 100`, also within `{ }`
fn colon(code: &Code<'_>) -> Advice {
    let is_sign = |c: char| matches!(c, '_' | '-' | '.' | '"');
    code.bare.iter().filter(|(_, c)| *c == ':').find_map(|(at, _)| {
        let before = &code.line[..*at];
        let start = before.trim_end_matches(|c: char| c.is_alphanumeric() || is_sign(c)).len();
        let key = &before[start..];
        let begins = before[..start].trim_end();
        let is_key = !key.is_empty() && (begins.is_empty() || begins.ends_with(['{', ',']) && begins.contains('{'));
        let key = shown_key(key);
        is_key.then(|| (*at..at + 1, format!("expected = between a key and its value: {key} = ...")))
    })
}

/// A value without the quotes that it needs, or a word for true or false.
fn unquoted(code: &Code<'_>, at: usize, is_secret: bool) -> Advice {
    let equals = code.find(|c| c == '=').map(|(at, _)| at);
    let after_equals = equals.map(|at| at + 1 + code.line[at + 1..].len() - code.line[at + 1..].trim_start().len());
    let found = code.word_at(at).filter(|word| equals.is_none_or(|equals| word.start > equals));
    let range = found.or_else(|| code.word_at(after_equals?))?;
    let word = &code.line[range.clone()];
    // `true` itself is no mistake.
    let is_item = code.line.trim_end().ends_with(',') || word.starts_with(|c: char| c.is_ascii_digit());
    if equals.is_none() && !is_item || matches!(word, "true" | "false" | "inf" | "nan") {
        return None;
    }
    let key = equals.map(|at| code.line[..at].trim()).unwrap_or_default();
    // The word may be the password.
    let shown = if is_secret { "..." } else { word };
    let is_address = word.contains('.') && word.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | '/' | ':'));
    let is_v6 =
        word.matches(':').count() >= 2 && word.chars().all(|c| c.is_ascii_hexdigit() || matches!(c, ':' | '/' | '.'));
    let starts_with_digit = word.starts_with(|c: char| c.is_ascii_digit());
    let message = if is_address && word.matches('.').count() > 1 || is_v6 {
        format!("expected quotes around an address: \"{shown}\"")
    } else if starts_with_digit && word.ends_with(|c: char| c.is_ascii_alphabetic()) {
        format!("expected quotes around a number with a unit: \"{shown}\"")
    } else if word.starts_with(|c: char| c.is_alphabetic() || c == '/' || c == '_' || c == '*') {
        match truth(word).filter(|_| !is_secret && !matches!(key, "lease" | "cache_dir")) {
            Some(truth) => format!("expected true or false, in lower case and without quotes: {truth} for {word}"),
            None => format!("expected quotes around a string: \"{shown}\""),
        }
    } else {
        return None;
    };
    Some((range, message))
}

/// The boolean that another word for true or false means.
pub(crate) fn truth(word: &str) -> Option<bool> {
    match word.to_ascii_lowercase().as_str() {
        "yes" | "on" | "true" | "y" | "enable" | "enabled" => Some(true),
        "no" | "off" | "false" | "n" | "disable" | "disabled" => Some(false),
        _ => None,
    }
}

fn unclosed(code: &Code<'_>) -> Advice {
    let start = code.unclosed?;
    // Three quotes begin a multi-line string.
    let rest = &code.line[start..];
    let multiline = code.line.contains("\"\"\"") || code.line.contains("'''");
    (!multiline).then(|| {
        (start..code.line.len(), format!("this string is not closed; expected another {} on this line", &rest[..1]))
    })
}

/// A value may stand where a key belongs.
fn shown_key(key: &str) -> &str {
    if secrets::looks_like_key(key) { "name" } else { key }
}

/// `priority 100`, `priority =`
fn no_value(code: &Code<'_>) -> Advice {
    let trimmed = code.line.trim();
    if trimmed.starts_with(['[', ']', '}', '{']) || code.find(|c| c == '{').is_some() && !trimmed.contains('=') {
        let brace = code.find(|c| c == '{')?.0;
        return (!trimmed.starts_with('[')).then(|| {
            (brace..brace + 1, "expected a table's name in brackets, [instance.web], or key = value".to_owned())
        });
    }
    let start = code.find(|c| !c.is_whitespace())?.0;
    let end =
        start + code.line[start..].find(|c: char| c.is_whitespace() || c == '=').unwrap_or(code.line.len() - start);
    let key = &code.line[start..end];
    let rest = code.line[end..].trim_start();
    let is_key = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
    let value = rest.strip_prefix('=').map(str::trim_start);
    let key = shown_key(key);
    match value {
        _ if !is_key => None,
        Some("") => Some((start..code.line.trim_end().len(), format!("expected a value after {key} ="))),
        Some(value) if value.starts_with('#') => Some((start..end, format!("expected a value after {key} ="))),
        Some(_) => None,
        None if rest.is_empty() || rest.starts_with('#') => Some((start..end, format!("expected {key} = and a value"))),
        None => Some((start..end, format!("expected = between a key and its value: {key} = ..."))),
    }
}
