//! What a person types, but for `vouchd run`.

pub mod config;
pub mod plugin;
pub mod status;
