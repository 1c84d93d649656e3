//! What a person types: one file a command.

pub mod config;
pub mod plugin;
pub mod status;
