//! The log lines of a piece of code, for tests.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tracing::Subscriber;

use crate::logging::{json_lines, text_lines};

/// Runs `run` and returns what it logs as text, in lines without a time.
///
/// # Panics
/// Never, unless `run` panics.
pub fn text(run: impl FnOnce()) -> Vec<String> {
    captured(run, |buffer| text_lines(move || buffer.clone(), None, false).finish())
}

/// Runs `run` and returns what it logs as JSON, one document for each line.
///
/// # Panics
/// If a line is not JSON, or if `run` panics.
pub fn json(run: impl FnOnce()) -> Vec<Value> {
    let lines = captured(run, |buffer| json_lines(move || buffer.clone()).finish());
    lines.iter().map(|line| serde_json::from_str(line).expect("a log line is a JSON document")).collect()
}

pub(crate) fn captured<S: Subscriber + Send + Sync>(
    run: impl FnOnce(),
    subscriber: impl FnOnce(Buffer) -> S,
) -> Vec<String> {
    let buffer = Buffer::default();
    tracing::subscriber::with_default(subscriber(buffer.clone()), run);
    let bytes = buffer.0.lock().expect("no writer panics");
    String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect()
}

/// Keeps what is written.
#[derive(Clone, Default)]
pub(crate) struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no writer panics").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
