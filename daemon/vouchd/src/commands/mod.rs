//! What a person types: one file a command.

pub mod config;
mod host;
pub mod plugin;
pub mod status;
