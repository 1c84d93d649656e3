//! The crate against a real kernel, each test in a network namespace of its own.

mod addresses;
mod announcements;
mod attributes;
mod ipv6_addresses;
mod ipv6_packets;
mod links;
mod monitor;
mod namespace;
mod neighbour_watch;
mod packets;
mod routing;
mod virtual_mac;
