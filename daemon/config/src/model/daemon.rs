//! `[daemon]`: settings of the daemon as a whole.

use std::path::PathBuf;
use std::time::Duration;

/// The default path of the control socket.
pub const DEFAULT_CONTROL: &str = "/run/vouchd/control.sock";

/// The default path of the main configuration file.
pub const DEFAULT_FILE: &str = "/etc/vouchd/vouchd.toml";

/// `[daemon]`: settings of the daemon as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Daemon {
    /// This router's name in logs and status. `None`: the host name.
    pub name: Option<String>,
    /// The operator's plugins. The daemon watches this directory.
    pub plugin_dir: PathBuf,
    /// The plugins that come with the daemon. One of the same name in `plugin_dir` replaces one of these.
    pub builtin_plugin_dir: PathBuf,
    /// Public keys of minisign: a plugin needs a signature by one of them. Empty: no plugin needs a signature.
    pub plugin_keys: Vec<String>,
    /// The path of the control socket.
    pub control: PathBuf,
    /// The directory for compiled plugins. `None`: every start compiles them again.
    pub cache_dir: Option<PathBuf>,
    /// The user that the checker process runs as. `None`: `vouchd` if it exists, else `nobody`.
    pub user: Option<String>,
    /// How long the checker may be gone before all checks count as errors.
    pub error_grace: Duration,
    /// Whether the protocol thread asks for real-time scheduling and locked memory.
    pub realtime: bool,
    /// How long after the start of the daemon the instances begin to take part, unless they say otherwise.
    pub startup_delay: Duration,
    /// How long after the boot of the machine the instances begin to take part.
    pub delay_after_boot: Duration,
}
