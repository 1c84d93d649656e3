//! The log lines of a run, printed output included. Lines beyond a limit are only counted.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::outcome::{LogLevel, LogLine};
use super::output::Sink;
use crate::text::cut;

/// Longest line in bytes.
const MAX_LINE: usize = 1024;

/// The lines of a run. Clones share them.
#[derive(Clone)]
pub(super) struct Lines(Arc<Mutex<Kept>>);

struct Kept {
    lines: Vec<LogLine>,
    lines_left: usize,
    bytes_left: usize,
    dropped: usize,
}

impl Lines {
    /// Keeps up to this many lines, and bytes of all lines together.
    pub(super) fn new(lines: usize, bytes: usize) -> Self {
        Lines(Arc::new(Mutex::new(Kept { lines: Vec::new(), lines_left: lines, bytes_left: bytes, dropped: 0 })))
    }

    pub(super) fn push(&self, level: LogLevel, message: &str) {
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

    /// Takes the kept lines, followed by one with the number of dropped lines, if any.
    pub(super) fn take(&self) -> Vec<LogLine> {
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

/// A [`Sink`] that turns a plugin's standard output or error into log lines.
pub(super) struct Printout {
    lines: Lines,
    level: LogLevel,
    /// The beginning of a line that has not ended.
    partial: Mutex<Vec<u8>>,
}

impl Printout {
    pub(super) fn new(lines: Lines, level: LogLevel) -> Self {
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

impl Sink for Printout {
    fn write(&self, data: &[u8]) {
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
    /// The last line may have no newline.
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
    fn lines_beyond_the_limit_are_only_counted() {
        let lines = Lines::new(2, 1000);
        for n in 0..5 {
            lines.push(LogLevel::Info, &format!("line {n}"));
        }
        let kept: Vec<_> = lines.take().into_iter().map(|l| l.message).collect();
        assert_eq!(kept, ["line 0", "line 1", "3 more lines dropped (limits.log_lines, limits.output)"]);
    }

    #[test]
    fn printed_output_becomes_lines() {
        let lines = Lines::new(10, 1000);
        let printout = Printout::new(lines.clone(), LogLevel::Warn);
        printout.write(b"one\ntw");
        printout.write(b"o\nthree");
        drop(printout);
        let kept: Vec<_> = lines.take().into_iter().map(|l| l.message).collect();
        assert_eq!(kept, ["one", "two", "three"]);
    }

    #[test]
    fn endless_line_is_bounded() {
        let lines = Lines::new(10, 1 << 20);
        let printout = Printout::new(lines.clone(), LogLevel::Info);
        for _ in 0..100 {
            printout.write(&[b'x'; 4096]);
        }
        assert_eq!(printout.partial.lock().unwrap().len(), MAX_LINE);
    }
}
