//! What the catalog reports.

use vouchd_ipc::pipe::PluginState;

/// A change of one plugin, or of the plugin directories.
#[derive(Debug)]
pub(crate) enum PluginEvent<P> {
    /// This version runs from now on.
    Loaded { plugin: P, sha256: String, state: PluginState },
    /// The plugin has a file that is not loaded yet. The version that runs, if any, stays in use. Every file that exists at
    /// the start is reported before [`PluginEvent::Ready`]; a file is reported again when it waits for something else.
    Pending { state: PluginState },
    /// What is known about the file has changed; the version that runs, if any, stays in use.
    StateChanged { state: PluginState },
    /// The plugin has no file any more, and must not run. `state.error` is `None` if no version of it ran.
    Gone { state: PluginState },
    /// All files that existed at the start have been tried: plugins without an event so far do not exist. Sent once.
    /// `problems` lists the directories that cannot be read, with the reasons.
    Ready { problems: Vec<String> },
    /// The list of [`PluginEvent::Ready`] has changed.
    Problems { problems: Vec<String> },
}

impl<P> PluginEvent<P> {
    /// The state of the plugin that the event is about.
    pub(crate) fn state(&self) -> Option<&PluginState> {
        match self {
            PluginEvent::Loaded { state, .. }
            | PluginEvent::Pending { state }
            | PluginEvent::StateChanged { state }
            | PluginEvent::Gone { state } => Some(state),
            PluginEvent::Ready { .. } | PluginEvent::Problems { .. } => None,
        }
    }
}
