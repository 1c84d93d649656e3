//! The protocol tested through the crate's public API: the rows of the conformance checklist, elections and stalls, recorded
//! packets of other implementations, and groups of routers on a simulated network.

mod active;
mod backup;
mod bench;
mod captures;
mod delays;
mod dual;
mod election;
mod groups;
mod hmac;
mod initialize;
mod limits;
mod no_addresses;
mod pair;
mod reception;
mod reload;
mod rivals;
mod simulation;
mod stall;
