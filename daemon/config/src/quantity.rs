//! The one way to write a duration (`"500ms"`) and the one way to write a size (`"16MiB"`).

use std::time::Duration;

/// Parses a whole number with its unit, `ms`, `s`, `m`, `h` or `d`: `500ms`, `2 s`. `None` for anything else.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(millis).map(Duration::from_millis)
}

/// Recognises a duration in the notation of other programs: `1.5s`, `1m30s`, `1S`, `2 min`. `None` if it is not clear.
pub(crate) fn meant_duration(text: &str) -> Option<Duration> {
    // A million days; more would lose digits below.
    const LONGEST: f64 = 86_400_000_000_000.0;
    let text = text.trim().to_ascii_lowercase();
    let mut rest = text.as_str();
    let mut millis = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        rest = rest[end..].trim_start();
        let end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        millis += number
            * match &rest[..end] {
                "ms" | "msec" | "millis" | "milliseconds" => 1.0,
                "s" | "sec" | "secs" | "second" | "seconds" => 1_000.0,
                "m" | "min" | "mins" | "minute" | "minutes" => 60_000.0,
                "h" | "hr" | "hour" | "hours" => 3_600_000.0,
                "d" | "day" | "days" => 86_400_000.0,
                _ => return None,
            };
        rest = rest[end..].trim_start();
    }
    let is_exact = millis > 0.0 && millis < LONGEST && (millis - millis.round()).abs() < 1e-6;
    is_exact.then(|| Duration::from_secs_f64((millis.round() / 1_000.0).max(0.0)))
}

/// Formats a duration in the largest unit that is exact: `90s`, `2m`, `500ms`.
pub fn format_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    match millis {
        0 => "0s".to_owned(),
        _ if millis.is_multiple_of(86_400_000) => format!("{}d", millis / 86_400_000),
        _ if millis.is_multiple_of(3_600_000) => format!("{}h", millis / 3_600_000),
        _ if millis.is_multiple_of(60_000) => format!("{}m", millis / 60_000),
        _ if millis.is_multiple_of(1_000) => format!("{}s", millis / 1_000),
        _ => format!("{millis}ms"),
    }
}

/// Parses a whole number of bytes with its unit: `B`, `KiB`, `MiB` or `GiB`.
pub(crate) fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let factor = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(factor)
}

/// Formats a size in the largest unit that is exact.
pub(crate) fn format_size(bytes: u64) -> String {
    for (unit, factor) in [("GiB", 1u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if bytes >= factor && bytes.is_multiple_of(factor) {
            return format!("{}{unit}", bytes / factor);
        }
    }
    format!("{bytes}B")
}

/// Splits digits from the unit after them; spaces between the two are dropped.
fn split(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let number = text[..end].parse().ok()?;
    Some((number, text[end..].trim_start_matches(' ')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit_and_nothing_else() {
        // The plugins' SDK is tested with the same file.
        for line in include_str!("../../../sdk/durations.txt").lines().filter(|line| !line.starts_with('#')) {
            let (text, millis) = line.split_once('|').expect("a text, a bar, and milliseconds or nothing");
            let expected = millis.parse().ok().map(Duration::from_millis);
            assert_eq!(parse_duration(text), expected, "{text:?}");
        }
    }

    #[test]
    fn durations_in_other_notations_are_recognised() {
        for (text, meant) in [
            ("1.5s", Some("1500ms")),
            ("1m30s", Some("90s")),
            ("1m 30s", Some("90s")),
            ("1S", Some("1s")),
            ("2 min", Some("2m")),
            ("0.1s", Some("100ms")),
            ("1.0005s", None),
            ("0s", None),
            ("1", None),
            ("1.5.2s", None),
            ("s", None),
            ("1y", None),
            ("99999999999999999999d", None),
            ("", None),
        ] {
            assert_eq!(meant_duration(text).map(format_duration).as_deref(), meant, "{text}");
        }
    }

    #[test]
    fn formatted_durations_parse_again() {
        for text in ["1s", "90s", "500ms", "2m", "1h", "36h", "2d", "0s", "1500ms"] {
            assert_eq!(parse_duration(text).map(format_duration).as_deref(), Some(text));
        }
    }

    #[test]
    fn sizes_need_a_unit() {
        for (text, bytes) in [("16MiB", 16 << 20), ("64KiB", 64 << 10), ("1GiB", 1 << 30), ("100B", 100)] {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
            assert_eq!(format_size(bytes), text);
        }
        for text in ["16", "16MB", "16M", "MiB", "-1B", "99999999999999999999B", "99999999999GiB"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }
}
