//! Connections, as every probe that talks to a service makes and reads them. Grants are checked by the probes.

mod carrier;
mod dial;
mod portions;

pub(super) use carrier::unless_unplugged;
pub(super) use dial::{tcp, unix};
pub(super) use portions::{Portions, Wire};
