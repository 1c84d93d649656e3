//! Why a check, or one of its probes, came to nothing.

use std::fmt;

use crate::params::ParamError;
use crate::report::Report;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The check could not be carried out. Not a verdict about the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(String);

impl Error {
    /// Say what was expected, what was found, and what to do.
    pub fn new(text: impl Into<String>) -> Self {
        Error(text.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

impl From<ParamError> for Error {
    fn from(error: ParamError) -> Self {
        Error(error.to_string())
    }
}

impl From<ProbeError> for Error {
    fn from(error: ProbeError) -> Self {
        Error(error.to_string())
    }
}

/// Why a probe gave no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeError {
    /// Not granted to this check, or more than its limits; the text names the line to add to the configuration, or the limit.
    Denied(String),
    /// No answer before the deadline.
    Timeout,
    /// The peer refused or reset.
    Refused,
    /// The name did not resolve.
    Unresolved,
    /// TLS handshake or certificate.
    Tls(String),
    /// The probe can't be made: an argument makes no sense, a file can't be read, or this host is not able to.
    Invalid(String),
    /// Anything else that kept the peer from answering.
    Other(String),
}

impl ProbeError {
    /// `fail`, saying that `what` did not answer and why; or an error where the probe could not be made at all.
    ///
    /// # Errors
    /// If the probe was denied, an argument made no sense, or this host could not make it.
    pub fn or_fail(self, what: &str) -> Result<Report> {
        match self {
            ProbeError::Denied(_) | ProbeError::Invalid(_) => Err(self.into()),
            ProbeError::Timeout
            | ProbeError::Refused
            | ProbeError::Unresolved
            | ProbeError::Tls(_)
            | ProbeError::Other(_) => Ok(Report::fail(format!("{what}: {self}"))),
        }
    }
}

impl fmt::Display for ProbeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProbeError::Denied(text) | ProbeError::Invalid(text) | ProbeError::Other(text) => f.write_str(text),
            ProbeError::Timeout => f.write_str("no answer in time"),
            ProbeError::Refused => f.write_str("connection refused"),
            ProbeError::Unresolved => f.write_str("the name does not resolve"),
            ProbeError::Tls(text) => write!(f, "TLS: {text}"),
        }
    }
}

impl std::error::Error for ProbeError {}
