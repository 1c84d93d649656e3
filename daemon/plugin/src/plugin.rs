//! A loaded plugin.

use std::sync::Arc;
use std::time::Duration;

use crate::load::{Kind, Metadata};
use crate::run::{Linked, Ready};

/// A plugin that is ready to run. Cheap to clone. One that is replaced stays alive until its last run has ended.
#[derive(Clone)]
pub struct Plugin(Arc<Loaded>);

struct Loaded {
    linked: Linked,
    origin: Origin,
    sha256: String,
    metadata: Metadata,
}

/// Where a plugin's native code came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It was compiled for this load.
    Compiled {
        /// The time that compiling took.
        took: Duration,
    },
    /// It was compiled earlier and came from the cache.
    Cached,
}

impl Plugin {
    pub(crate) fn new(linked: Linked, origin: Origin, sha256: String, metadata: Metadata) -> Self {
        Plugin(Arc::new(Loaded { linked, origin, sha256, metadata }))
    }

    pub(crate) fn ready(&self) -> &Ready {
        &self.0.linked.ready
    }

    /// Where the native code came from.
    pub fn origin(&self) -> Origin {
        self.0.origin
    }

    /// What kind of file the plugin is.
    pub fn kind(&self) -> Kind {
        self.0.linked.kind
    }

    /// Digest of the file, in lower-case hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.0.sha256
    }

    /// What the plugin says about itself.
    pub fn metadata(&self) -> &Metadata {
        &self.0.metadata
    }

    /// The interfaces of the contract that it imports, such as `http` or `log`.
    pub fn imports(&self) -> &[String] {
        &self.0.linked.imports
    }

    /// The version of the contract that it was built against, such as `0.1.0`. `None` for a WASI command.
    pub fn contract(&self) -> Option<&str> {
        self.0.linked.contract.as_deref()
    }
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plugin").field("kind", &self.kind()).field("sha256", &self.0.sha256).finish_non_exhaustive()
    }
}
