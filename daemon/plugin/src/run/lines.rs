//! Where a run's log lines and printed output go: a few lines are kept, the rest is only counted.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::run::outcome::{LogLevel, LogLine};
use crate::run::output::Keep;
use crate::text::cut;

/// Longest line in bytes.
const MAX_LINE: usize = 1024;

/// The lines of a run, shared by everything that writes them.
#[derive(Clone)]
pub(crate) struct Lines(Arc<Mutex<Kept>>);

struct Kept {
    lines: Vec<LogLine>,
    lines_left: usize,
    bytes_left: usize,
    dropped: usize,
}

impl Lines {
    pub(crate) fn new(lines: usize, bytes: usize) -> Self {
        Lines(Arc::new(Mutex::new(Kept { lines: Vec::new(), lines_left: lines, bytes_left: bytes, dropped: 0 })))
    }

    pub(crate) fn push(&self, level: LogLevel, message: &str) {
        let mut kept = self.lock();
        let message = cut(message, MAX_LINE);
        if kept.lines_left == 0 || message.len() > kept.bytes_left {
            kept.dropped += 1;
            return;
        }
        kept.lines_left -= 1;
        kept.bytes_left -= message.len();
        kept.lines.push(LogLine { level, message });
    }

    /// The lines so far, and a last one that says how many there were besides.
    pub(crate) fn take(&self) -> Vec<LogLine> {
        let mut kept = self.lock();
        let mut lines = std::mem::take(&mut kept.lines);
        if kept.dropped > 0 {
            let message = format!("{} more lines dropped (limits.log_lines, limits.output)", kept.dropped);
            lines.push(LogLine { level: LogLevel::Warn, message });
        }
        lines
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Standard output or error of a plugin, as log lines.
pub(crate) struct Printout {
    lines: Lines,
    level: LogLevel,
    /// A line whose end has not come.
    partial: Mutex<Vec<u8>>,
}

impl Printout {
    pub(crate) fn new(lines: Lines, level: LogLevel) -> Self {
        Printout { lines, level, partial: Mutex::default() }
    }

    fn partial(&self) -> MutexGuard<'_, Vec<u8>> {
        self.partial.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end_line(&self, line: &mut Vec<u8>) {
        self.lines.push(self.level, String::from_utf8_lossy(line).trim_end());
        line.clear();
    }
}

impl Keep for Printout {
    fn keep(&self, data: &[u8]) {
        let mut partial = self.partial();
        for piece in data.split_inclusive(|b| *b == b'\n') {
            let room = MAX_LINE.saturating_sub(partial.len());
            partial.extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.ends_with(b"\n") {
                self.end_line(&mut partial);
            }
        }
    }
}

impl Drop for Printout {
    /// The last line may lack its end.
    fn drop(&mut self) {
        let mut partial = std::mem::take(&mut *self.partial());
        if !partial.is_empty() {
            self.end_line(&mut partial);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_beyond_the_limit_are_counted_not_kept() {
        let lines = Lines::new(2, 1000);
        for n in 0..5 {
            lines.push(LogLevel::Info, &format!("line {n}"));
        }
        let kept: Vec<_> = lines.take().into_iter().map(|l| l.message).collect();
        assert_eq!(kept, ["line 0", "line 1", "3 more lines dropped (limits.log_lines, limits.output)"]);
    }

    #[test]
    fn printed_output_becomes_lines_also_the_last_one() {
        let lines = Lines::new(10, 1000);
        let printout = Printout::new(lines.clone(), LogLevel::Warn);
        printout.keep(b"one\ntw");
        printout.keep(b"o\nthree");
        drop(printout);
        let kept: Vec<_> = lines.take().into_iter().map(|l| l.message).collect();
        assert_eq!(kept, ["one", "two", "three"]);
    }

    #[test]
    fn a_line_without_end_takes_no_memory() {
        let lines = Lines::new(10, 1 << 20);
        let printout = Printout::new(lines.clone(), LogLevel::Info);
        for _ in 0..100 {
            printout.keep(&[b'x'; 4096]);
        }
        assert_eq!(printout.partial.lock().unwrap().len(), MAX_LINE);
    }
}
