//! What a plugin declares about its parameters, and whether a check's `params` are those.

use serde::{Deserialize, Serialize};

use crate::PluginUse;
use crate::errors::Problem;
use crate::hints;
use crate::model::Check;
use crate::quantity::parse_duration;
use crate::source::Place;

/// One parameter of a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Param {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: ParamType,
    /// Several values are allowed.
    #[serde(default)]
    pub list: bool,
    #[serde(default)]
    pub required: bool,
    /// What it is when left out, as it would be written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// The least whole number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<i64>,
    /// The largest whole number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<i64>,
    #[serde(default)]
    pub doc: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ParamType {
    Text,
    Integer,
    Number,
    Boolean,
    Duration,
    /// What is in it is not declared.
    Table,
    /// One that a later version knows; everything fits.
    #[serde(other)]
    Any,
}

impl ParamType {
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
    /// What to write, if `text` is not that. It is judged as the plugin gets it: `"2"` is a whole number, too.
    fn misfit(&self, text: &str) -> Option<String> {
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
            ParamType::Text => "a text".to_owned(),
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

/// Where a parameter of a check stands.
#[derive(Debug, Clone)]
pub(crate) struct Given {
    pub key: Place,
    pub value: Place,
    pub subject: String,
}

/// What of a check's parameters is not as its plugin declares, in the order of the file; what is missing last.
pub(crate) fn misfits(check: &Check, declared: &[Param], at: &PluginUse) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut problem = |place: &Place, subject: &str, message: String| {
        problems.push(Problem { place: Some(place.clone()), subject: subject.to_owned(), message });
    };
    for (n, ((name, text), given)) in check.params.iter().zip(&at.given).enumerate() {
        let outer = name.split_once('.').map_or(name.as_str(), |(outer, _)| outer);
        let is_inner = outer != name;
        let Some(param) = declared.iter().find(|param| param.name == *name || param.name == outer) else {
            problem(&given.key, &given.subject, unknown(check, outer, declared));
            continue;
        };
        if is_inner && param.name != *name {
            if !matches!(param.kind, ParamType::Table | ParamType::Any) {
                problem(&given.key, &given.subject, format!("expected {}, found a table", param.expected()));
            }
        } else if let Some(expected) = param.misfit(text) {
            problem(&given.value, &given.subject, format!("expected {expected}"));
        } else if !param.list
            && param.kind != ParamType::Any
            && check.params[..n].iter().filter(|(before, _)| before == name).count() == 1
        {
            problem(&given.value, &given.subject, format!("expected {}, found a list", param.expected()));
        }
    }
    for param in declared.iter().filter(|param| param.required) {
        let is_there =
            |name: &str| name.strip_prefix(&param.name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        if !check.params.iter().any(|(name, _)| is_there(name)) {
            let meaning = if param.doc.is_empty() { String::new() } else { format!(": {}", param.doc) };
            let message = format!("`{}` is missing, which plugin {} needs{meaning}", param.name, check.plugin);
            problem(at.params.as_ref().unwrap_or(&at.named), &format!("check.{}.params", check.name), message);
        }
    }
    problems
}

fn unknown(check: &Check, name: &str, declared: &[Param]) -> String {
    let names: Vec<&str> = declared.iter().map(|param| param.name.as_str()).collect();
    if names.is_empty() {
        return format!("plugin {} has no parameters", check.plugin);
    }
    let meant = hints::nearest(name, names.iter().copied()).map(|name| format!(" (did you mean `{name}`?)"));
    let meant = meant.unwrap_or_default();
    format!("plugin {} has no such parameter{meant}; expected one of: {}", check.plugin, names.join(", "))
}
