//! Errors of a check and of its probes.

use std::fmt;

use crate::params::ParamError;
use crate::report::Report;

/// The result of a check, with [`Error`] as the default error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The check could not be carried out. This is no verdict about the service, and never counts as a pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(String);

impl Error {
    /// An error with this text. Say what was expected, what was found, and what to do.
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
    /// The check has no grant for it, or a limit of the check was exceeded. The text names the line to add to the
    /// configuration, or the limit. The run ends as an error, whatever the plugin reports.
    Denied(String),
    /// No answer before the deadline.
    Timeout,
    /// The peer refused or reset the connection, or does not exist.
    Refused,
    /// The name did not resolve.
    Unresolved,
    /// The TLS handshake failed, or the certificate is not valid.
    Tls(String),
    /// The probe cannot be made: an argument makes no sense, a file cannot be read, or this host lacks what it takes, such as a
    /// free descriptor or a route.
    Invalid(String),
    /// Any other reason why the peer did not answer.
    Other(String),
}

impl ProbeError {
    /// Makes a `fail` report from a failure of the peer: `WHAT: REASON`. A probe that could not be made at all stays an error.
    ///
    /// # Errors
    /// If the probe was [`Denied`](ProbeError::Denied) or [`Invalid`](ProbeError::Invalid).
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
