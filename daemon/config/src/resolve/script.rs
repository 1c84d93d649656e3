//! Test scripts for `vouchd plugin test`: runs of a plugin, written with the keys of a check, and the expected result of each.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::check;
use crate::errors::Errors;
use crate::model::Check;
use crate::reader::{Problems, Table, Value};
use crate::source::{Place, Source};
use crate::syntax::parse;

/// A test script.
#[derive(Debug, Clone)]
pub struct Script {
    /// In order; at least one.
    pub runs: Vec<ScriptedRun>,
}

/// `[[run]]`
#[derive(Debug, Clone)]
pub struct ScriptedRun {
    /// Default: `run 3`, by its position.
    pub name: String,
    /// The check to run. Its name and what concerns more than one run have no meaning.
    pub check: Check,
    /// The server at `{peer}`.
    pub peer: Peer,
    /// The expected result.
    pub expect: Expect,
    /// The place of the `[[run]]`.
    pub place: Place,
}

/// What the server at `{peer}` does with every connection of the run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Peer {
    /// Accepts it and sends nothing.
    #[default]
    Silent,
    /// Sends this text at once.
    Sends(String),
    /// Answers an HTTP request.
    Http {
        /// The status code.
        status: u16,
        /// The body of the answer.
        body: String,
    },
}

/// The expected result of a run. What is `None` or missing may be anything.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Expect {
    /// How the run ends.
    pub ending: Option<Ending>,
    /// A part of the report's message, or of an error's reason.
    pub text: Option<String>,
    /// The values of metrics, by name.
    pub metrics: BTreeMap<String, Within>,
}

/// How a run can end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// With the verdict `pass`.
    Pass,
    /// With the verdict `warn`.
    Warn,
    /// With the verdict `fail`.
    Fail,
    /// With the verdict `fault`.
    Fault,
    /// It exceeds its timeout.
    Timeout,
    /// The check can't be carried out.
    Error,
}

impl Ending {
    const WORDS: [(&'static str, Ending); 6] = [
        ("pass", Ending::Pass),
        ("warn", Ending::Warn),
        ("fail", Ending::Fail),
        ("fault", Ending::Fault),
        ("timeout", Ending::Timeout),
        ("error", Ending::Error),
    ];
}

impl std::fmt::Display for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Ending::Pass => "pass",
            Ending::Warn => "warn",
            Ending::Fail => "fail",
            Ending::Fault => "fault",
            Ending::Timeout => "timeout",
            Ending::Error => "error",
        })
    }
}

/// A closed range of numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Within {
    /// Minus infinity if not given.
    pub min: f64,
    /// Infinity if not given.
    pub max: f64,
}

/// Reads a script. In its strings, each of `words` in braces is replaced by its value: `{peer}` by that of `peer`.
///
/// # Errors
/// All errors, each with its place.
pub fn script(path: PathBuf, text: String, words: &[(&str, String)]) -> Result<Script, Errors> {
    let source = Arc::new(Source { path, text });
    let mut problems = Problems::default();
    let Some(mut document) = parse(&source, &mut problems) else { return Err(Errors::new(problems.errors)) };
    replace_in_table(document.get_mut(), words);

    let mut root = Table::root(&source, document.get_ref());
    let runs = root.require("run", "runs, each as [[run]]", &mut problems);
    let mut listed = Vec::new();
    if let Some(runs) = runs {
        listed = runs.list("runs, each as [[run]]", &mut problems).unwrap_or_default();
        if listed.is_empty() && problems.errors.is_empty() {
            runs.error("expected at least one [[run]]", &mut problems);
        }
    }
    root.finish(&mut problems);
    let runs = listed.iter().enumerate().filter_map(|(n, value)| run(n + 1, value, &mut problems)).collect();
    if problems.errors.is_empty() { Ok(Script { runs }) } else { Err(Errors::new(problems.errors)) }
}

fn run(number: usize, value: &Value<'_>, problems: &mut Problems) -> Option<ScriptedRun> {
    let mut table = value.table("a table, [[run]]", problems)?;
    let name = table.take("name").and_then(|value| value.string("the run's name", problems)).map(str::to_owned);
    let name = name.unwrap_or_else(|| format!("run {number}"));
    let check = check::scripted(&mut table, problems);
    let peer = table.take("peer").map(|value| peer(&value, problems)).unwrap_or_default();
    let expect = table.require("expect", "the result of the run, like { verdict = \"pass\" }", problems);
    let expect = expect.map(|value| expectations(&value, problems)).unwrap_or_default();
    table.finish(problems);
    Some(ScriptedRun { name, check, peer, expect, place: value.place() })
}

fn peer(value: &Value<'_>, problems: &mut Problems) -> Peer {
    const EXPECTED: &str = "{ send = \"...\" } or { http = 200, body = \"...\" }";
    let Some(mut table) = value.table(EXPECTED, problems) else { return Peer::Silent };
    let send = table.take("send").and_then(|value| value.string("what it sends", problems));
    let status = table.take("http").and_then(|value| value.number::<u16>(100..=599, problems));
    let body = table.take("body").and_then(|value| value.string("the body of its answer", problems));
    table.finish(problems);
    match (send, status, body) {
        (Some(text), None, None) => Peer::Sends(text.to_owned()),
        (None, Some(status), body) => Peer::Http { status, body: body.unwrap_or_default().to_owned() },
        (None, None, None) => Peer::Silent,
        (Some(_), _, _) | (None, None, Some(_)) => {
            value.error(format!("expected {EXPECTED}"), problems);
            Peer::Silent
        }
    }
}

fn expectations(value: &Value<'_>, problems: &mut Problems) -> Expect {
    let Some(mut table) = value.table("a table, like { verdict = \"pass\" }", problems) else {
        return Expect::default();
    };
    let verdict = table.take("verdict").and_then(|value| value.choice(&Ending::WORDS, problems));
    let message = table.take("message").and_then(|value| value.string("a part of the message", problems));
    let error = table.take("error").and_then(|value| {
        if verdict.is_some_and(|verdict| verdict != Ending::Error) || message.is_some() {
            value
                .error("an error comes without another verdict and without a message: leave one of them out", problems);
        }
        value.string("a part of the error's reason", problems)
    });
    let metrics = table.take("metrics").and_then(|value| value.table("a table of metrics, by name", problems));
    let metrics = metrics.into_iter().flat_map(Table::into_entries);
    let metrics = metrics.filter_map(|(name, value)| Some((name.to_owned(), within(&value, problems)?))).collect();
    table.finish(problems);
    let ending = verdict.or(error.map(|_| Ending::Error));
    Expect { ending, text: message.or(error).map(str::to_owned), metrics }
}

fn within(value: &Value<'_>, problems: &mut Problems) -> Option<Within> {
    const EXPECTED: &str = "a number, or { min = 0, max = 1.5 }";
    if let Some(exactly) = number(value.get()) {
        return Some(Within { min: exactly, max: exactly });
    }
    let mut table = value.table(EXPECTED, problems)?;
    let mut end = |key, open, problems: &mut Problems| match table.take(key) {
        None => Some(open),
        Some(value) => {
            let found = number(value.get());
            if found.is_none() {
                value.error("expected a number", problems);
            }
            found
        }
    };
    let (min, max) = (end("min", f64::NEG_INFINITY, problems), end("max", f64::INFINITY, problems));
    table.finish(problems);
    Some(Within { min: min?, max: max? })
}

fn number(value: &DeValue<'_>) -> Option<f64> {
    match value {
        DeValue::Integer(number) => number.as_str().parse().ok(),
        DeValue::Float(number) => number.as_str().parse().ok(),
        DeValue::String(_) | DeValue::Boolean(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

/// Replaces words in values only. Places still refer to the original text.
fn replace_in_table(table: &mut DeTable<'_>, words: &[(&str, String)]) {
    for (_, value) in table.iter_mut() {
        replace(value.get_mut(), words);
    }
}

fn replace(value: &mut DeValue<'_>, words: &[(&str, String)]) {
    match value {
        DeValue::String(text) => {
            for (word, meaning) in words {
                let word = format!("{{{word}}}");
                if text.contains(&word) {
                    *text = text.replace(&word, meaning).into();
                }
            }
        }
        DeValue::Array(items) => items.iter_mut().for_each(|item| replace(item.get_mut(), words)),
        DeValue::Table(table) => replace_in_table(table, words),
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {}
    }
}
