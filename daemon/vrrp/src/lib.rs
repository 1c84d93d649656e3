//! The VRRP protocol as a state machine without I/O.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod action;
mod config;
mod discard;
mod input;
mod peers;
mod reception;
mod router;
mod status;
mod time;
mod timers;

pub use action::{Action, Event};
pub use config::{Announcements, Config, ConfigError};
pub use discard::{Discard, Rejection};
pub use input::{Health, Input, Link, Packet};
pub use router::Router;
pub use status::{Counters, Peer, State, Why};
pub use time::Instant;
pub use timers::{down_interval, election_wait, lease, skew};
pub use vouchd_wire as wire;
