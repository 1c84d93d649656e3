//! Times of the status document, relative to now.

use std::time::SystemTime;

/// `2026-11-30T17:35:11Z (3 h ago)`
pub(crate) fn when(time: &str, now: SystemTime) -> String {
    let second = time.split_once('.').map_or_else(|| time.to_owned(), |(second, _)| format!("{second}Z"));
    format!("{second} ({})", ago(time, now))
}

/// `0.4 s ago`, `3 h ago`
pub(crate) fn ago(time: &str, now: SystemTime) -> String {
    let Ok(at) = humantime::parse_rfc3339_weak(time) else { return format!("at {time}") };
    // The clock may have been set back since then.
    let seconds = now.duration_since(at).unwrap_or_default().as_secs_f64();
    let (value, unit) = match seconds {
        ..10.0 => return format!("{seconds:.1} s ago"),
        ..120.0 => (seconds, "s"),
        ..7_200.0 => (seconds / 60.0, "min"),
        ..172_800.0 => (seconds / 3_600.0, "h"),
        _ => (seconds / 86_400.0, "days"),
    };
    format!("{value:.0} {unit} ago")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn unit_fits_the_distance() {
        let at = humantime::parse_rfc3339("2026-11-30T17:35:11.500Z").unwrap();
        let table = [
            (0.4, "0.4 s ago"),
            (42.0, "42 s ago"),
            (180.0, "3 min ago"),
            (10_800.0, "3 h ago"),
            (432_000.0, "5 days ago"),
        ];
        for (seconds, expected) in table {
            assert_eq!(ago("2026-11-30T17:35:11.500Z", at + Duration::from_secs_f64(seconds)), expected);
        }
        assert_eq!(ago("2026-11-30T17:35:11.500Z", at - Duration::from_secs(5)), "0.0 s ago");
        assert_eq!(when("2026-11-30T17:35:11.500Z", at), "2026-11-30T17:35:11Z (0.0 s ago)");
    }
}
