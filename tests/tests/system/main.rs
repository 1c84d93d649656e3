//! Tests of whole systems: real daemons on hosts made of network namespaces, two tests at a time (`.config/nextest.toml`).
//!
//! | module | rules about |
//! |---|---|
//! | `fixture` | the fixture itself, with keepalived as the known quantity |
//! | `failover` | who holds the virtual address, and what a client sees of it |
//! | `addresses` | the addresses of the host: what vouchd adds, removes and never touches |
//! | `peers` | advertisements of others: accepted, discarded, misunderstood |
//! | `configuration` | mistakes, changed files, reloads |
//! | `checks` | checks whose host or backend fails them |
//! | `plugins` | plugin files that arrive, change, compile slowly or misbehave |
//! | `commands` | the commands of an operator and of a plugin's author |
//! | `service` | vouchd below systemd |

mod addresses;
mod checks;
mod commands;
mod configuration;
mod failover;
mod fixture;
mod peers;
mod plugins;
mod service;
