//! The parameters that a plugin declares, and whether a check's `params` match them.

use serde::{Deserialize, Serialize};

use crate::CheckPlaces;
use crate::errors::Problem;
use crate::hints;
use crate::model::Check;
use crate::quantity::parse_duration;
use crate::source::Place;

/// One parameter of a plugin, as in the JSON of its custom section `vouchd:params`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Param {
    /// A name with a dot is a key in a table; `required` then applies only if the table is given.
    pub name: String,
    /// The type of its value.
    #[serde(rename = "type")]
    pub kind: ParamType,
    /// Whether several values are allowed.
    #[serde(default)]
    pub list: bool,
    /// Whether it must be given.
    #[serde(default)]
    pub required: bool,
    /// The value when it is not given, as it would be written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// The smallest allowed integer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<i64>,
    /// The largest allowed integer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<i64>,
    /// One line for the operator.
    #[serde(default)]
    pub doc: String,
}

/// The type of a parameter's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ParamType {
    /// Any string.
    Text,
    /// A whole number.
    Integer,
    /// A number, with or without a fraction.
    Number,
    /// `true` or `false`.
    Boolean,
    /// A whole number with its unit, as in [`parse_duration`].
    Duration,
    /// A table. Its keys are declared with dotted names; if none is, it accepts every key.
    Table,
    /// A type of a later version; it accepts every value.
    #[serde(other)]
    Any,
}

impl ParamType {
    /// The word for it in declarations and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            ParamType::Text => "text",
            ParamType::Integer => "integer",
            ParamType::Number => "number",
            ParamType::Boolean => "boolean",
            ParamType::Duration => "duration",
            ParamType::Table => "table",
            ParamType::Any => "any",
        }
    }
}

impl Param {
    /// Returns what was expected if `text` does not fit. Values are judged as the plugin gets them, so `"2"` is an integer.
    fn mismatch(&self, text: &str) -> Option<String> {
        let fits = match self.kind {
            ParamType::Text | ParamType::Any => true,
            ParamType::Integer => text.parse::<i128>().is_ok_and(|n| {
                self.min.is_none_or(|min| n >= i128::from(min)) && self.max.is_none_or(|max| n <= i128::from(max))
            }),
            ParamType::Number => text.parse::<f64>().is_ok(),
            ParamType::Boolean => matches!(text, "true" | "false"),
            ParamType::Duration => parse_duration(text).is_some(),
            ParamType::Table => false,
        };
        (!fits).then(|| self.expected())
    }

    fn expected(&self) -> String {
        match self.kind {
            ParamType::Text => "a string".to_owned(),
            ParamType::Integer => match (self.min, self.max) {
                (Some(min), Some(max)) => format!("a whole number from {min} to {max}"),
                (Some(min), None) => format!("a whole number, at least {min}"),
                (None, Some(max)) => format!("a whole number, at most {max}"),
                (None, None) => "a whole number".to_owned(),
            },
            ParamType::Number => "a number".to_owned(),
            ParamType::Boolean => "true or false".to_owned(),
            ParamType::Duration => "a duration with its unit, like \"500ms\" or \"2s\"".to_owned(),
            ParamType::Table => "a table".to_owned(),
            ParamType::Any => "a value".to_owned(),
        }
    }
}

/// The places of one parameter of a check.
#[derive(Debug, Clone)]
pub(crate) struct ParamPlaces {
    pub key: Place,
    pub value: Place,
    pub subject: String,
}

/// The parameters of a check that do not match its plugin's declaration, in the order of the file; then the missing ones.
pub(crate) fn mismatches(check: &Check, declared: &[Param], at: &CheckPlaces) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut problem = |place: &Place, subject: &str, message: String| {
        problems.push(Problem { place: Some(place.clone()), subject: subject.to_owned(), message });
    };
    for (n, ((name, text), given)) in check.params.iter().zip(&at.given).enumerate() {
        let Some(param) = nearest(declared, name) else {
            problem(&given.key, &given.subject, unknown(check, name, declared));
            continue;
        };
        if param.name != *name {
            match param.kind {
                ParamType::Any => {}
                ParamType::Table if is_open(declared, param) => {}
                ParamType::Table => problem(&given.key, &given.subject, unknown(check, name, declared)),
                ParamType::Text | ParamType::Integer | ParamType::Number | ParamType::Boolean | ParamType::Duration => {
                    problem(&given.key, &given.subject, format!("expected {}, found a table", param.expected()));
                }
            }
        } else if let Some(expected) = param.mismatch(text) {
            problem(&given.value, &given.subject, format!("expected {expected}"));
        } else if !param.list
            && param.kind != ParamType::Any
            && check.params[..n].iter().filter(|(before, _)| before == name).count() == 1
        {
            problem(&given.value, &given.subject, format!("expected {}, found a list", param.expected()));
        }
    }
    let is_given = |wanted: &str| check.params.iter().any(|(name, _)| name == wanted || is_within(name, wanted));
    for param in declared.iter().filter(|param| param.required && !is_given(&param.name)) {
        if param.name.rsplit_once('.').is_none_or(|(table, _)| is_given(table)) {
            let meaning = if param.doc.is_empty() { String::new() } else { format!(": {}", param.doc) };
            let message = format!("`{}` is missing; plugin {} needs it{meaning}", param.name, check.plugin);
            problem(at.params.as_ref().unwrap_or(&at.named), &format!("check.{}.params", check.name), message);
        }
    }
    problems
}

/// The declared parameter with this name, or else the innermost declared table around it.
fn nearest<'a>(declared: &'a [Param], name: &str) -> Option<&'a Param> {
    let around = declared.iter().filter(|param| param.name == name || is_within(name, &param.name));
    around.max_by_key(|param| param.name.len())
}

/// Whether `name` is a key in `table`, at any depth.
fn is_within(name: &str, table: &str) -> bool {
    name.strip_prefix(table).is_some_and(|rest| rest.starts_with('.'))
}

/// Whether no key of the table is declared, so that it accepts every key.
fn is_open(declared: &[Param], table: &Param) -> bool {
    !declared.iter().any(|param| is_within(&param.name, &table.name))
}

fn unknown(check: &Check, name: &str, declared: &[Param]) -> String {
    let names: Vec<&str> = declared.iter().map(|param| param.name.as_str()).collect();
    if names.is_empty() {
        return format!("plugin {} has no parameters", check.plugin);
    }
    // Suggest names of the same level: those in the innermost table, or the outermost ones.
    let table = nearest(declared, name).map(|table| format!("{}.", table.name)).unwrap_or_default();
    let inner = |name: &&str| name.strip_prefix(&table).is_some_and(|rest| !rest.contains('.'));
    let names: Vec<&str> = names.into_iter().filter(inner).collect();
    let name = match name[table.len()..].split_once('.') {
        Some((first, _)) => &name[..table.len() + first.len()],
        None => name,
    };
    let meant = hints::nearest(name, names.iter().copied()).map(|name| format!(" (did you mean `{name}`?)"));
    let meant = meant.unwrap_or_default();
    format!("plugin {} has no such parameter{meant}; expected one of: {}", check.plugin, names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declarations_of_the_plugin_sdk_are_read_without_loss() {
        // The SDK's writer is tested with the same file.
        let json = include_str!("../../../sdk/declared.json");
        let declared: Vec<Param> = serde_json::from_str(json).expect("the reader knows the format");
        let mut again = serde_json::to_value(&declared).expect("it serializes");
        for param in again.as_array_mut().into_iter().flatten().filter_map(serde_json::Value::as_object_mut) {
            param.retain(|_, value| value != false);
        }
        assert_eq!(again, serde_json::from_str::<serde_json::Value>(json).expect("it is JSON"));
        let kinds: Vec<_> = declared.iter().map(|param| (param.name.as_str(), param.kind)).collect();
        assert!(!kinds.iter().any(|(_, kind)| *kind == ParamType::Any), "every type is known: {kinds:?}");
    }
}
