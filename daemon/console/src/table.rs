//! Prints tables and long texts. No line is wider than a terminal, and text from a plugin, a peer or a file name cannot control
//! it.

use std::fmt;

use unicode_width::UnicodeWidthChar;
use vouchd_printable::printable;

/// Maximum width of a line. Two columns less than the usual terminal, so that a table may be indented.
const WIDTH: usize = 78;

/// Maximum width of a column other than the last.
const COLUMN: usize = 20;

/// Minimum width of the last column. If less is left, long cells move to their own lines.
const LAST: usize = 24;

/// The gap between two columns.
const GAP: usize = 2;

/// The indentation of lines that belong to the row above.
pub const INDENT: usize = 4;

/// A table of `N` columns. Its `Display` prints it.
pub struct Table<const N: usize> {
    /// The maximum width of a line, and of a column other than the last.
    limits: (usize, usize),
    header: [String; N],
    rows: Vec<Row<N>>,
}

struct Row<const N: usize> {
    cells: [String; N],
    notes: Vec<String>,
}

impl<const N: usize> Table<N> {
    /// An empty table.
    pub fn new(header: [&str; N]) -> Self {
        Table { limits: (WIDTH, COLUMN), header: header.map(str::to_owned), rows: Vec::new() }
    }

    /// An empty table that prints each row on one line of any length, so that programs can read it.
    pub fn wide(header: [&str; N]) -> Self {
        Table { limits: (usize::MAX, usize::MAX), ..Self::new(header) }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: [String; N]) {
        self.rows.push(Row { cells: cells.map(|cell| printable(&cell).into_owned()), notes: Vec::new() });
    }

    /// Adds a text on its own lines below the newest row.
    pub fn note(&mut self, text: &str) {
        if let Some(row) = self.rows.last_mut() {
            row.notes.push(indented(text, INDENT));
        }
    }

    /// The width of each column. The last one gets the rest of the line.
    fn widths(&self) -> [usize; N] {
        let mut widths = [0; N];
        let (line, column) = self.limits;
        for (at, widest) in widths.iter_mut().enumerate() {
            let cells = self.rows.iter().map(|row| &row.cells).chain([&self.header]);
            *widest = cells
                .map(|cells| width(&cells[at]))
                .filter(|columns| *columns <= column || at + 1 == N)
                .max()
                .unwrap_or(0);
        }
        let before: usize = widths[..N - 1].iter().map(|width| width + GAP).sum();
        widths[N - 1] = widths[N - 1].min(line.saturating_sub(before)).max(width(&self.header[N - 1]));
        widths
    }

    fn write_row(&self, cells: &[String; N], widths: &[usize; N], f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let indent: usize = widths[..N - 1].iter().map(|width| width + GAP).sum();
        let mut line = String::new();
        for (at, (cell, columns)) in cells.iter().zip(widths).take(N - 1).enumerate() {
            let mut shown = shortened(cell, *columns);
            if at == 0 && width(cell) > *columns {
                // A row is found by its name, so the name is not shortened.
                f.write_str(&indented(cell, 0))?;
                shown.clear();
            }
            line += &shown;
            line += &" ".repeat(columns + GAP - width(&shown));
        }
        let last = &cells[N - 1];
        let own_lines = width(last) > widths[N - 1] && widths[N - 1] < LAST;
        let parts = if own_lines { Vec::new() } else { wrapped(last, widths[N - 1]) };
        let mut parts = parts.into_iter();
        line += &parts.next().unwrap_or_default();
        writeln!(f, "{}", line.trim_end())?;
        for part in parts {
            writeln!(f, "{:indent$}{part}", "")?;
        }
        if own_lines { f.write_str(&indented(last, INDENT)) } else { Ok(()) }
    }
}

impl<const N: usize> fmt::Display for Table<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        self.write_row(&self.header, &widths, f)?;
        for row in &self.rows {
            self.write_row(&row.cells, &widths, f)?;
            for note in &row.notes {
                f.write_str(note)?;
            }
        }
        Ok(())
    }
}

/// `text` on as many lines as needed, each indented and ended with a line break.
pub fn indented(text: &str, indent: usize) -> String {
    let lines = wrapped(&printable(text), WIDTH - indent);
    lines.into_iter().map(|line| format!("{:indent$}{line}\n", "")).collect()
}

/// `text` on one line, shortened if it does not fit.
pub fn first_line(text: &str) -> String {
    shortened(&printable(text), WIDTH) + "\n"
}

/// Breaks `text` into lines of at most `width` columns, between words or within a word that is too long.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        let mut word = word;
        if !line.is_empty() && self::width(&line) + 1 + self::width(word) > width {
            lines.push(std::mem::take(&mut line));
        }
        while let Some(end) = break_of(word, width) {
            let (piece, rest) = word.split_at(end);
            lines.push(piece.to_owned());
            word = rest;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line += word;
    }
    if !line.is_empty() || lines.is_empty() {
        lines.push(line);
    }
    lines
}

/// The offset at which to break a word that is wider than `width`: after the last slash that fits, or where the line is full.
/// `None` if the word fits.
fn break_of(word: &str, width: usize) -> Option<usize> {
    // At least one character, so that the loop ends.
    let end = fitting(word, width)?.max(word.chars().next().map_or(0, char::len_utf8));
    Some(word[..end].rfind('/').map_or(end, |slash| if slash + 1 > end / 2 { slash + 1 } else { end }))
}

/// `text` if it fits, or else its beginning and an ellipsis.
fn shortened(text: &str, width: usize) -> String {
    match fitting(text, width) {
        None => text.to_owned(),
        Some(_) => format!("{}…", &text[..fitting(text, width.saturating_sub(1)).unwrap_or(0)]),
    }
}

/// The number of bytes of `text` that fit into `width` columns; `None` if all of it fits.
fn fitting(text: &str, width: usize) -> Option<usize> {
    let mut used = 0;
    let too_many = text.char_indices().find(|(_, c)| {
        used += columns(*c);
        used > width
    });
    too_many.map(|(at, _)| at)
}

fn width(text: &str) -> usize {
    text.chars().map(columns).sum()
}

fn columns(c: char) -> usize {
    c.width().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_control_characters_do_not_break_a_row() {
        let mut table = Table::new(["NAME", "MESSAGE"]);
        table.row(["a-long-name".to_owned(), "two\nlines\u{202e}".to_owned()]);
        table.row(["b".to_owned(), String::new()]);
        assert_eq!(table.to_string(), "NAME         MESSAGE\na-long-name  two lines\nb\n");
    }

    #[test]
    fn no_line_is_wider_than_a_terminal_whatever_is_in_the_cells() {
        let long = "x".repeat(200);
        let words = "a reason of many words ".repeat(20);
        let wide = "漢".repeat(70);
        let path = format!("/{long}/{long}");
        for text in [&long, &words, &wide, &path] {
            for last in [&long, &words, &wide, &path] {
                let mut table = Table::new(["NAME", "MIDDLE", "OTHER", "MESSAGE"]);
                table.row([text.clone(), text.clone(), "x".repeat(COLUMN), last.clone()]);
                table.row(["short".to_owned(), "y".repeat(COLUMN), "z".to_owned(), last.clone()]);
                table.note(text);
                let shown = table.to_string();
                assert!(shown.lines().all(|line| width(line) <= WIDTH), "{shown}");
                let squeezed: String = shown.split_whitespace().collect();
                let name: String = text.split_whitespace().collect();
                assert!(squeezed.contains(&name), "the name is there, whole:\n{shown}");
            }
        }
    }

    #[test]
    fn long_message_is_wrapped_in_its_column() {
        let mut table = Table::new(["CHECK", "MESSAGE"]);
        table.row(["site".to_owned(), format!("{} end", "word ".repeat(16).trim_end())]);
        table.note("since yesterday");
        let expected = "\
CHECK  MESSAGE
site   word word word word word word word word word word word word word word
       word word end
    since yesterday
";
        assert_eq!(table.to_string(), expected);
    }

    #[test]
    fn path_is_broken_between_directories() {
        assert_eq!(wrapped("/usr/lib/vouchd/plugins/x.wasm", 20), ["/usr/lib/vouchd/", "plugins/x.wasm"]);
        assert_eq!(wrapped("", 20), [""]);
        assert_eq!(shortened("0123456789", 5), "0123…");
    }
}
