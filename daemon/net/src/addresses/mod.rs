//! Virtual addresses: adding them with a lease, removing them, and announcing them.
//!
//! Commands and reports are plain values. [`keeper`] is the handle of the thread that carries commands out, `worker` is
//! that thread, and [`reconciler`] is the pure model that tells it what to do.

mod attributes;
mod command;
mod conflicts;
mod keeper;
mod lease;
mod reconciler;
mod report;
mod sweep;
mod worker;

pub use attributes::AddressAttributes;
pub use command::{AddressCommand, Claim, CommandKind, CommandRefused, InstanceKey, VirtualAddress};
pub use conflicts::{Finding, examine};
pub use keeper::AddressKeeper;
pub use lease::{Late, Lifetime};
pub use report::{AddressChange, AddressError, AddressState, HostCopy, Presence, Report};
pub use sweep::sweep;
