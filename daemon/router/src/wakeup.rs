//! The events of the main thread.

use vouchd_config::Files;

/// An event that wakes the main thread.
pub(crate) enum Wakeup {
    /// A signal, by number.
    Signal(i32),
    /// The configuration files to load, and why.
    Configuration(Box<Files>, String),
    /// The protocol thread has ended, perhaps without a command.
    ProtocolEnded,
}
