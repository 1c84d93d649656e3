//! Texts of plugins and libraries, shortened and made safe for one line of a log.

use vouchd_printable::printable;

/// An error of a library as one line: with its causes, white space collapsed, cut to 1000 bytes.
pub(crate) fn line(error: impl std::fmt::Display) -> String {
    const MOST: usize = 1000;
    let words: Vec<_> = format!("{error:#}").split_whitespace().map(str::to_owned).collect();
    cut(&words.join(" "), MOST)
}

/// `text` on one line, cut to at most `most` bytes.
pub(crate) fn cut(text: &str, most: usize) -> String {
    // Each character takes at least a byte, so the rest of a huge text need not be read.
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

/// `name` without the quotes and braces that surround it in the metrics output, cut to at most `most` bytes.
pub(crate) fn metric_name(name: &str, most: usize) -> String {
    cut(name, most).replace(['"', '\'', '`', '{', '}', '\\'], "_")
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::{cut, line, metric_name};

    #[test]
    fn metric_name_cannot_close_the_quotes_and_braces_around_it() {
        assert_eq!(metric_name("a\"} 1\nevil{x=\"\\", 64), "a__ 1 evil_x=__");
        assert_eq!(metric_name("response time", 64), "response time");
    }

    #[test]
    fn error_of_several_lines_becomes_one_line() {
        assert_eq!(line("expected=[\n    0x0,\n] actual=[\u{7}]"), "expected=[ 0x0, ] actual=[ ]");
        assert_eq!(line("x".repeat(5000)).len(), 1000);
    }

    #[test]
    fn text_becomes_one_short_line() {
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
