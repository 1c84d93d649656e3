//! The crate against a real kernel, each test in a network namespace of its own.

mod addresses;
mod announcements;
mod links;
mod namespace;
mod packets;
