//! What wakes the main thread.

use vouchd_config::Files;

/// What wakes the main thread.
pub enum Wakeup {
    Signal(i32),
    /// What the configuration's files say, and why it is to be loaded.
    Configuration(Box<Files>, String),
    /// The protocol thread has ended without being told to.
    ProtocolEnded,
}
