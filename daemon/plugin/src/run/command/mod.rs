//! WASI commands as checks: their arguments and environment, and their standard output. [`report`] makes a report of exit
//! status and output.

pub(super) mod report;

use std::sync::{Mutex, PoisonError};

use wasmtime_wasi::WasiCtxBuilder;

use super::output::Sink;

/// What a run hands over to a WASI command. Other plugins are called with their parameters.
pub(crate) struct Command<'a> {
    pub(super) params: &'a [(String, String)],
    /// Whether it is a core module, whose imports are WASI preview 1.
    pub(super) is_module: bool,
}

/// Sets a command's arguments and environment: the check's name, and each parameter as `NAME=VALUE`.
pub(super) fn set_arguments(builder: &mut WasiCtxBuilder, check: &str, params: &[(String, String)]) {
    // A zero byte would end the C string.
    let clean = |text: &str| text.replace('\0', "");
    builder.arg(clean(check));
    for (name, value) in params {
        builder.arg(clean(&format!("{name}={value}")));
        builder.env(clean(name), clean(value));
    }
}

/// The standard output of a command, kept up to a limit.
pub(super) struct Printed(Mutex<Kept>);

struct Kept {
    data: Vec<u8>,
    limit: usize,
    exceeded: bool,
}

impl Printed {
    /// Keeps up to `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Printed(Mutex::new(Kept { data: Vec::new(), limit, exceeded: false }))
    }

    /// What was printed, or the limit that it exceeded.
    pub(super) fn text(&self) -> Result<String, usize> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.exceeded { Err(kept.limit) } else { Ok(String::from_utf8_lossy(&kept.data).into_owned()) }
    }
}

impl Sink for Printed {
    fn write(&self, data: &[u8]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = kept.limit.saturating_sub(kept.data.len());
        kept.exceeded |= data.len() > left;
        kept.data.extend_from_slice(&data[..data.len().min(left)]);
    }
}
