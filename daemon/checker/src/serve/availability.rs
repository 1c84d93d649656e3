//! What the checks know about their plugins.

use std::collections::{HashMap, HashSet};

use tokio::sync::watch;

use crate::plugins::catalog::PluginEvent;
use crate::plugins::sources::Sources;

/// What is known about a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Availability<P> {
    /// It may have a file that is not loaded yet; checks wait.
    Pending,
    Available {
        plugin: P,
        sha256: String,
    },
    Unavailable {
        reason: String,
    },
}

/// What is known about each plugin that a check or an event has named.
pub(crate) struct AvailablePlugins<P> {
    sources: Sources,
    plugins: HashMap<String, watch::Sender<Availability<P>>>,
    /// Plugins whose first version is not loaded yet.
    awaited: HashSet<String>,
    /// Plugins that a check needs and that have no file.
    missing: HashSet<String>,
    /// What a plugin without any event is.
    others: Others,
}

/// What a plugin is that no event has named.
enum Others {
    /// Not all files have been tried: it may still be loaded.
    Pending,
    /// All files have been tried: it does not exist, unless it is in a directory that cannot be read.
    Missing { problems: Vec<String> },
}

impl<P: Clone> AvailablePlugins<P> {
    pub(crate) fn new(sources: Sources) -> Self {
        AvailablePlugins {
            sources,
            plugins: HashMap::new(),
            awaited: HashSet::new(),
            missing: HashSet::new(),
            others: Others::Pending,
        }
    }

    pub(crate) fn subscribe(&mut self, plugin: &str) -> watch::Receiver<Availability<P>> {
        self.sender(plugin).subscribe()
    }

    fn sender(&mut self, plugin: &str) -> &watch::Sender<Availability<P>> {
        if !self.plugins.contains_key(plugin) {
            let availability = self.without_event(plugin);
            self.plugins.insert(plugin.to_owned(), watch::Sender::new(availability));
        }
        &self.plugins[plugin]
    }

    /// What a plugin is about which no event has said more.
    fn without_event(&mut self, plugin: &str) -> Availability<P> {
        match &self.others {
            _ if self.awaited.contains(plugin) => Availability::Pending,
            Others::Pending => Availability::Pending,
            Others::Missing { problems } => {
                self.missing.insert(plugin.to_owned());
                missing(plugin, &self.sources, problems)
            }
        }
    }

    pub(crate) fn update(&mut self, event: PluginEvent<P>) {
        if let Some(state) = event.state() {
            match state.awaited() {
                Some(_) => self.awaited.insert(state.name.clone()),
                None => self.awaited.remove(&state.name),
            };
            self.missing.remove(&state.name);
        }
        match event {
            PluginEvent::Pending { state } => {
                if state.awaited().is_some() {
                    self.sender(&state.name).send_replace(Availability::Pending);
                }
            }
            PluginEvent::Loaded { plugin, state, sha256 } => {
                self.sender(&state.name).send_replace(Availability::Available { plugin, sha256 });
            }
            PluginEvent::StateChanged { state } => {
                if let (None, Some(error)) = (&state.loaded, &state.error) {
                    let reason = format!("plugin {} ({}) can't be used: {error}", state.name, state.source.display());
                    self.sender(&state.name).send_replace(Availability::Unavailable { reason });
                }
            }
            PluginEvent::Gone { state } => {
                let availability = match &state.error {
                    Some(error) => Availability::Unavailable { reason: format!("plugin {} is {error}", state.name) },
                    None => self.without_event(&state.name),
                };
                self.sender(&state.name).send_replace(availability);
            }
            PluginEvent::Ready { problems } => {
                for (name, sender) in self.plugins.iter().filter(|(name, _)| !self.awaited.contains(*name)) {
                    sender.send_if_modified(|availability| {
                        let is_pending = matches!(availability, Availability::Pending);
                        if is_pending {
                            self.missing.insert(name.clone());
                            *availability = missing(name, &self.sources, &problems);
                        }
                        is_pending
                    });
                }
                self.others = Others::Missing { problems };
            }
            PluginEvent::Problems { problems } => {
                for name in &self.missing {
                    if let Some(sender) = self.plugins.get(name) {
                        sender.send_replace(missing(name, &self.sources, &problems));
                    }
                }
                self.others = Others::Missing { problems };
            }
        }
    }
}

fn missing<P>(name: &str, sources: &Sources, problems: &[String]) -> Availability<P> {
    let Sources { plugins, builtins, .. } = sources;
    let mut reason =
        format!("no plugin {name}: expected {name}.wasm in {} or {}", plugins.display(), builtins.display());
    for problem in problems {
        reason.push_str("; ");
        reason.push_str(problem);
    }
    Availability::Unavailable { reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vouchd_ipc::pipe::{Pending, PluginState};

    #[test]
    fn plugin_that_is_being_compiled_is_pending_and_only_one_without_a_file_is_unavailable() {
        let sources = Sources { plugins: "/p".into(), builtins: "/b".into(), keys: None };
        let mut plugins: AvailablePlugins<String> = AvailablePlugins::new(sources);
        let slow = plugins.subscribe("slow");
        let state = |is_pending: bool| PluginState {
            name: "slow".to_owned(),
            source: "/p/slow.wasm".into(),
            loaded: None,
            error: (!is_pending).then(|| "why".to_owned()),
            pending: is_pending.then(|| Pending { what: "is being compiled".to_owned(), since: 0, is_long: true }),
            is_gone: false,
        };
        plugins.update(PluginEvent::Pending { state: state(true) });
        plugins.update(PluginEvent::Ready { problems: Vec::new() });
        assert!(matches!(*slow.borrow(), Availability::Pending));
        assert!(matches!(*plugins.subscribe("slow").borrow(), Availability::Pending));
        assert!(matches!(*plugins.subscribe("other").borrow(), Availability::Unavailable { .. }));
        plugins.update(PluginEvent::StateChanged { state: state(false) });
        assert!(
            matches!(&*slow.borrow(), Availability::Unavailable { reason } if reason.ends_with("can't be used: why"))
        );
        plugins.update(PluginEvent::Pending { state: state(true) });
        assert!(matches!(*slow.borrow(), Availability::Pending), "a new file, in place of one that can't be used");
    }
}
