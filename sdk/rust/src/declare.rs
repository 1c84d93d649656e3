//! Declared parameters. The macro [`params!`](crate::params!) makes a type of them, and a custom section that `vouchd plugin
//! inspect` and `vouchd config check` read without running the plugin.

mod json;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error as _};

use crate::params;

#[doc(hidden)]
pub use json::{json, json_len};

/// The declared type of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A string.
    Text,
    /// A whole number.
    Integer,
    /// A number, whole or not.
    Number,
    /// `true` or `false`.
    Boolean,
    /// A number with a unit, such as `"500ms"`.
    Duration,
    /// A table of other parameters.
    Table,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Kind::Text => "text",
            Kind::Integer => "integer",
            Kind::Number => "number",
            Kind::Boolean => "boolean",
            Kind::Duration => "duration",
            Kind::Table => "table",
        }
    }
}

/// A type that a field in [`params!`](crate::params!) can have.
///
/// * `String`, `bool`, whole numbers, `f32`, `f64`, [`Duration`] (written `"500ms"`), [`IpAddr`];
/// * `Vec` of one of these: empty when left out, and a single value is a list of one;
/// * `BTreeMap<String, _>`, a table: empty when left out;
/// * `Option` of any of these;
/// * another type made by the macro: a table with these names.
pub trait Parameter: Sized {
    /// The declared type.
    const KIND: Kind;
    /// Whether it takes several values.
    const LIST: bool = false;
    /// The smallest whole number it takes.
    const MIN: Option<i64> = None;
    /// The largest whole number it takes.
    const MAX: Option<i64> = None;
    /// Whether it may be left out without a default.
    const OPTIONAL: bool = false;
    /// The fields of a table made by the macro.
    #[doc(hidden)]
    const FIELDS: &'static [Declared] = &[];

    /// Reads a value.
    ///
    /// # Errors
    /// If the value does not fit the type.
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error>;

    /// The value when left out; `None` if it is required.
    fn absent() -> Option<Self> {
        None
    }
}

macro_rules! plain {
    ($($ty:ty, $kind:ident;)*) => {
        $(impl Parameter for $ty {
            const KIND: Kind = Kind::$kind;

            fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                <$ty>::deserialize(deserializer)
            }
        })*
    };
}

plain! {
    String, Text;
    bool, Boolean;
    f32, Number;
    f64, Number;
}

macro_rules! integers {
    ($($ty:ty, $min:expr, $max:expr;)*) => {
        $(impl Parameter for $ty {
            const KIND: Kind = Kind::Integer;
            const MIN: Option<i64> = $min;
            const MAX: Option<i64> = $max;

            fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                <$ty>::deserialize(deserializer)
            }
        })*
    };
}

integers! {
    u8, Some(0), Some(u8::MAX as i64);
    u16, Some(0), Some(u16::MAX as i64);
    u32, Some(0), Some(u32::MAX as i64);
    u64, Some(0), None;
    i8, Some(i8::MIN as i64), Some(i8::MAX as i64);
    i16, Some(i16::MIN as i64), Some(i16::MAX as i64);
    i32, Some(i32::MIN as i64), Some(i32::MAX as i64);
    i64, None, None;
}

/// With the bounds of the plugin, where it has 32 bits.
impl Parameter for usize {
    const KIND: Kind = Kind::Integer;
    const MIN: Option<i64> = Some(0);
    const MAX: Option<i64> = Some(u32::MAX as i64);

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u32::deserialize(deserializer).map(|number| number as usize)
    }
}

impl Parameter for Duration {
    const KIND: Kind = Kind::Duration;

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        params::duration(deserializer)
    }
}

impl Parameter for IpAddr {
    const KIND: Kind = Kind::Text;

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|_| D::Error::custom(format!("expected an IP address like \"192.0.2.1\", found {text:?}")))
    }
}

impl<T: Parameter> Parameter for Option<T> {
    const KIND: Kind = T::KIND;
    const LIST: bool = T::LIST;
    const MIN: Option<i64> = T::MIN;
    const MAX: Option<i64> = T::MAX;
    const OPTIONAL: bool = true;
    const FIELDS: &'static [Declared] = T::FIELDS;

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::read(deserializer).map(Some)
    }

    fn absent() -> Option<Self> {
        Some(None)
    }
}

impl<T: Parameter> Parameter for Vec<T> {
    const KIND: Kind = T::KIND;
    const LIST: bool = true;
    const MIN: Option<i64> = T::MIN;
    const MAX: Option<i64> = T::MAX;
    const OPTIONAL: bool = true;

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = Vec::<Read<T>>::deserialize(deserializer)?;
        Ok(read.into_iter().map(|Read(value)| value).collect())
    }

    fn absent() -> Option<Self> {
        Some(Vec::new())
    }
}

impl<T: Parameter> Parameter for BTreeMap<String, T> {
    const KIND: Kind = Kind::Table;
    const OPTIONAL: bool = true;

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = BTreeMap::<String, Read<T>>::deserialize(deserializer)?;
        Ok(read.into_iter().map(|(key, Read(value))| (key, value)).collect())
    }

    fn absent() -> Option<Self> {
        Some(BTreeMap::new())
    }
}

/// Lets serde read a [`Parameter`].
#[doc(hidden)]
pub struct Read<T>(pub T);

impl<'de, T: Parameter> Deserialize<'de> for Read<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::read(deserializer).map(Read)
    }
}

/// The value of a parameter that was left out: its default, or that of its type.
#[doc(hidden)]
pub fn left_out<T: Parameter, E: serde::de::Error>(name: &'static str, default: Option<&str>) -> Result<T, E> {
    match default {
        Some(text) => params::from_text(text).map_err(|error| E::custom(format!("default of `{name}`: {error}"))),
        None => T::absent().ok_or_else(|| E::missing_field(name)),
    }
}

/// One field of a type made by [`params!`](crate::params!).
#[doc(hidden)]
pub struct Declared {
    pub name: &'static str,
    pub kind: Kind,
    pub list: bool,
    pub required: bool,
    pub min: Option<i64>,
    pub max: Option<i64>,
    pub default: Option<&'static str>,
    pub doc: &'static [&'static str],
    pub fields: &'static [Declared],
}

/// A type made by [`params!`](crate::params!).
#[doc(hidden)]
pub trait Params {
    const DECLARED: &'static [Declared];
}

/// A field's name without the `r#` of a keyword.
#[doc(hidden)]
pub const fn bare(name: &'static str) -> &'static str {
    match name.as_bytes() {
        [b'r', b'#', ..] => name.split_at(2).1,
        _ => name,
    }
}

/// Makes the type of a check's parameters, and declares them: `vouchd plugin inspect` shows them, and `vouchd config check`
/// reports mistakes with file, line and column, without running the plugin.
///
/// A field has one of the types that implement [`Parameter`](crate::Parameter). A literal after `=` is its default, written as in
/// the configuration. Doc comments become the description that `inspect` shows. An unknown parameter is an error. Pass the type
/// to [`check!`](crate::check!), too.
///
/// ```
/// use std::time::Duration;
/// use vouchd_check::{Context, Report, Result};
///
/// vouchd_check::params! {
///     struct Params {
///         /// Where the service listens.
///         address: String,
///         /// Which answers are good.
///         codes: Vec<u16>,
///         /// Slower than this is a `warn`.
///         slow: Duration = "200ms",
///     }
/// }
///
/// fn check(ctx: &Context) -> Result<Report> {
///     let params: Params = ctx.params()?;
///     Ok(Report::pass(format!("{} {:?} {:?}", params.address, params.codes, params.slow)))
/// }
///
/// vouchd_check::check!(check, Params);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! params {
    (
        $(#[$attribute:meta])*
        $vis:vis struct $Name:ident {
            $( $(#[doc = $doc:literal])* $field_vis:vis $field:ident : $ty:ty $(= $default:literal)? ),* $(,)?
        }
    ) => {
        $(#[$attribute])*
        $vis struct $Name {
            $( $(#[doc = $doc])* $field_vis $field: $ty, )*
        }

        impl $crate::declare::Params for $Name {
            const DECLARED: &'static [$crate::declare::Declared] = &[$({
                let default: ::core::option::Option<&'static str> = $crate::params!(@default $($default)?);
                $crate::declare::Declared {
                    name: $crate::declare::bare(::core::stringify!($field)),
                    kind: <$ty as $crate::Parameter>::KIND,
                    list: <$ty as $crate::Parameter>::LIST,
                    required: default.is_none() && !<$ty as $crate::Parameter>::OPTIONAL,
                    min: <$ty as $crate::Parameter>::MIN,
                    max: <$ty as $crate::Parameter>::MAX,
                    default,
                    doc: &[$($doc),*],
                    fields: <$ty as $crate::Parameter>::FIELDS,
                }
            }),*];
        }

        impl<'de> $crate::serde::Deserialize<'de> for $Name {
            fn deserialize<D: $crate::serde::Deserializer<'de>>(
                deserializer: D,
            ) -> ::core::result::Result<Self, D::Error> {
                struct Fields;

                impl<'de> $crate::serde::de::Visitor<'de> for Fields {
                    type Value = $Name;

                    fn expecting(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                        f.write_str("a table")
                    }

                    #[allow(unused_mut)]
                    fn visit_map<A: $crate::serde::de::MapAccess<'de>>(
                        self,
                        mut map: A,
                    ) -> ::core::result::Result<$Name, A::Error> {
                        use $crate::declare::{Read, bare, left_out};
                        const NAMES: &[&str] = &[$(bare(::core::stringify!($field))),*];
                        $( let mut $field: ::core::option::Option<Read<$ty>> = ::core::option::Option::None; )*
                        while let ::core::option::Option::Some(key) = map.next_key::<::std::string::String>()? {
                            $( if key == bare(::core::stringify!($field)) {
                                $field = ::core::option::Option::Some(map.next_value()?);
                                continue;
                            } )*
                            return ::core::result::Result::Err($crate::serde::de::Error::unknown_field(&key, NAMES));
                        }
                        ::core::result::Result::Ok($Name { $(
                            $field: match $field {
                                ::core::option::Option::Some(Read(value)) => value,
                                ::core::option::Option::None => left_out(
                                    bare(::core::stringify!($field)),
                                    $crate::params!(@default $($default)?),
                                )?,
                            },
                        )* })
                    }
                }

                deserializer.deserialize_map(Fields)
            }
        }

        impl $crate::Parameter for $Name {
            const KIND: $crate::declare::Kind = $crate::declare::Kind::Table;
            const FIELDS: &'static [$crate::declare::Declared] = <$Name as $crate::declare::Params>::DECLARED;

            fn read<'de, D: $crate::serde::Deserializer<'de>>(
                deserializer: D,
            ) -> ::core::result::Result<Self, D::Error> {
                $crate::serde::Deserialize::deserialize(deserializer)
            }
        }
    };
    (@default) => { ::core::option::Option::None };
    (@default $default:literal) => { ::core::option::Option::Some(::core::concat!($default)) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::from_pairs;

    crate::params! {
        #[derive(Debug, PartialEq)]
        struct Example {
            /// Where it
            /// "is".
            url: String,
            r#type: Option<u8>,
            codes: Vec<u16>,
            headers: BTreeMap<String, Vec<String>>,
            depth: i8 = -3,
            method: String = "GET\t",
            slow: Duration = "200ms",
            strict: bool = true,
            limits: Option<Limits>,
            ratio: Option<f64>,
        }
    }

    crate::params! {
        #[derive(Debug, PartialEq)]
        struct Limits {
            /// The most.
            most: f64,
            after: Option<After>,
        }
    }

    crate::params! {
        #[derive(Debug, PartialEq)]
        struct After {
            wait: Duration = "1d",
        }
    }

    fn example(pairs: &[(&str, &str)]) -> Result<Example, String> {
        from_pairs(&crate::testing::pairs(pairs)).map_err(|e| e.to_string())
    }

    #[test]
    fn left_out_parameter_has_its_default() {
        let expected = Example {
            url: "x".to_owned(),
            r#type: None,
            codes: Vec::new(),
            headers: BTreeMap::new(),
            depth: -3,
            method: "GET\t".to_owned(),
            slow: Duration::from_millis(200),
            strict: true,
            limits: None,
            ratio: None,
        };
        assert_eq!(example(&[("url", "x")]), Ok(expected));
    }

    #[test]
    fn given_parameters_are_read_and_mistakes_reported() {
        let given = [
            ("url", "x"),
            ("type", "7"),
            ("codes", "200"),
            ("codes", "204"),
            ("headers.a", "b"),
            ("slow", "1s"),
            ("limits.most", "0.5"),
        ];
        let found = example(&given).unwrap();
        assert_eq!((found.r#type, found.codes, found.slow), (Some(7), vec![200, 204], Duration::from_secs(1)));
        assert_eq!(found.headers["a"], ["b"]);
        assert_eq!(found.limits, Some(Limits { most: 0.5, after: None }));
        for (pairs, expected) in [
            (&[][..], "parameter `url` is missing"),
            (&[("url", "x"), ("uri", "y")], "unknown parameter `uri`: this plugin has `url`, `type`, `codes`"),
            (&[("url", "x"), ("type", "256")], "parameter `type`: expected a whole number from 0 to 255"),
            (&[("url", "x"), ("slow", "2")], "parameter `slow`: expected a duration"),
        ] {
            let error = example(pairs).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn declaration_is_json() {
        const PARAMS: &[Declared] = <Example as Params>::DECLARED;
        let json = json::<{ json_len(PARAMS) }>(PARAMS);
        // The daemon's reader is tested with the same file.
        assert_eq!(std::str::from_utf8(&json).unwrap(), include_str!("../../declared.json").trim_end());
    }
}
