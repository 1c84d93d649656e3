//! The functions of the contract that a plugin calls. Each probe stays within the run's bounds, and is recorded.

mod probes;
mod simple;
mod stream;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::outcome::LogLevel;
use super::state::{MAX_MEMO, RunState};
use crate::contract::{ProbeError, clock, log, memo, types};

impl types::Host for RunState {
    fn convert_probe_error(&mut self, error: ProbeError) -> wasmtime::Result<types::ProbeError> {
        Ok(error.into())
    }
}

impl From<ProbeError> for types::ProbeError {
    fn from(error: ProbeError) -> Self {
        match error {
            ProbeError::Denied(text) => types::ProbeError::Denied(text),
            // The case that every SDK takes for an error of the check.
            ProbeError::Unable(text) | ProbeError::Invalid(text) => types::ProbeError::Invalid(text),
            ProbeError::Timeout => types::ProbeError::Timeout,
            ProbeError::Refused => types::ProbeError::Refused,
            ProbeError::Unresolved => types::ProbeError::Unresolved,
            ProbeError::Tls(text) => types::ProbeError::Tls(text),
            ProbeError::Other(text) => types::ProbeError::Other(text),
        }
    }
}

impl log::Host for RunState {
    async fn log(&mut self, level: log::Level, message: String) {
        let level = match level {
            log::Level::Debug => LogLevel::Debug,
            log::Level::Info => LogLevel::Info,
            log::Level::Warn => LogLevel::Warn,
            log::Level::Error => LogLevel::Error,
        };
        self.lines.push(level, &message);
    }
}

impl memo::Host for RunState {
    async fn get(&mut self) -> Vec<u8> {
        self.memo.kept.clone().unwrap_or_else(|| self.memo.before.clone())
    }

    async fn set(&mut self, data: Vec<u8>) {
        if data.len() > MAX_MEMO {
            self.memo.too_long = Some(data.len());
        } else {
            self.memo.kept = Some(data);
        }
    }
}

impl clock::Host for RunState {
    async fn now(&mut self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_finds_what_the_host_cannot_do_as_invalid() {
        let error = types::ProbeError::from(ProbeError::Unable("no descriptor".to_owned()));
        assert!(matches!(error, types::ProbeError::Invalid(text) if text == "no descriptor"));
    }
}
