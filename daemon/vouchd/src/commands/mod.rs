//! What a person types: one file a command.

pub mod config;
mod host;
mod host_addresses;
pub mod plugin;
pub mod status;
