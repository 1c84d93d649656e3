//! The error of a probe inside the host: the contract's `probe-error`, with one more case.

/// The contract's `probe-error`, with one more case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ProbeError {
    Denied(String),
    /// This host can't make the probe: it lacks a descriptor, memory, a port or a route, or may not see what it is to look
    /// at. A plugin finds it as `invalid`.
    Unable(String),
    Timeout,
    Refused,
    Unresolved,
    Tls(String),
    Invalid(String),
    Other(String),
}

impl ProbeError {
    /// The answer of a failed probe, for people.
    pub(crate) fn words(&self) -> String {
        match self {
            ProbeError::Denied(what) => format!("denied: {what}"),
            ProbeError::Timeout => "no answer in time".to_owned(),
            ProbeError::Refused => "refused".to_owned(),
            ProbeError::Unresolved => "name does not resolve".to_owned(),
            ProbeError::Tls(what) => format!("TLS: {what}"),
            ProbeError::Unable(what) | ProbeError::Invalid(what) | ProbeError::Other(what) => what.clone(),
        }
    }

    /// Whether the run can't be judged, whatever the plugin makes of it; and why.
    pub(crate) fn rules_out_a_verdict(&self) -> Option<&str> {
        match self {
            ProbeError::Denied(why) | ProbeError::Unable(why) => Some(why),
            ProbeError::Timeout
            | ProbeError::Refused
            | ProbeError::Unresolved
            | ProbeError::Tls(_)
            | ProbeError::Invalid(_)
            | ProbeError::Other(_) => None,
        }
    }

    /// Whether the peer, or the way to it, is the cause.
    pub(crate) fn is_the_peers(&self) -> bool {
        matches!(self, ProbeError::Timeout | ProbeError::Refused | ProbeError::Tls(_) | ProbeError::Other(_))
    }
}
