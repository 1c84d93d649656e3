//! Texts that come from plugins, made fit for one line of a log.

/// An error of a library, which may have several lines, as part of one.
pub(crate) fn line(error: impl std::fmt::Display) -> String {
    const MOST: usize = 1000;
    let words: Vec<_> = format!("{error:#}").split_whitespace().map(str::to_owned).collect();
    cut(&words.join(" "), MOST)
}

/// At most `most` bytes, on one line.
pub(crate) fn cut(text: &str, most: usize) -> String {
    let mut line: String =
        text.trim_end().chars().map(|c| if c.is_control() { ' ' } else { c }).take(most.saturating_add(1)).collect();
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

#[cfg(test)]
mod tests {
    use super::{cut, line};

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
        ];
        for (text, most, expected) in table {
            assert_eq!(cut(text, most), expected, "{text:?}");
            assert!(cut(text, most).len() <= most);
        }
    }
}
