//! The check's parameters as a type of the plugin.
//!
//! The daemon passes them as pairs of texts in file order: tables flattened with dots, lists with their name repeated.
//! [`from_pairs`] reverses that for serde.

use std::fmt;
use std::time::Duration;

use serde::de::value::StrDeserializer;
use serde::de::{DeserializeOwned, DeserializeSeed, Error as _, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, forward_to_deserialize_any};

use crate::declare::Parameter;

/// A parameter is missing, unknown, or of the wrong type. The text names it, and says what was expected and what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParamError {
    /// The dotted name; `None` while it is not known, or if the error is about all parameters.
    name: Option<String>,
    text: String,
}

impl ParamError {
    fn at(self, name: &str) -> Self {
        ParamError { name: self.name.or_else(|| Some(name.to_owned())), ..self }
    }
}

impl fmt::Display for ParamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "parameter `{name}`: {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

impl std::error::Error for ParamError {}

impl serde::de::Error for ParamError {
    fn custom<T: fmt::Display>(text: T) -> Self {
        ParamError { name: None, text: text.to_string() }
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let known: Vec<_> = expected.iter().map(|e| format!("`{e}`")).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        Self::custom(format!("unknown parameter `{field}`: this plugin has {known}"))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::custom(format!("parameter `{field}` is missing"))
    }
}

/// Deserializes parameters, as [`Context::pairs`](crate::Context::pairs) has them, to a `T`.
///
/// # Errors
/// If one is missing, unknown or of the wrong type.
pub fn from_pairs<T: DeserializeOwned>(pairs: &[(String, String)]) -> Result<T, ParamError> {
    let mut root = Vec::new();
    for (name, value) in pairs {
        insert(&mut root, name, name, value)?;
    }
    T::deserialize(At { node: &Node::Table(root), name: "" })
}

/// Reads a single value from its text in the configuration.
pub(crate) fn from_text<T: Parameter>(text: &str) -> Result<T, ParamError> {
    T::read(At { node: &Node::Values(vec![text.to_owned()]), name: "" })
}

/// A parameter that may be one value or a list in the configuration; a single value becomes a list of one.
pub type OneOrMany<T> = Vec<T>;

/// Deserializes a number with a unit, such as `500ms`, `2s`, `1m`, `12h`, `7d`. For
/// `#[serde(deserialize_with = "vouchd_check::duration")]`; with [`params!`](crate::params!) a field of type `Duration` is
/// enough.
///
/// # Errors
/// If it is anything else.
pub fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_duration(&text)
        .ok_or_else(|| D::Error::custom(format!("expected a duration such as \"500ms\" or \"2s\", found {text:?}")))
}

/// Like [`duration`], for an `Option<Duration>` with `#[serde(default)]`.
///
/// # Errors
/// If it is anything else.
pub fn optional_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    duration(deserializer).map(Some)
}

/// The syntax of the daemon's configuration.
fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let millis = match unit.trim_start_matches(' ') {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(millis).map(Duration::from_millis)
}

enum Node {
    /// Never empty.
    Values(Vec<String>),
    Table(Vec<(String, Node)>),
}

fn insert(table: &mut Vec<(String, Node)>, full: &str, name: &str, value: &str) -> Result<(), ParamError> {
    let (first, rest) = match name.split_once('.') {
        Some((first, rest)) => (first, Some(rest)),
        None => (name, None),
    };
    let at = table.iter().position(|(key, _)| key == first);
    match (at.map(|i| &mut table[i].1), rest) {
        (None, None) => table.push((first.to_owned(), Node::Values(vec![value.to_owned()]))),
        (None, Some(rest)) => {
            let mut inner = Vec::new();
            insert(&mut inner, full, rest, value)?;
            table.push((first.to_owned(), Node::Table(inner)));
        }
        (Some(Node::Values(values)), None) => values.push(value.to_owned()),
        (Some(Node::Table(inner)), Some(rest)) => insert(inner, full, rest, value)?,
        (Some(_), _) => return Err(ParamError::custom("is both a value and a table").at(full)),
    }
    Ok(())
}

/// A node, with its dotted name for errors.
#[derive(Clone, Copy)]
struct At<'a> {
    node: &'a Node,
    name: &'a str,
}

impl<'a> At<'a> {
    fn one(self, expected: &str) -> Result<&'a str, ParamError> {
        match self.node {
            Node::Values(values) if values.len() == 1 => Ok(&values[0]),
            Node::Values(values) => {
                Err(ParamError::custom(format!("expected {expected}, found a list of {}", values.len())))
            }
            Node::Table(_) => Err(ParamError::custom(format!("expected {expected}, found a table"))),
        }
    }

    fn parse<T: std::str::FromStr>(self, expected: &str) -> Result<T, ParamError> {
        let text = self.one(expected)?;
        text.parse().map_err(|_| ParamError::custom(format!("expected {expected}, found {text:?}")))
    }
}

macro_rules! numbers {
    ($($method:ident $visit:ident $expected:expr;)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ParamError> {
            visitor.$visit(self.parse($expected)?)
        })*
    };
}

impl<'de> Deserializer<'de> for At<'_> {
    type Error = ParamError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ParamError> {
        match self.node {
            Node::Values(values) if values.len() == 1 => visitor.visit_str(&values[0]),
            Node::Values(_) => self.deserialize_seq(visitor),
            Node::Table(_) => self.deserialize_map(visitor),
        }
    }

    numbers! {
        deserialize_bool visit_bool "true or false";
        deserialize_i8 visit_i8 "a whole number from -128 to 127";
        deserialize_i16 visit_i16 "a whole number from -32768 to 32767";
        deserialize_i32 visit_i32 "a whole number";
        deserialize_i64 visit_i64 "a whole number";
        deserialize_u8 visit_u8 "a whole number from 0 to 255";
        deserialize_u16 visit_u16 "a whole number from 0 to 65535";
        deserialize_u32 visit_u32 "a whole number, not negative";
        deserialize_u64 visit_u64 "a whole number, not negative";
        deserialize_f32 visit_f32 "a number";
        deserialize_f64 visit_f64 "a number";
        deserialize_char visit_char "a single character";
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ParamError> {
        visitor.visit_str(self.one("a text")?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ParamError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ParamError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ParamError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ParamError> {
        match self.node {
            Node::Values(values) => visitor.visit_seq(Values { left: values, name: self.name }),
            Node::Table(_) => Err(ParamError::custom("expected a value or a list, found a table")),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, ParamError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ParamError> {
        match self.node {
            Node::Table(entries) => visitor.visit_map(Entries { left: entries, name: self.name, value: None }),
            Node::Values(_) => Err(ParamError::custom("expected a table, found a value")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ParamError> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ParamError> {
        let expected = format!("one of {}", variants.join(", "));
        let text: StrDeserializer<'_, ParamError> = self.one(&expected)?.into_deserializer();
        visitor.visit_enum(text)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ParamError> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! { bytes byte_buf unit unit_struct tuple_struct identifier }
}

struct Values<'a> {
    left: &'a [String],
    name: &'a str,
}

impl<'de> SeqAccess<'de> for Values<'_> {
    type Error = ParamError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, ParamError> {
        let Some((first, rest)) = self.left.split_first() else { return Ok(None) };
        self.left = rest;
        let node = Node::Values(vec![first.clone()]);
        seed.deserialize(At { node: &node, name: self.name }).map(Some)
    }
}

struct Entries<'a> {
    left: &'a [(String, Node)],
    name: &'a str,
    value: Option<&'a (String, Node)>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = ParamError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ParamError> {
        let Some((first, rest)) = self.left.split_first() else { return Ok(None) };
        self.left = rest;
        self.value = Some(first);
        let key: StrDeserializer<'_, ParamError> = first.0.as_str().into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ParamError> {
        let (key, node) =
            self.value.take().ok_or_else(|| ParamError::custom("a value was asked for before its key"))?;
        let name = if self.name.is_empty() { key.clone() } else { format!("{}.{key}", self.name) };
        seed.deserialize(At { node, name: &name }).map_err(|e| e.at(&name))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Params {
        name: String,
        #[serde(default)]
        min: Option<u32>,
        #[serde(default)]
        status: OneOrMany<String>,
        #[serde(default)]
        headers: BTreeMap<String, String>,
        #[serde(default, deserialize_with = "optional_duration")]
        timeout: Option<Duration>,
        #[serde(default)]
        mode: Mode,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Mode {
        #[default]
        Plain,
        Strict,
    }

    fn params(pairs: &[(&str, &str)]) -> Result<Params, String> {
        from_pairs(&crate::testing::pairs(pairs)).map_err(|e| e.to_string())
    }

    #[test]
    fn flattened_pairs_become_a_type_again() {
        let found = params(&[
            ("name", "nginx"),
            ("min", "2"),
            ("status", "200"),
            ("headers.accept", "text/html"),
            ("status", "204"),
            ("headers.x-probe", "1"),
            ("timeout", "500ms"),
            ("mode", "strict"),
        ])
        .unwrap();
        let expected = Params {
            name: "nginx".to_owned(),
            min: Some(2),
            status: vec!["200".to_owned(), "204".to_owned()],
            headers: [("accept", "text/html"), ("x-probe", "1")].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            timeout: Some(Duration::from_millis(500)),
            mode: Mode::Strict,
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn error_names_the_parameter() {
        let table: [(&[(&str, &str)], &str); 9] = [
            (&[], "parameter `name` is missing"),
            (
                &[("nmae", "x")],
                "unknown parameter `nmae`: this plugin has `name`, `min`, `status`, `headers`, `timeout`, `mode`",
            ),
            (&[("name", "x"), ("name", "y")], "parameter `name`: expected a text, found a list of 2"),
            (&[("name", "x"), ("min", "two")], "parameter `min`: expected a whole number, not negative, found \"two\""),
            (&[("name", "x"), ("headers", "y")], "parameter `headers`: expected a table, found a value"),
            (&[("name.a", "x")], "parameter `name`: expected a text, found a table"),
            (&[("name", "x"), ("name.a", "y")], "parameter `name.a`: is both a value and a table"),
            (
                &[("name", "x"), ("timeout", "5")],
                "parameter `timeout`: expected a duration such as \"500ms\" or \"2s\", found \"5\"",
            ),
            (
                &[("name", "x"), ("mode", "lax")],
                "parameter `mode`: unknown variant `lax`, expected `plain` or `strict`",
            ),
        ];
        for (pairs, expected) in table {
            assert_eq!(params(pairs).unwrap_err(), expected, "{pairs:?}");
        }
    }

    #[test]
    fn duration_needs_a_unit() {
        // The daemon's reader is tested with the same file.
        for line in include_str!("../../durations.txt").lines().filter(|line| !line.starts_with('#')) {
            let (text, millis) = line.split_once('|').expect("a text, a bar, and milliseconds or nothing");
            assert_eq!(parse_duration(text).map(|d| d.as_millis()), millis.parse().ok(), "{text:?}");
        }
    }
}
