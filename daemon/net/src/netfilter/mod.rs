//! nftables through its netlink API: the one table with which an active router drops packets to virtual addresses.
//!
//! Hand-written, since the needed messages are few: [`message`] builds them, [`AcceptFilter`] sends them.
//!
//! The table has the flag `owner`: it belongs to the socket that made it. Nobody else can change it, `nft flush ruleset` of
//! a firewall leaves it alone, and the kernel removes it when the daemon ends, however it ends. Linux 5.12 and later.

mod filter;
mod message;

pub(crate) use filter::AcceptFilter;
