//! What the processes of the daemon and its commands say to each other.
//!
//! | module | between |
//! |---|---|
//! | [`pipe`] | the router and the checker, over a socket pair |
//! | [`control`] | a command and the router, over the control socket |
//! | [`status`] | the document that the router answers with |
//! | [`cache`] | the directory of compiled plugins: made by the router, used by the checker |
//!
//! Types, and how to ask: who answers is in `daemon/router` and `daemon/checker`.

pub mod cache;
pub mod control;
pub mod pipe;
pub mod status;
