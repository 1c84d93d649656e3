//! The protocol judged from outside, through the crate's public surface: the rows of the conformance checklist, elections
//! and stalls, recorded packets of other implementations, and whole groups of routers on a simulated network.

mod active;
mod backup;
mod bench;
mod captures;
mod election;
mod initialize;
mod limits;
mod reception;
mod reload;
mod rivals;
mod simulation;
mod stall;
