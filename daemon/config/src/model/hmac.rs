//! `hmac` of an instance.

use std::time::Duration;

use vouchd_wire::hmac::HmacKey;

/// The authentication by HMAC (draft-cassen-vrrp-auth-hmac).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hmac {
    /// The keys, each with another id. Packets with any of them are accepted.
    pub keys: Vec<HmacKey>,
    /// The id of the key to send with.
    pub active_key: u8,
    /// What to accept.
    pub mode: HmacMode,
    /// Whether a packet that is not newer than the last one of its sender is discarded.
    pub anti_replay: bool,
    /// How far the clocks of two routers may differ. `None`: by any time.
    pub time_window: Option<Duration>,
}

/// What a router with HMAC keys sends and accepts, so that a group can be moved to HMAC node by node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HmacMode {
    /// Sends no trailer; accepts packets without one, and checks those with one.
    ReceiveOnly,
    /// Sends the trailer; accepts packets without one, and does not check those with one.
    SendOnly,
    /// Sends the trailer; accepts packets without one, and checks those with one.
    AcceptEither,
    /// Sends the trailer; accepts only packets with a right one.
    #[default]
    Require,
}
