//! Text that somebody else chose (a plugin, a peer, a file's name, a configuration), made fit for one line of a terminal or
//! a log.
//!
//! This is the one place that decides which characters may be shown. Nothing here knows who prints.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

use std::borrow::Cow;

/// Whether `c` would do anything but appear: end a line, drive the terminal, turn the order of what surrounds it, or hide.
///
/// Beside the control characters these are the line and paragraph separators, the bidirectional controls (with which a text
/// can look like another one), and characters without a shape. The joiners U+200C and U+200D and the
/// zero-width space U+200B stay: several scripts need them.
pub fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200e}' | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

/// `text` on one line, with a space in the place of each character that is [unprintable](is_unprintable).
pub fn plain(text: &str) -> Cow<'_, str> {
    if text.contains(is_unprintable) {
        Cow::Owned(text.chars().map(|c| if is_unprintable(c) { ' ' } else { c }).collect())
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::{is_unprintable, plain};

    #[test]
    fn control_bidirectional_and_invisible_characters_become_spaces() {
        let table = [
            ("fine, äöü, 漢字, 👩\u{200d}💻", "fine, äöü, 漢字, 👩\u{200d}💻"),
            ("two\nlines\r\n\ttab", "two lines   tab"),
            ("\u{1b}[31mred\u{7}\u{9b}2J", " [31mred  2J"),
            ("a\u{2028}b\u{2029}c\u{85}d", "a b c d"),
            ("pass\u{202e}lluf\u{202c}", "pass lluf "),
            ("\u{feff}a\u{2060}b\u{e0041}", " a b "),
            ("e\u{301}\u{200b}", "e\u{301}\u{200b}"),
        ];
        for (text, expected) in table {
            assert_eq!(plain(text), expected, "{text:?}");
        }
    }

    #[test]
    fn every_bidirectional_control_and_separator_is_unprintable() {
        let ranges =
            ['\u{202a}'..='\u{202e}', '\u{2066}'..='\u{2069}', '\u{2028}'..='\u{2029}', '\u{200e}'..='\u{200f}'];
        for c in ranges.into_iter().flatten().chain(['\u{61c}', '\u{0}', '\u{7f}', '\u{9f}']) {
            assert!(is_unprintable(c), "{c:?}");
        }
        assert!(!is_unprintable(' ') && !is_unprintable('…') && !is_unprintable('\u{200c}'));
    }
}
