//! `vouchd run`: starts the router's threads, notifies systemd, waits for signals and for changed configuration files.

use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use sd_notify::NotifyState;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use tracing::{error, info, warn};
use vouchd_blocking::Blocking;
use vouchd_config::{Config, Files};
use vouchd_net::{Notifier, channel, realtime};

use vouchd_console::{logging, output::complain};
use vouchd_ipc::{cache, status};

use crate::checker_process::Identity;
use crate::checker_program::CheckerProgram;
use crate::config_reader::{Reader, Reading};
use crate::config_watch::{self, ConfigWatch};
use crate::control::{Control, Daemon};
use crate::heartbeat::Heartbeat;
use crate::holdings::{Holdings, HoldingsServer};
use crate::lock::Lock;
use crate::plugin_files::available_plugins;
use crate::privileges;
use crate::protocol::{self, Protocol};
use crate::supervisor::{self, Supervisor};
use crate::wakeup::Wakeup;

/// The time that the threads have to end at a stop.
const STOP: Duration = Duration::from_secs(3);

/// The time to prepare the cache directory.
const CACHE_TIME: Duration = Duration::from_secs(1);

/// Runs the router until SIGTERM or SIGINT. Returns the exit status: 0 then, 2 if the configuration cannot be used, and 1 if
/// that may be only because a file system does not answer, or if the protocol thread has failed.
///
/// # Errors
/// If the router can't start: the checker is missing, another daemon holds an address, a privilege is missing, ….
pub fn run(config_file: &Path) -> anyhow::Result<ExitCode> {
    let mut reader = Reader::new(config_file);
    let reading = reader.read();
    let config = match reading.files.clone().resolve() {
        Ok(config) => config,
        Err(errors) => {
            complain(errors);
            return Ok(cannot_start(&reading));
        }
    };
    let checker = CheckerProgram::find()?;
    checker.check_version()?;
    // Before any change to what a running daemon may use.
    let _lock = Lock::take(&config.daemon.control)?;
    let identity = Identity::find(config.daemon.user.as_deref())?;
    let cache = config.daemon.cache_dir.clone().map(|directory| {
        let path = directory.clone();
        let prepare = move || cache::prepare(&path, identity.uid, identity.gid);
        // On its own thread, which keeps the privileges of the start and ends with this.
        let prepared = Blocking::default().wait("cache_dir", &directory, CACHE_TIME, prepare);
        prepared.map_err(anyhow::Error::from).flatten()
    });
    // Capabilities belong to threads, so this comes before the first thread.
    privileges::limit_router()?;
    let _log = logging::start();
    let cache = cache.and_then(|prepared| {
        prepared
            .inspect_err(|error| warn!("cannot use cache_dir, so every start compiles all plugins again: {error:#}"))
            .ok()
    });
    warn_about(&config);
    let name = config.daemon.name.clone().unwrap_or_else(host_name);
    info!("vouchd {} starting as {name} with {}", env!("CARGO_PKG_VERSION"), config_file.display());

    let holdings = Holdings::of(&config);
    let server = HoldingsServer::start(holdings.clone())?;
    let others = server.other_daemons();
    others.ensure_none_hold(&holdings)?;
    let mut control = Control::bind(&config.daemon.control)?;

    let (events, wakeups) = mpsc::channel();
    watch_signals(events.clone())?;
    let shown = Arc::new(Mutex::new(config_state(&config)));
    let watch = config_watch::start(reader, reading, events.clone(), Arc::clone(&shown))?;

    let heartbeat = Arc::new(Heartbeat::default());
    let (to_protocol, protocol_commands) = channel()?;
    let (to_health, health_commands) = channel()?;
    let (protocol, carriers) = Protocol::new(&config, &others, protocol_commands, Arc::clone(&heartbeat))?;
    let supervisor = Supervisor::new(&config, checker, identity, cache, health_commands, carriers, to_protocol.clone());
    let protocol = spawn_protocol(protocol, config.daemon.realtime, events)?;
    let health = thread::Builder::new().name("health".to_owned()).spawn(move || supervisor.run())?;

    let daemon = Daemon { name, since: status::time(SystemTime::now()), config: Arc::clone(&shown) };
    control.serve(daemon, to_protocol.clone(), to_health.clone())?;

    notify(&[NotifyState::Ready]);
    let mut main = Main { config, watch, holdings: server, shown, to_protocol, to_health };
    let code = main.wait(&wakeups, &heartbeat);
    drop(control);
    main.stop(protocol, health);
    info!("vouchd has stopped");
    Ok(code)
}

/// The exit status for a configuration that cannot be used. If a file system does not answer, the next try may succeed, so
/// systemd has to try again: it does unless the status is 2.
fn cannot_start(reading: &Reading) -> ExitCode {
    match &reading.no_answer {
        Some((path, _)) => {
            complain(format_args!(
                "the file system of {} does not answer, so what is configured there is missing",
                path.display()
            ));
            ExitCode::FAILURE
        }
        None => ExitCode::from(2),
    }
}

struct Main {
    config: Config,
    watch: ConfigWatch,
    holdings: HoldingsServer,
    shown: Arc<Mutex<status::ConfigState>>,
    to_protocol: Notifier<protocol::Command>,
    to_health: Notifier<supervisor::Command>,
}

impl Main {
    /// Serves wakeups until a signal to stop, or until the protocol thread has ended.
    fn wait(&mut self, wakeups: &mpsc::Receiver<Wakeup>, heartbeat: &Heartbeat) -> ExitCode {
        let watchdog = sd_notify::watchdog_enabled().map(|interval| interval / 3);
        loop {
            let event = match watchdog {
                None => wakeups.recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected),
                Some(interval) => wakeups.recv_timeout(interval),
            };
            match event {
                Ok(Wakeup::Signal(SIGHUP)) => self.watch.load_now(),
                Ok(Wakeup::Configuration(files, why)) => self.reload(*files, &why),
                Ok(Wakeup::Signal(_)) => return ExitCode::SUCCESS,
                Ok(Wakeup::ProtocolEnded) | Err(mpsc::RecvTimeoutError::Disconnected) => {
                    error!("the protocol thread has ended");
                    return ExitCode::FAILURE;
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {}
            }
            // Only the protocol thread counts: systemd must restart a router that does not advertise.
            if watchdog.is_some() && heartbeat.is_beating() {
                notify(&[NotifyState::Watchdog]);
            }
        }
    }

    /// Applies a changed configuration, or changes nothing if it cannot be used.
    fn reload(&mut self, files: Files, why: &str) {
        let config = match files.resolve() {
            Ok(config) => config,
            Err(errors) => {
                error!("cannot use the new configuration ({why}); keeping the configuration that runs:");
                // One log line each: with line breaks in a line, others could forge lines.
                errors.to_string().lines().for_each(|line| error!("{line}"));
                self.show(|shown| shown.error = Some(errors.to_string()));
                return;
            }
        };
        if let Err(error) = self.holdings.replace(Holdings::of(&config)) {
            error!("cannot use the new configuration ({why}); keeping the configuration that runs: {error:#}");
            self.show(|shown| shown.error = Some(format!("{error:#}")));
            return;
        }
        let same = config.checks == self.config.checks
            && config.instances == self.config.instances
            && config.groups == self.config.groups;
        if config.daemon != self.config.daemon {
            warn!("changes in [daemon] are not applied until vouchd restarts");
        }
        let state = config_state(&config);
        self.show(|shown| *shown = status::ConfigState { no_answer: shown.no_answer.take(), ..state });
        if same {
            return;
        }
        info!("configuration reloaded ({why})");
        warn_about(&config);
        // The health thread passes it on to the protocol thread, with the health under it.
        if self.to_health.send(supervisor::Command::Configure(Box::new(config.clone()))).is_err() {
            error!("the health thread has ended; the configuration is not applied");
        }
        self.config = config;
    }

    fn show(&self, change: impl FnOnce(&mut status::ConfigState)) {
        match self.shown.lock() {
            Ok(mut shown) => change(&mut shown),
            Err(poisoned) => change(&mut poisoned.into_inner()),
        }
    }

    /// Resigns, removes the addresses, and waits for the threads.
    fn stop(self, protocol: JoinHandle<()>, health: JoinHandle<()>) {
        notify(&[NotifyState::Stopping]);
        // Fails only if the thread has ended already.
        let _ = self.to_protocol.send(protocol::Command::Shutdown);
        let _ = self.to_health.send(supervisor::Command::Shutdown);
        let deadline = Instant::now() + STOP;
        for (thread, name) in [(protocol, "protocol"), (health, "health")] {
            while !thread.is_finished() && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(2));
            }
            if !thread.is_finished() {
                warn!("the {name} thread did not end within {STOP:?}; exiting without it");
            } else if thread.join().is_err() {
                error!("the {name} thread has panicked");
            }
        }
    }
}

fn spawn_protocol(protocol: Protocol, realtime: bool, events: mpsc::Sender<Wakeup>) -> anyhow::Result<JoinHandle<()>> {
    let thread = thread::Builder::new().name("protocol".to_owned()).spawn(move || {
        if realtime {
            set_real_time();
        }
        // Dropped after a panic too.
        let _ended = Ended(events);
        protocol.run();
    })?;
    Ok(thread)
}

struct Ended(mpsc::Sender<Wakeup>);

impl Drop for Ended {
    fn drop(&mut self) {
        // Fails only while the daemon stops.
        let _ = self.0.send(Wakeup::ProtocolEnded);
    }
}

/// Sets real-time scheduling for this thread and locks the process's memory. Warns if that is not permitted.
fn set_real_time() {
    for refused in
        [realtime::lock_memory(), realtime::real_time(protocol::PRIORITY)].into_iter().filter_map(Result::err)
    {
        warn!("{refused}");
    }
}

fn watch_signals(events: mpsc::Sender<Wakeup>) -> anyhow::Result<()> {
    let mut signals =
        signal_hook::iterator::Signals::new([SIGTERM, SIGINT, SIGHUP]).context("installing signal handlers")?;
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            if events.send(Wakeup::Signal(signal)).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}

/// Notifies systemd. Does nothing without it.
fn notify(states: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!("could not notify systemd: {error}");
    }
}

fn warn_about(config: &Config) {
    for warning in &config.warnings {
        warn!("{}", warning.headline());
    }
    // Not an error: the file may appear later, and until then its checks are errors.
    if let Err(missing) = config.check_plugins(&available_plugins(config)) {
        missing.to_string().lines().for_each(|line| warn!("{line}"));
    }
}

fn config_state(config: &Config) -> status::ConfigState {
    status::ConfigState {
        files: config.files.iter().map(|file| file.display().to_string()).collect(),
        loaded_at: status::time(SystemTime::now()),
        error: None,
        warnings: config.warnings.iter().map(ToString::to_string).collect(),
        no_answer: None,
    }
}

fn host_name() -> String {
    nix::unistd::gethostname().map_or_else(|_| "vouchd".to_owned(), |name| name.to_string_lossy().into_owned())
}
