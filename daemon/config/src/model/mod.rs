//! The configuration as the daemon uses it: typed, in range, with every default filled in.
//!
//! [`Check`], [`Grants`](crate::Grants) and [`Limits`] go through the pipe to the checker process and can be serialized.
//! All types compare by value, so that a reload can find out what is new, gone or changed.

mod address;
mod check;
mod daemon;
mod hmac;
mod instance;

pub use address::{AddressFlags, VirtualAddress};
pub use check::{Check, CheckUse, ExitCodes, Limits};
pub use daemon::{DEFAULT_CONTROL, DEFAULT_FILE, Daemon};
pub use hmac::{Hmac, HmacMode};
pub use instance::{Garp, Group, Instance, Multicast, Peer, Track, Unicast, VirtualMac};
