//! Where plugins come from.

use std::path::PathBuf;

use super::signature::Keys;

/// The plugin directories, and whose plugins may run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sources {
    /// The operator's directory. Its plugins take precedence over built-in plugins of the same name.
    pub(crate) plugins: PathBuf,
    /// The directory of the built-in plugins.
    pub(crate) builtins: PathBuf,
    /// With keys, the operator's plugins need a signature by one of them. So do the built-in plugins, except those that
    /// only root can have installed, like the daemon itself.
    pub(crate) keys: Option<Keys>,
}
