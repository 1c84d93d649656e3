//! The checker process: runs the plugins, without any privilege, and tells the router how every run ended.
//!
//! - [`schedule`] (pure): when a check runs next.
//! - [`directory`], [`shelf`], [`files`]: which version of which plugin there is to run; [`signature`]: whether it may.
//! - [`runner`]: one task per check, with [`watch`] for what its last run looked at.
//! - [`guest`]: the plugin host behind the runner; [`loading`]: behind the shelf.
//! - [`channel`]: the socket to the router; [`heartbeat`]: what tells it that this process is alive.
//!
//! It decides nothing: counting runs and what they cost an instance is the router's, and survives this process. When
//! anything here goes wrong beyond one run, the process ends and the router starts a new one.

pub mod channel;
pub mod directory;
pub mod files;
pub mod guest;
pub mod heartbeat;
pub mod loading;
pub mod runner;
pub mod schedule;
pub mod shelf;
pub mod signature;
pub mod watch;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::sync::{mpsc, watch as latest};
use tokio::task::{AbortHandle, JoinSet};
use vouchd_config::Check;

use channel::Channel;
use heartbeat::Heartbeat;
use runner::{Follow, Run, Slot};
use schedule::Pace;
use shelf::{Event, Load, Sources};
use signature::Keys;
use vouchd_ipc::pipe::{FromChecker, Init, ToChecker};

/// Guest code yields at every tick, so that two threads serve many checks.
const WORKERS: usize = 2;

/// Messages that wait for the router; runs wait beyond that.
const QUEUE: usize = 256;

/// `vouchd-checker serve`: serves the router at the inherited socket until it closes.
pub fn main() -> anyhow::Result<()> {
    let socket = channel::inherited()?;
    if let Err(error) = allow_many_descriptors() {
        tracing::warn!("the checker may run short of descriptors: {error}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        // A turn of a plugin that computes takes 10 ms, not the microseconds that these are made for: with the defaults
        // timers would be looked at once in half a second.
        .event_interval(1)
        .global_queue_interval(2)
        .enable_all()
        .build()?;
    let served = runtime.block_on(async { serve(Channel::new(socket)?, guest::start).await });
    // A run in flight must not keep the process.
    runtime.shutdown_background();
    served
}

/// Every process that a check found takes one, and the usual limit is 1024.
fn allow_many_descriptors() -> nix::Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)
}

/// Serves the router. `start` makes what loads and what runs plugins, once the checks are known; it may block.
async fn serve<R, L>(
    channel: Channel,
    start: impl FnOnce(&Init, &[Check]) -> anyhow::Result<(L, R)> + Send + 'static,
) -> anyhow::Result<()>
where
    R: Run,
    L: Load<Plugin = R::Plugin> + Send + 'static,
{
    let channel = Arc::new(channel);
    let (out, queue) = mpsc::channel(QUEUE);
    let mut tasks = JoinSet::new();
    tasks.spawn(write(channel.clone(), queue));
    let heartbeat = Heartbeat::start(channel.clone()).context("starting a thread")?;
    tasks.spawn(heartbeat.pulse());

    let setup = tokio::select! {
        setup = setup(&channel) => setup?,
        ended = tasks.join_next() => return stopped(ended),
    };
    let Some((init, checks)) = setup else { return Ok(()) };
    let (init, checks, started) = tokio::task::spawn_blocking(move || {
        let started = start(&init, &checks);
        (init, checks, started)
    })
    .await?;
    let (load, runner) = started.context("the plugin host can't start")?;

    let keys = Keys::parse(&init.plugin_keys)?;
    let sources = Sources { plugins: init.plugin_dir, builtins: init.builtin_plugin_dir, keys };
    let needed = checks.iter().map(|check| check.plugin.clone()).collect();
    let (news, mut events) = mpsc::unbounded_channel();
    directory::spawn(sources.clone(), needed, load, move |event| news.send(event).is_ok())?;

    let mut slots = Slots::new(sources);
    let mut running = Running { runner, tasks, out: out.clone(), checks: HashMap::new() };
    let count = checks.len();
    for (index, check) in checks.into_iter().enumerate() {
        let delay = schedule::first_delay(check.interval, index, count);
        running.add(check, delay, &mut slots)?;
    }

    loop {
        tokio::select! {
            message = channel.receive() => match message.context("reading from the router")? {
                None => return Ok(()),
                Some(ToChecker::Pace { check, fast }) => running.set_pace(&check, if fast { Pace::Fast } else { Pace::Normal }),
                Some(ToChecker::Check(check)) => running.add(*check, Duration::ZERO, &mut slots)?,
                Some(ToChecker::Forget { check }) => running.remove(&check),
                Some(message @ (ToChecker::Init(_) | ToChecker::Start)) => {
                    bail!("unexpected message from the router after its start: {message:?}")
                }
            },
            event = events.recv() => {
                let Some(event) = event else { bail!("the thread that loads plugins has ended") };
                // Before any run that comes of it.
                if let Some(state) = event.state().cloned()
                    && out.send(FromChecker::Plugin(state)).await.is_err()
                {
                    return Ok(());
                }
                slots.note(event);
            }
            ended = running.tasks.join_next() => {
                // Ended on purpose: the check was removed or replaced.
                if !matches!(&ended, Some(Err(error)) if error.is_cancelled()) {
                    return stopped(ended);
                }
            }
        }
    }
}

/// The checks that run now.
struct Running<R> {
    runner: R,
    /// These and what serves the channel.
    tasks: JoinSet<anyhow::Result<()>>,
    out: mpsc::Sender<FromChecker>,
    checks: HashMap<String, Handle>,
}

struct Handle {
    task: AbortHandle,
    pace: latest::Sender<Pace>,
}

impl<R: Run> Running<R> {
    /// Starts a check, in place of the one of the same name.
    fn add(&mut self, check: Check, first_delay: Duration, slots: &mut Slots<R::Plugin>) -> anyhow::Result<()> {
        let Check { name, limits, .. } = &check;
        anyhow::ensure!(
            self.runner.has_room_for(&check),
            "check {name} may use {} bytes of memory, more than was reserved at start: starting over",
            limits.memory
        );
        self.remove(name);
        let name = name.clone();
        let (pace, receiver) = latest::channel(Pace::Normal);
        let slot = slots.follow(&check.plugin);
        let follow = Follow { check, first_delay, slot, pace: receiver, out: self.out.clone() };
        let run = follow.run(self.runner.clone());
        let task = self.tasks.spawn(async move {
            run.await;
            Ok(())
        });
        self.checks.insert(name, Handle { task, pace });
        Ok(())
    }

    fn remove(&mut self, check: &str) {
        if let Some(handle) = self.checks.remove(check) {
            // First, so that the end of its channels is not taken for an end by itself.
            handle.task.abort();
        }
    }

    fn set_pace(&self, check: &str, pace: Pace) {
        match self.checks.get(check) {
            Some(handle) => drop(handle.pace.send_replace(pace)),
            None => tracing::warn!(check, "the router paces a check that does not run"),
        }
    }
}

/// The messages before the start; none when the router closed its end before.
async fn setup(channel: &Channel) -> anyhow::Result<Option<(Init, Vec<Check>)>> {
    let mut init = None;
    let mut checks = Vec::new();
    while let Some(message) = channel.receive().await.context("reading from the router")? {
        match (message, &init) {
            (ToChecker::Init(first), None) => init = Some(first),
            (ToChecker::Check(check), Some(_)) => checks.push(*check),
            (ToChecker::Start, Some(_)) => return Ok(init.map(|init| (init, checks))),
            (message, _) => bail!("unexpected message from the router before its start: {message:?}"),
        }
    }
    Ok(None)
}

/// No task ends by itself but when the router is gone; a check whose task panicked would silently never run again.
fn stopped(ended: Option<Result<anyhow::Result<()>, tokio::task::JoinError>>) -> anyhow::Result<()> {
    match ended {
        Some(Ok(result)) => result,
        Some(Err(error)) => Err(error).context("a part of the checker has crashed (please report)"),
        None => Ok(()),
    }
}

async fn write(channel: Arc<Channel>, mut queue: mpsc::Receiver<FromChecker>) -> anyhow::Result<()> {
    while let Some(message) = queue.recv().await {
        match channel.send(message).await {
            Ok(()) => {}
            Err(error)
                if matches!(error.kind(), std::io::ErrorKind::BrokenPipe | std::io::ErrorKind::ConnectionReset) =>
            {
                break;
            }
            Err(error) => return Err(error).context("writing to the router"),
        }
    }
    Ok(())
}

/// What is known about each plugin.
struct Slots<P> {
    sources: Sources,
    slots: HashMap<String, latest::Sender<Slot<P>>>,
    /// Plugins whose only file is still to be loaded: nothing more is known of them yet.
    awaited: HashSet<String>,
    /// Plugins of which there is nothing, and that are looked for.
    missing: HashSet<String>,
    /// What is known of a plugin of which nothing was heard.
    unheard: Unheard,
}

enum Unheard {
    /// It may still be loaded.
    Pending,
    /// All files were tried: it does not exist. Directories that can't be read may be why.
    Missing { problems: Vec<String> },
}

impl<P: Clone> Slots<P> {
    fn new(sources: Sources) -> Self {
        Slots {
            sources,
            slots: HashMap::new(),
            awaited: HashSet::new(),
            missing: HashSet::new(),
            unheard: Unheard::Pending,
        }
    }

    fn follow(&mut self, plugin: &str) -> latest::Receiver<Slot<P>> {
        self.slot(plugin).subscribe()
    }

    fn slot(&mut self, plugin: &str) -> &latest::Sender<Slot<P>> {
        if !self.slots.contains_key(plugin) {
            let slot = match &self.unheard {
                _ if self.awaited.contains(plugin) => Slot::Pending,
                Unheard::Pending => Slot::Pending,
                Unheard::Missing { problems } => {
                    self.missing.insert(plugin.to_owned());
                    missing(plugin, &self.sources, problems)
                }
            };
            self.slots.insert(plugin.to_owned(), latest::Sender::new(slot));
        }
        &self.slots[plugin]
    }

    fn note(&mut self, event: Event<P>) {
        if let Some(state) = event.state() {
            match state.awaited() {
                Some(_) => self.awaited.insert(state.name.clone()),
                None => self.awaited.remove(&state.name),
            };
            self.missing.remove(&state.name);
        }
        match event {
            Event::Pending { state } => {
                if state.awaited().is_some() {
                    self.slot(&state.name).send_replace(Slot::Pending);
                }
            }
            Event::Loaded { plugin, state, sha256 } => {
                self.slot(&state.name).send_replace(Slot::Present { plugin, sha256 });
            }
            Event::Kept { state } => {
                if let (None, Some(error)) = (&state.loaded, &state.error) {
                    let reason = format!("plugin {} ({}) can't be used: {error}", state.name, state.source.display());
                    self.slot(&state.name).send_replace(Slot::Absent { reason });
                }
            }
            Event::Gone { state } => {
                let absent = match (&state.error, &self.unheard) {
                    (Some(error), _) => Slot::Absent { reason: format!("plugin {} is {error}", state.name) },
                    (None, Unheard::Pending) => Slot::Pending,
                    (None, Unheard::Missing { problems }) => {
                        self.missing.insert(state.name.clone());
                        missing(&state.name, &self.sources, problems)
                    }
                };
                self.slot(&state.name).send_replace(absent);
            }
            Event::Ready { problems } => {
                for (name, slot) in self.slots.iter().filter(|(name, _)| !self.awaited.contains(*name)) {
                    slot.send_if_modified(|slot| {
                        let pending = matches!(slot, Slot::Pending);
                        if pending {
                            self.missing.insert(name.clone());
                            *slot = missing(name, &self.sources, &problems);
                        }
                        pending
                    });
                }
                self.unheard = Unheard::Missing { problems };
            }
            Event::Problems { problems } => {
                for name in &self.missing {
                    if let Some(slot) = self.slots.get(name) {
                        slot.send_replace(missing(name, &self.sources, &problems));
                    }
                }
                self.unheard = Unheard::Missing { problems };
            }
        }
    }
}

fn missing<P>(name: &str, sources: &Sources, problems: &[String]) -> Slot<P> {
    let Sources { plugins, builtins, .. } = sources;
    let mut reason =
        format!("no plugin {name}: expected {name}.wasm in {} or {}", plugins.display(), builtins.display());
    for problem in problems {
        reason.push_str("; ");
        reason.push_str(problem);
    }
    Slot::Absent { reason }
}

#[cfg(test)]
mod tests;
