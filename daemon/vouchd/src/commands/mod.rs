//! The operator's commands, except `vouchd run`.

pub(crate) mod config;
pub(crate) mod plugin;
pub(crate) mod status;
