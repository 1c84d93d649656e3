//! The accepted status codes: `200`, `"2xx"`, `"200-299"`, or a list of these.

use vouchd_check::Error;

/// The accepted ranges, in the order of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Accepted {
    ranges: Vec<(u16, u16)>,
    /// As the operator wrote it.
    text: String,
}

impl Accepted {
    /// Parses the parameter `status`. An empty list accepts 200 to 399.
    pub(crate) fn parse(given: &[String]) -> Result<Self, Error> {
        if given.is_empty() {
            return Ok(Accepted { ranges: vec![(200, 399)], text: "200-399".to_owned() });
        }
        let ranges = given.iter().map(|text| {
            range(text).ok_or_else(|| {
                Error::new(format!(
                    "parameter `status`: expected a code (200), a class (\"2xx\") or a range (\"200-299\") from 100 to \
                     599, found {text:?}"
                ))
            })
        });
        Ok(Accepted { ranges: ranges.collect::<Result<_, _>>()?, text: given.join(" or ") })
    }

    pub(crate) fn accepts(&self, status: u16) -> bool {
        self.ranges.iter().any(|(low, high)| (*low..=*high).contains(&status))
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

fn range(text: &str) -> Option<(u16, u16)> {
    if let Some(class) = text.strip_suffix("xx") {
        let class = code_digits(class, 1)?;
        return (1..=5).contains(&class).then_some((class * 100, class * 100 + 99));
    }
    let (low, high) = match text.split_once('-') {
        Some((low, high)) => (code(low)?, code(high)?),
        None => (code(text)?, code(text)?),
    };
    (low <= high).then_some((low, high))
}

fn code(text: &str) -> Option<u16> {
    code_digits(text, 3).filter(|code| (100..=599).contains(code))
}

fn code_digits(text: &str, length: usize) -> Option<u16> {
    (text.len() == length && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(given: &[&str]) -> Result<Accepted, Error> {
        Accepted::parse(&given.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn codes_classes_and_ranges_are_accepted() {
        let table: [(&[&str], &[u16], &[u16]); 5] = [
            (&[], &[200, 204, 301, 399], &[199, 400, 500]),
            (&["200"], &[200], &[201]),
            (&["2xx"], &[200, 299], &[199, 300]),
            (&["200-204", "401"], &[200, 204, 401], &[205, 400]),
            (&["5xx"], &[500, 599], &[499]),
        ];
        for (given, good, bad) in table {
            let accepted = accepted(given).unwrap();
            assert!(good.iter().all(|s| accepted.accepts(*s)), "{given:?}");
            assert!(!bad.iter().any(|s| accepted.accepts(*s)), "{given:?}");
        }
    }

    #[test]
    fn other_text_is_an_error() {
        for text in ["", "20", "2000", "600", "6xx", "xx", "299-200", "200-", "abc", "+20"] {
            assert!(accepted(&[text]).is_err(), "{text:?}");
        }
    }
}
