//! The plugin files in the two plugin directories, and which version of each plugin runs.
//!
//! Data goes one way, from the files to a [`PluginEvent`](catalog::PluginEvent) per change:
//!
//! - [`listing`]: the files of a directory, and when each may have changed;
//! - [`read`]: the bytes of a file, or a [`ReadError`](read_error::ReadError);
//! - [`signature`]: whether a file may run;
//! - [`load`]: what the catalog asks of a loader; [`loader`]: the loader that compiles in the plugin host;
//! - [`catalog`]: compares the files with what is loaded, and reports each change;
//! - [`watcher`]: the thread that calls the catalog whenever a directory changes.

pub(crate) mod catalog;
pub(crate) mod listing;
pub(crate) mod load;
pub(crate) mod loader;
pub(crate) mod read;
pub(crate) mod read_error;
pub(crate) mod signature;
pub(crate) mod sources;
pub(crate) mod watcher;
