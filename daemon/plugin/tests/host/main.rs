//! The plugin host in the test's own process, with guests made of WAT and the plugins that ship: quick, and without real
//! services.

#[path = "../common/mod.rs"]
mod common;

mod builtin;
mod builtin_host;
mod declared;
mod descriptors;
mod escapes;
mod hostile;
mod kept;
mod limits;
mod manual;
mod probes;
mod programs;
mod proposals;
