//! Reads a parsed TOML document key by key. The caller takes the keys that it knows; those left over are unknown. Reading never
//! stops at a problem: it is noted, and the key counts as absent.

use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use vouchd_printable::is_unprintable;

use crate::errors::Problem;
use crate::hints;
use crate::quantity::{format_duration, format_size, meant_duration, parse_duration, parse_size};
use crate::secrets::{is_secret, is_secret_value};
use crate::source::{Place, Source};
use crate::syntax::truth;

/// The problems found so far.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    pub(crate) errors: Vec<Problem>,
    pub(crate) warnings: Vec<Problem>,
    /// There are more errors than reported.
    pub(crate) has_more: bool,
}

impl Problems {
    pub(crate) fn error(&mut self, place: Place, subject: impl Into<String>, message: impl Into<String>) {
        self.errors.push(Problem { place: Some(place), subject: subject.into(), message: message.into() });
    }

    pub(crate) fn warn(&mut self, place: Place, subject: impl Into<String>, message: impl Into<String>) {
        self.warnings.push(Problem { place: Some(place), subject: subject.into(), message: message.into() });
    }
}

/// A table that is being read.
pub(crate) struct Table<'a> {
    source: &'a Arc<Source>,
    /// Dotted, from the root; empty for the root.
    path: String,
    /// The place of the table's name.
    place: Place,
    /// In file order.
    entries: Vec<(&'a str, Value<'a>)>,
    asked: Vec<&'static str>,
}

/// One value, with its place and its dotted name.
#[derive(Clone)]
pub(crate) struct Value<'a> {
    source: &'a Arc<Source>,
    pub(crate) path: String,
    key: Range<usize>,
    span: Range<usize>,
    value: &'a DeValue<'a>,
}

impl<'a> Table<'a> {
    pub(crate) fn root(source: &'a Arc<Source>, table: &'a DeTable<'a>) -> Self {
        Table::new(source, String::new(), Place::new(source, 0..0), table)
    }

    fn new(source: &'a Arc<Source>, path: String, place: Place, table: &'a DeTable<'a>) -> Self {
        let mut entries: Vec<_> = table
            .iter()
            .map(|(key, value)| {
                let name: &'a str = key.get_ref();
                let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
                let value = Value { source, path, key: key.span(), span: value.span(), value: value.get_ref() };
                (name, value)
            })
            .collect();
        // The parser sorts by name.
        entries.sort_by_key(|(_, value)| value.key.start);
        Table { source, path, place, entries, asked: Vec::new() }
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    pub(crate) fn place(&self) -> Place {
        self.place.clone()
    }

    /// Takes the value of an optional key.
    pub(crate) fn take(&mut self, key: &'static str) -> Option<Value<'a>> {
        self.asked.push(key);
        let at = self.entries.iter().position(|(name, _)| *name == key)?;
        Some(self.entries.remove(at).1)
    }

    /// Returns the value of a key without taking it.
    pub(crate) fn peek(&self, key: &str) -> Option<&Value<'a>> {
        self.entries.iter().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// Takes the value of a required key; `meaning` says what to write.
    pub(crate) fn require(&mut self, key: &'static str, meaning: &str, problems: &mut Problems) -> Option<Value<'a>> {
        let value = self.take(key);
        if value.is_none() {
            problems.error(self.place(), self.path.clone(), format!("`{key}` is missing; expected {meaning}"));
        }
        value
    }

    /// Takes everything, for a table whose keys are names chosen by the operator.
    pub(crate) fn into_entries(self) -> Vec<(&'a str, Value<'a>)> {
        self.entries
    }

    /// Reports the keys that were not taken.
    pub(crate) fn finish(self, problems: &mut Problems) {
        for (name, value) in &self.entries {
            let message =
                format!("unknown key{}; expected one of: {}", hints::for_key(name, &self.asked), self.asked.join(", "));
            problems.error(Place::new(self.source, value.key.clone()), value.path.clone(), message);
        }
    }
}

impl<'a> Value<'a> {
    pub(crate) fn place(&self) -> Place {
        Place::new(self.source, self.span.clone())
    }

    /// The place of a part of a string, in bytes of the string. The whole string if it is written with escapes.
    pub(crate) fn part(&self, span: Range<usize>) -> Place {
        let written = self.source.text.get(self.span.clone()).unwrap_or_default();
        let DeValue::String(text) = self.value else { return self.place() };
        let quotes = written.len().saturating_sub(text.len()) / 2;
        if written.get(quotes..written.len() - quotes) != Some(text) {
            return self.place();
        }
        let start = self.span.start + quotes;
        Place::new(self.source, start + span.start..start + span.end)
    }

    /// The place of the key.
    pub(crate) fn key_place(&self) -> Place {
        Place::new(self.source, self.key.clone())
    }

    pub(crate) fn get(&self) -> &'a DeValue<'a> {
        self.value
    }

    /// `instance.web.priority = 256`; without the value if it is a table, a list or a secret.
    pub(crate) fn subject(&self) -> String {
        if is_secret(&self.path) {
            return self.path.clone();
        }
        match self.value {
            DeValue::Table(_) | DeValue::Array(_) => self.path.clone(),
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_) => {
                let place = self.place();
                let text = place.text();
                if is_secret_value(&self.path, text) {
                    return self.path.clone();
                }
                let shown: String = text.chars().filter(|c| !is_unprintable(*c)).take(80).collect();
                format!("{} = {shown}{}", self.path, if text.chars().nth(80).is_some() { "..." } else { "" })
            }
        }
    }

    pub(crate) fn error(&self, message: impl Into<String>, problems: &mut Problems) {
        problems.error(self.place(), self.subject(), message);
    }

    pub(crate) fn warn(&self, message: impl Into<String>, problems: &mut Problems) {
        problems.warn(self.place(), self.subject(), message);
    }

    /// The boolean that a string or number probably means.
    fn meant_truth(&self) -> Option<bool> {
        match self.value {
            DeValue::String(text) => truth(text),
            DeValue::Integer(number) => match number.as_str() {
                "0" => Some(false),
                "1" => Some(true),
                _ => None,
            },
            DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
                None
            }
        }
    }

    fn wrong_type(&self, expected: impl Display, problems: &mut Problems) {
        self.error(format!("expected {expected}, found {}", self.kind()), problems);
    }

    fn kind(&self) -> &'static str {
        match self.value {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number with a fraction",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        }
    }

    /// `expected` describes the string, in case the value is none.
    pub(crate) fn string(&self, expected: &str, problems: &mut Problems) -> Option<&'a str> {
        let DeValue::String(text) = self.value else {
            self.wrong_type(expected, problems);
            return None;
        };
        Some(text)
    }

    pub(crate) fn boolean(&self, problems: &mut Problems) -> Option<bool> {
        let DeValue::Boolean(value) = self.value else {
            match self.meant_truth() {
                Some(truth) => self.error(
                    format!("expected true or false, found {}; write {truth}, without quotes", self.kind()),
                    problems,
                ),
                None => self.wrong_type("true or false", problems),
            }
            return None;
        };
        Some(*value)
    }

    /// Reads one of several words.
    pub(crate) fn choice<T: Clone>(&self, words: &[(&str, T)], problems: &mut Problems) -> Option<T> {
        let known = words.iter().map(|(word, _)| format!("{word:?}")).collect::<Vec<_>>().join(" or ");
        let text = self.string(&known, problems)?;
        let found = words.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let lower = words.iter().any(|(word, _)| word.eq_ignore_ascii_case(text));
            self.error(format!("expected {known}{}", if lower { ", in lower case" } else { "" }), problems);
        }
        found.map(|(_, value)| value.clone())
    }

    /// Reads a whole number; `note` follows the range in an error.
    pub(crate) fn integer(&self, range: RangeInclusive<i64>, note: &str, problems: &mut Problems) -> Option<i64> {
        let expected = format!("a whole number from {} to {}{note}", range.start(), range.end());
        let DeValue::Integer(number) = self.value else {
            match self.value.as_str().filter(|text| text.parse::<i64>().is_ok()) {
                Some(digits) => {
                    self.error(
                        format!("expected {expected}, found a string; write {digits}, without quotes"),
                        problems,
                    );
                }
                None => self.wrong_type(expected, problems),
            }
            return None;
        };
        let value = i64::from_str_radix(number.as_str(), number.radix()).ok().filter(|n| range.contains(n));
        if value.is_none() {
            self.error(format!("expected {expected}"), problems);
        }
        value
    }

    /// Reads a whole number whose range fits the type.
    pub(crate) fn number<T: TryFrom<i64>>(&self, range: RangeInclusive<i64>, problems: &mut Problems) -> Option<T> {
        self.integer(range, "", problems).and_then(|n| T::try_from(n).ok())
    }

    pub(crate) fn duration(&self, range: RangeInclusive<Duration>, problems: &mut Problems) -> Option<Duration> {
        let (low, high) = (format_duration(*range.start()), format_duration(*range.end()));
        self.duration_that(&format!(" from {low} to {high}"), |d| range.contains(&d).then_some(d), problems)
    }

    /// Reads a duration that `accept` accepts; `range` describes those and follows "a duration with its unit" in an error.
    pub(crate) fn duration_that<T>(
        &self,
        range: &str,
        accept: impl Fn(Duration) -> Option<T>,
        problems: &mut Problems,
    ) -> Option<T> {
        let expected = format!("a duration with its unit (\"500ms\", \"1s\", \"2m\", \"1h\"){range}");
        let text = self.string(&expected, problems)?;
        let value = parse_duration(text).and_then(&accept);
        if value.is_none() {
            let meant = meant_duration(text).filter(|meant| accept(*meant).is_some()).map(format_duration);
            let meant =
                meant.map(|meant| format!("; write {meant:?}, a whole number and one unit")).unwrap_or_default();
            self.error(format!("expected {expected}{meant}"), problems);
        }
        value
    }

    /// Reads a size in bytes.
    pub(crate) fn size(&self, range: RangeInclusive<u64>, problems: &mut Problems) -> Option<u64> {
        let (low, high) = (format_size(*range.start()), format_size(*range.end()));
        let expected = format!("a size with its unit (\"64KiB\", \"16MiB\") from {low} to {high}");
        let text = self.string(&expected, problems)?;
        let value = parse_size(text).filter(|n| range.contains(n));
        if value.is_none() {
            self.error(format!("expected {expected}"), problems);
        }
        value
    }

    /// Reads the items of a list, each with its own place.
    pub(crate) fn list(&self, expected: &str, problems: &mut Problems) -> Option<Vec<Value<'a>>> {
        let DeValue::Array(items) = self.value else {
            match self.value {
                DeValue::String(_) => {
                    let place = self.place();
                    let text = if is_secret_value(&self.path, place.text()) { "..." } else { place.text() };
                    self.error(
                        format!("expected {expected}, found a string; write it in brackets, [{text}]"),
                        problems,
                    );
                }
                _ => self.wrong_type(expected, problems),
            }
            return None;
        };
        Some(items.iter().enumerate().map(|(n, item)| self.item(n, item)).collect())
    }

    fn item(&self, n: usize, item: &'a Spanned<DeValue<'a>>) -> Value<'a> {
        let path = format!("{}[{n}]", self.path);
        Value { source: self.source, path, key: item.span(), span: item.span(), value: item.get_ref() }
    }

    pub(crate) fn table(&self, expected: &str, problems: &mut Problems) -> Option<Table<'a>> {
        let DeValue::Table(table) = self.value else {
            self.wrong_type(expected, problems);
            return None;
        };
        Some(Table::new(self.source, self.path.clone(), self.key_place(), table))
    }
}
