//! `vouchd run`: starts the router's threads, tells systemd, waits for signals and for changed configuration files.

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

use super::checker_process::Identity;
use super::checker_program::CheckerProgram;
use super::config_reader::{Reader, Reading};
use super::config_watch::{self, ConfigWatch};
use super::control::{Control, Daemon};
use super::kept::{Kept, Registry};
use super::lock::Lock;
use super::plugin_files::available_plugins;
use super::protocol::{self, Protocol, Pulse};
use super::supervisor::{self, Supervisor};
use super::wakeup::Wakeup;
use vouchd_console::{logging, output::complain};
use vouchd_ipc::{cache, status};

use super::privileges;

/// Longest time to give up all addresses when stopping.
const STOP: Duration = Duration::from_secs(3);

/// The cache's directory gets this long to be prepared.
const CACHE_TIME: Duration = Duration::from_secs(1);

/// Runs until SIGTERM or SIGINT. Exit status 0 then; an error if it can't start.
///
/// # Errors
/// When the configuration can't be used, or the machine does not give what is needed.
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
    // Before anything is changed that a running daemon may use.
    let _lock = Lock::take(&config.daemon.control)?;
    let identity = Identity::find(config.daemon.user.as_deref())?;
    let cache = config.daemon.cache_dir.clone().map(|directory| {
        let path = directory.clone();
        let prepare = move || cache::prepare(&path, identity.uid, identity.gid);
        // On a thread that keeps the privileges of the start until it has done this, and does nothing else.
        let prepared = Blocking::default().wait("cache_dir", &directory, CACHE_TIME, prepare);
        prepared.map_err(anyhow::Error::from).flatten()
    });
    // Capabilities belong to threads, so before the first one is started.
    privileges::limit_router()?;
    let _log = logging::start();
    let cache = cache.and_then(|prepared| {
        prepared.inspect_err(|error| warn!("every start compiles all plugins anew: cache_dir: {error:#}")).ok()
    });
    warn_about(&config);
    let name = config.daemon.name.clone().unwrap_or_else(host_name);
    info!("vouchd {} starts as {name} with {}", env!("CARGO_PKG_VERSION"), config_file.display());

    let kept = Kept::of(&config);
    let registry = Registry::start(kept.clone())?;
    let others = registry.others();
    others.leave(&kept)?;
    let mut control = Control::bind(&config.daemon.control)?;

    let (events, wakeups) = mpsc::channel();
    watch_signals(events.clone())?;
    let shown = Arc::new(Mutex::new(config_state(&config)));
    let watch = config_watch::start(reader, reading, events.clone(), Arc::clone(&shown))?;

    let pulse = Arc::new(Pulse::default());
    let (to_protocol, protocol_commands) = channel()?;
    let (to_health, health_commands) = channel()?;
    let protocol = Protocol::new(&config, &others, protocol_commands, Arc::clone(&pulse))?;
    let supervisor = Supervisor::new(&config, checker, identity, cache, health_commands, to_protocol.clone());
    let protocol = spawn_protocol(protocol, config.daemon.realtime, events)?;
    let health = thread::Builder::new().name("health".to_owned()).spawn(move || supervisor.run())?;

    let daemon = Daemon { name, since: status::time(SystemTime::now()), config: Arc::clone(&shown) };
    control.serve(daemon, to_protocol.clone(), to_health.clone())?;

    notify(&[NotifyState::Ready]);
    let mut main = Main { config, watch, registry, shown, to_protocol, to_health };
    let code = main.wait(&wakeups, &pulse);
    drop(control);
    main.stop(protocol, health);
    info!("vouchd has stopped");
    Ok(code)
}

/// The exit status. What is missing because a file system does not answer may be there at the next try, for which systemd
/// waits unless the status is 2.
fn cannot_start(reading: &Reading) -> ExitCode {
    match &reading.no_answer {
        Some((path, _)) => {
            complain(format_args!(
                "the file system under {} does not answer: what is there is missing",
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
    registry: Registry,
    shown: Arc<Mutex<status::ConfigState>>,
    to_protocol: Notifier<protocol::Command>,
    to_health: Notifier<supervisor::Command>,
}

impl Main {
    /// Until a signal says stop, or the protocol thread has ended.
    fn wait(&mut self, wakeups: &mpsc::Receiver<Wakeup>, pulse: &Pulse) -> ExitCode {
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
            // Only the protocol thread's life counts: systemd is to restart a router that does not advertise.
            if watchdog.is_some() && pulse.is_beating() {
                notify(&[NotifyState::Watchdog]);
            }
        }
    }

    /// Takes over a changed configuration, or leaves everything as it is.
    fn reload(&mut self, files: Files, why: &str) {
        let config = match files.resolve() {
            Ok(config) => config,
            Err(errors) => {
                error!("the configuration can't be used ({why}); what runs goes on:");
                // A line of the log each: one that holds line breaks is one that others can forge.
                errors.to_string().lines().for_each(|line| error!("{line}"));
                self.show(|shown| shown.error = Some(errors.to_string()));
                return;
            }
        };
        if let Err(error) = self.registry.change(Kept::of(&config)) {
            error!("the configuration can't be used ({why}); what runs goes on: {error:#}");
            self.show(|shown| shown.error = Some(format!("{error:#}")));
            return;
        }
        let same = config.checks == self.config.checks && config.instances == self.config.instances;
        if config.daemon != self.config.daemon {
            warn!("[daemon] has changed: that takes effect at the next start");
        }
        let state = config_state(&config);
        self.show(|shown| *shown = status::ConfigState { no_answer: shown.no_answer.take(), ..state });
        if same {
            return;
        }
        info!("configuration loaded again ({why})");
        warn_about(&config);
        // The health thread hands it on to the protocol, with what the checks say under it.
        if self.to_health.send(supervisor::Command::Configure(Box::new(config.clone()))).is_err() {
            error!("a thread has ended; the configuration is not taken over");
        }
        self.config = config;
    }

    fn show(&self, change: impl FnOnce(&mut status::ConfigState)) {
        match self.shown.lock() {
            Ok(mut shown) => change(&mut shown),
            Err(poisoned) => change(&mut poisoned.into_inner()),
        }
    }

    /// Priority 0, addresses gone, then the threads.
    fn stop(self, protocol: JoinHandle<()>, health: JoinHandle<()>) {
        notify(&[NotifyState::Stopping]);
        // A thread that can't be told has ended already.
        let _ = self.to_protocol.send(protocol::Command::Shutdown);
        let _ = self.to_health.send(supervisor::Command::Shutdown);
        let deadline = Instant::now() + STOP;
        for (thread, name) in [(protocol, "protocol"), (health, "health")] {
            while !thread.is_finished() && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(2));
            }
            if !thread.is_finished() {
                warn!("the {name} thread does not end; left behind");
            } else if thread.join().is_err() {
                error!("the {name} thread has panicked");
            }
        }
    }
}

fn spawn_protocol(protocol: Protocol, realtime: bool, events: mpsc::Sender<Wakeup>) -> anyhow::Result<JoinHandle<()>> {
    let thread = thread::Builder::new().name("protocol".to_owned()).spawn(move || {
        if realtime {
            be_on_time();
        }
        // Also when it panics.
        let _ended = Ended(events);
        protocol.run();
    })?;
    Ok(thread)
}

struct Ended(mpsc::Sender<Wakeup>);

impl Drop for Ended {
    fn drop(&mut self) {
        // Nobody listens any more when the daemon stops.
        let _ = self.0.send(Wakeup::ProtocolEnded);
    }
}

/// Real-time scheduling for this thread, locked memory for the process; a warning where it is not permitted.
fn be_on_time() {
    for refused in
        [realtime::lock_memory(), realtime::real_time(protocol::PRIORITY)].into_iter().filter_map(Result::err)
    {
        warn!("{refused}");
    }
}

fn watch_signals(events: mpsc::Sender<Wakeup>) -> anyhow::Result<()> {
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT, SIGHUP]).context("signal handlers")?;
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            if events.send(Wakeup::Signal(signal)).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}

/// To systemd; does nothing where nobody listens.
fn notify(states: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!("telling systemd: {error}");
    }
}

fn warn_about(config: &Config) {
    for warning in &config.warnings {
        warn!("{}", warning.headline());
    }
    // The file may come later, and until then the check is an error that is handled: no reason not to start.
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
