//! The checker process: runs the checks without any privilege, and sends the router the result of every run.
//!
//! - [`channel`]: the socket to the router; [`heartbeat`]: shows the router that this process makes progress.
//! - [`availability`]: what the checks know about their plugins, from the events of [`crate::plugins`].
//! - [`check_task`]: one task per check, with its [`schedule`] (pure) and what its last run looked at ([`watched`]).
//! - [`host_runner`]: the plugin host that the tasks run in.
//!
//! It decides nothing: the router counts the runs and lowers priorities, and that state survives this process. When
//! anything beyond one run fails, the process ends and the router starts a new one.

mod availability;
mod channel;
mod check_task;
mod heartbeat;
mod host_runner;
mod schedule;
mod watched;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::sync::{mpsc, watch as latest};
use tokio::task::{AbortHandle, JoinSet};
use vouchd_config::Check;

use self::availability::AvailablePlugins;
use self::channel::Channel;
use self::check_task::{CheckTask, Runner};
use self::heartbeat::Heartbeat;
use self::schedule::Pace;
use crate::plugins::load::Load;
use crate::plugins::signature::Keys;
use crate::plugins::sources::Sources;
use crate::plugins::watcher;
use vouchd_ipc::pipe::{FromChecker, Init, ToChecker};

/// Plugins yield at every tick, so two threads serve many checks.
const WORKERS: usize = 2;

/// Messages that may wait for the router. When there are more, runs wait.
const QUEUE: usize = 256;

/// Serves the router at the inherited socket until it closes (`vouchd-checker serve`).
pub(crate) fn main() -> anyhow::Result<()> {
    let socket = channel::inherited()?;
    if let Err(error) = allow_many_descriptors() {
        tracing::warn!("can't raise the limit of open files, so the checker may run out of file descriptors: {error}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        // A plugin that computes has turns of 10 ms rather than microseconds. With the defaults of tokio, timers would be
        // checked only every half second.
        .event_interval(1)
        .global_queue_interval(2)
        .enable_all()
        .build()?;
    let served = runtime.block_on(async { serve(Channel::new(socket)?, host_runner::start).await });
    // Does not wait for runs in flight.
    runtime.shutdown_background();
    served
}

/// Every process that a check watches takes a descriptor, and the usual limit is 1024.
fn allow_many_descriptors() -> nix::Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)
}

/// Serves the router. Once the checks are known, `start` creates the loader and the runner; it may block.
async fn serve<R, L>(
    channel: Channel,
    start: impl FnOnce(&Init, &[Check]) -> anyhow::Result<(L, R)> + Send + 'static,
) -> anyhow::Result<()>
where
    R: Runner,
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
    let (load, runner) = started.context("can't start the plugin host")?;

    let keys = Keys::parse(&init.plugin_keys)?;
    let sources = Sources { plugins: init.plugin_dir, builtins: init.builtin_plugin_dir, keys };
    let needed = checks.iter().map(|check| check.plugin.clone()).collect();
    let (news, mut events) = mpsc::unbounded_channel();
    watcher::spawn(sources.clone(), needed, load, move |event| news.send(event).is_ok())?;

    let mut plugins = AvailablePlugins::new(sources);
    let mut running = Running { runner, tasks, out: out.clone(), checks: HashMap::new() };
    let count = checks.len();
    for (index, check) in checks.into_iter().enumerate() {
        let delay = schedule::first_delay(check.interval, index, count);
        running.add(check, delay, &mut plugins)?;
    }

    loop {
        tokio::select! {
            message = channel.receive() => match message.context("reading from the router")? {
                None => return Ok(()),
                Some(ToChecker::Pace { check, fast }) => running.set_pace(&check, if fast { Pace::Fast } else { Pace::Normal }),
                Some(ToChecker::Check(check)) => running.add(*check, Duration::ZERO, &mut plugins)?,
                Some(ToChecker::Forget { check }) => running.remove(&check),
                Some(message @ (ToChecker::Init(_) | ToChecker::Start)) => {
                    bail!("unexpected message from the router after its start: {message:?}")
                }
            },
            event = events.recv() => {
                let Some(event) = event else { bail!("the thread that loads plugins has ended") };
                // The router must know the version before it gets a result of it.
                if let Some(state) = event.state().cloned()
                    && out.send(FromChecker::Plugin(state)).await.is_err()
                {
                    return Ok(());
                }
                plugins.update(event);
            }
            ended = running.tasks.join_next() => {
                // A cancelled task belongs to a check that was removed or replaced.
                if !matches!(&ended, Some(Err(error)) if error.is_cancelled()) {
                    return stopped(ended);
                }
            }
        }
    }
}

/// The running checks.
struct Running<R> {
    runner: R,
    /// The tasks of the checks, and those that serve the channel.
    tasks: JoinSet<anyhow::Result<()>>,
    out: mpsc::Sender<FromChecker>,
    checks: HashMap<String, Handle>,
}

struct Handle {
    task: AbortHandle,
    pace: latest::Sender<Pace>,
}

impl<R: Runner> Running<R> {
    /// Starts a check. Replaces a check of the same name.
    fn add(
        &mut self,
        check: Check,
        first_delay: Duration,
        plugins: &mut AvailablePlugins<R::Plugin>,
    ) -> anyhow::Result<()> {
        let Check { name, limits, .. } = &check;
        anyhow::ensure!(
            self.runner.has_room_for(&check),
            "check {name} may use {} bytes of memory, more than was reserved at start; restarting the checker to reserve more",
            limits.memory
        );
        self.remove(name);
        let name = name.clone();
        let (pace, receiver) = latest::channel(Pace::Normal);
        let plugin = plugins.subscribe(&check.plugin);
        let task = CheckTask { check, first_delay, plugin, pace: receiver, out: self.out.clone() };
        let run = task.run(self.runner.clone());
        let task = self.tasks.spawn(async move {
            run.await;
            Ok(())
        });
        self.checks.insert(name, Handle { task, pace });
        Ok(())
    }

    fn remove(&mut self, check: &str) {
        if let Some(handle) = self.checks.remove(check) {
            // Before its channels close, so that the task does not count as ended by itself.
            handle.task.abort();
        }
    }

    fn set_pace(&self, check: &str, pace: Pace) {
        match self.checks.get(check) {
            Some(handle) => drop(handle.pace.send_replace(pace)),
            None => tracing::warn!("the router has set the pace of check {check}, which does not run"),
        }
    }
}

/// Receives the messages up to [`ToChecker::Start`]. `None` if the router closes its end before.
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

/// The result of the whole process when a task has ended by itself. Tasks end when the router is gone. A task that panicked
/// ends the process, since its check would silently never run again.
fn stopped(ended: Option<Result<anyhow::Result<()>, tokio::task::JoinError>>) -> anyhow::Result<()> {
    match ended {
        Some(Ok(result)) => result,
        Some(Err(error)) => Err(error).context("a task of the checker has crashed; please report it"),
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

#[cfg(test)]
mod tests;
