//! The messages between the processes of the daemon and its commands.
//!
//! | module | contains |
//! |---|---|
//! | [`pipe`] | the messages between the router and the checker, over a socket pair |
//! | [`control`] | the client of the control socket, over which a command asks the router |
//! | [`status`] | the document that the router answers with |
//! | [`cache`] | the directory of compiled plugins: prepared by the router, used by the checker |
//!
//! Types and clients; the servers are in `daemon/router` and `daemon/checker`.

#![warn(missing_docs, unreachable_pub)]

pub mod cache;
pub mod control;
pub mod pipe;
pub mod status;
