//! Where a run's log lines and printed output go: a few lines are kept, the rest is only counted.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use crate::outcome::{LogLevel, LogLine};
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

/// Standard output or error of a plugin, as log lines. Takes everything, keeps what fits.
#[derive(Clone)]
pub(crate) struct Sink {
    lines: Lines,
    level: LogLevel,
    partial: Arc<Mutex<Vec<u8>>>,
}

impl Sink {
    pub(crate) fn new(lines: Lines, level: LogLevel) -> Self {
        Sink { lines, level, partial: Arc::default() }
    }

    fn take(&self, data: &[u8]) {
        let mut partial = self.partial.lock().unwrap_or_else(PoisonError::into_inner);
        for piece in data.split_inclusive(|b| *b == b'\n') {
            let room = MAX_LINE.saturating_sub(partial.len());
            partial.extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.ends_with(b"\n") {
                self.lines.push(self.level, String::from_utf8_lossy(&partial).trim_end());
                partial.clear();
            }
        }
    }
}

impl Drop for Sink {
    /// The last line may lack its end.
    fn drop(&mut self) {
        if Arc::strong_count(&self.partial) == 1 {
            self.take(b"");
            let partial = self.partial.lock().unwrap_or_else(PoisonError::into_inner);
            if !partial.is_empty() {
                self.lines.push(self.level, String::from_utf8_lossy(&partial).trim_end());
            }
        }
    }
}

impl IsTerminal for Sink {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Sink {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for Sink {
    async fn ready(&mut self) {}
}

impl OutputStream for Sink {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.take(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(64 << 10)
    }
}

impl AsyncWrite for Sink {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, data: &[u8]) -> Poll<std::io::Result<usize>> {
        self.take(data);
        Poll::Ready(Ok(data.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
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
        let sink = Sink::new(lines.clone(), LogLevel::Warn);
        sink.take(b"one\ntw");
        sink.take(b"o\nthree");
        drop(sink);
        let kept: Vec<_> = lines.take().into_iter().map(|l| l.message).collect();
        assert_eq!(kept, ["one", "two", "three"]);
    }

    #[test]
    fn a_line_without_end_takes_no_memory() {
        let lines = Lines::new(10, 1 << 20);
        let sink = Sink::new(lines.clone(), LogLevel::Info);
        for _ in 0..100 {
            sink.take(&[b'x'; 4096]);
        }
        assert_eq!(sink.partial.lock().unwrap().len(), MAX_LINE);
    }
}
