//! Parsers for files of the kernel: `/proc/pressure/*`, `/proc/loadavg` and the list of processors.

/// Percentages of the time in which tasks waited, from one file of `/proc/pressure`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Stall {
    /// At least one task waited.
    pub some: f64,
    /// All tasks waited. Meaningless for the CPU of the whole host.
    pub full: Option<f64>,
}

/// Parses the averages over `window` seconds: 10, 60 or 300. `None` if the text is something else.
pub(crate) fn stall(text: &str, window: u16) -> Option<Stall> {
    let line = |kind: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(kind)?.strip_prefix(' '))?;
        let average = format!("avg{window}=");
        let value = line.split_ascii_whitespace().find_map(|word| word.strip_prefix(&average))?;
        value.parse().ok().filter(|share: &f64| (0.0..=100.0).contains(share))
    };
    Some(Stall { some: line("some")?, full: line("full") })
}

/// The load average of the last minute, from `/proc/loadavg`.
pub(crate) fn load(text: &str) -> Option<f64> {
    text.split_ascii_whitespace().next()?.parse().ok().filter(|load: &f64| load.is_finite() && *load >= 0.0)
}

/// Counts the processors in a list such as `0-3,8`; `None` if it is not a list.
pub(crate) fn processors(list: &str) -> Option<u32> {
    let mut count = 0u32;
    for range in list.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        count = count.checked_add(last.checked_sub(first)?.checked_add(1)?)?;
    }
    Some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMORY: &str =
        "some avg10=1.50 avg60=0.61 avg300=0.13 total=44520\nfull avg10=0.25 avg60=0.00 avg300=0.00 total=7\n";

    #[test]
    fn averages_are_found_by_their_window() {
        assert_eq!(stall(MEMORY, 10), Some(Stall { some: 1.5, full: Some(0.25) }));
        assert_eq!(stall(MEMORY, 60), Some(Stall { some: 0.61, full: Some(0.0) }));
        assert_eq!(stall(MEMORY, 300), Some(Stall { some: 0.13, full: Some(0.0) }));
        let old_cpu = "some avg10=13.85 avg60=30.89 avg300=20.45 total=1446340566\n";
        assert_eq!(stall(old_cpu, 10), Some(Stall { some: 13.85, full: None }));
    }

    #[test]
    fn other_text_is_no_pressure() {
        for text in
            ["", "some", "some avg60=1.00", "some avg10=x", "some avg10=-1", "some avg10=nan", "full avg10=1.00"]
        {
            assert_eq!(stall(text, 10), None, "{text:?}");
        }
    }

    #[test]
    fn load_is_the_first_number() {
        assert_eq!(load("3.21 2.00 1.00 2/345 6789\n"), Some(3.21));
        for text in ["", "high", "-1 0 0", "inf", "nan"] {
            assert_eq!(load(text), None, "{text:?}");
        }
    }

    #[test]
    fn processors_are_counted() {
        for (list, count) in [("0\n", Some(1)), ("0-3\n", Some(4)), ("0-3,8,10-11", Some(7))] {
            assert_eq!(processors(list), count, "{list:?}");
        }
        for list in ["", "a", "3-0", "0-", "0-4294967295", "0,,1"] {
            assert_eq!(processors(list), None, "{list:?}");
        }
    }
}
