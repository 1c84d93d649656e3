//! Makes foreign text harmless for a terminal or a log.
//!
//! Foreign text is text that somebody else chose: a plugin, a peer, the name of a file, a configuration. Shown as it is, it could
//! end a line, drive the terminal or disguise itself as other text. This crate decides which characters may be shown, for every
//! program of the workspace. It does not print anything.
#![forbid(unsafe_code)]
#![warn(missing_docs, unreachable_pub)]

use std::borrow::Cow;

/// Whether `c` would do anything else than appear: end a line, drive the terminal, change the order of the text around it, or be
/// invisible.
///
/// These are the control characters, the line and paragraph separators, the bidirectional controls, which can make one text look
/// like another, and characters without a shape. The joiners U+200C and U+200D and the zero-width space U+200B are allowed,
/// because several scripts need them.
pub fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200e}' | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

/// Replaces each [unprintable](is_unprintable) character by a space, which also puts `text` on one line.
pub fn printable(text: &str) -> Cow<'_, str> {
    if text.contains(is_unprintable) {
        Cow::Owned(text.chars().map(|c| if is_unprintable(c) { ' ' } else { c }).collect())
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::{is_unprintable, printable};

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
            assert_eq!(printable(text), expected, "{text:?}");
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
