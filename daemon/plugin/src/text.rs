//! Texts that come from plugins, made fit for one line of a log.

use vouchd_printable::printable;

/// An error of a library, which may have several lines, as part of one.
pub(crate) fn line(error: impl std::fmt::Display) -> String {
    const MOST: usize = 1000;
    let words: Vec<_> = format!("{error:#}").split_whitespace().map(str::to_owned).collect();
    cut(&words.join(" "), MOST)
}

/// At most `most` bytes, on one line.
pub(crate) fn cut(text: &str, most: usize) -> String {
    // A character takes a byte at least, so that more of them need not be looked at.
    let mut line: String = text.trim_end().chars().take(most.saturating_add(1)).collect();
    line = printable(&line).into_owned();
    if line.len() > most {
        let mut end = most.saturating_sub('…'.len_utf8());
        while !line.is_char_boundary(end) {
            end -= 1;
        }
        line.truncate(end);
        line.push('…');
    }
    line
}

/// The name of a metric, which stands between quotes and braces where metrics are read.
pub(crate) fn metric_name(name: &str, most: usize) -> String {
    cut(name, most).replace(['"', '\'', '`', '{', '}', '\\'], "_")
}

#[cfg(test)]
mod tests {
    use super::{cut, line, metric_name};

    #[test]
    fn a_metric_can_not_close_the_quotes_and_braces_around_its_name() {
        assert_eq!(metric_name("a\"} 1\nevil{x=\"\\", 64), "a__ 1 evil_x=__");
        assert_eq!(metric_name("response time", 64), "response time");
    }

    #[test]
    fn an_error_of_several_lines_becomes_one() {
        assert_eq!(line("expected=[\n    0x0,\n] actual=[\u{7}]"), "expected=[ 0x0, ] actual=[ ]");
        assert_eq!(line("x".repeat(5000)).len(), 1000);
    }

    #[test]
    fn a_text_becomes_one_short_line() {
        let table = [
            ("fine", 10, "fine"),
            ("two\nlines\n", 20, "two lines"),
            ("\u{1b}[31mred", 20, " [31mred"),
            ("0123456789", 10, "0123456789"),
            ("0123456789a", 10, "0123456…"),
            ("ääääää", 10, "äää…"),
            ("pass\u{202e}llaf\u{2028}.", 20, "pass llaf ."),
        ];
        for (text, most, expected) in table {
            assert_eq!(cut(text, most), expected, "{text:?}");
            assert!(cut(text, most).len() <= most);
        }
    }
}
