//! The health thread: keeps a checker running, counts its reports, and reports changes to the protocol thread.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::time::{Duration, Instant, SystemTime};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use vouchd_config::Config;
use vouchd_health::Term;
use vouchd_net::{CarrierEvent, Closed, Notifier, Receiver};

use crate::checker_process::{CheckerProcess, Identity, Received};
use crate::checker_program::CheckerProgram;
use crate::checks::Checks;
use crate::log::{Line, Log, Subject};
use crate::protocol;
use vouchd_ipc::cache::CacheSettings;
use vouchd_ipc::pipe::{FromChecker, HEARTBEAT, Init, ToChecker};
use vouchd_ipc::status;

/// A checker that sends nothing for this time is killed.
const SILENCE: Duration = Duration::from_millis(HEARTBEAT.as_millis() as u64 * 8);

/// Minimum gap between two starts of a checker.
const BETWEEN_STARTS: Duration = Duration::from_millis(100);

/// The first delay before the next start if a checker ended without completing a run. It doubles each time.
const FIRST_DELAY: Duration = Duration::from_millis(100);
/// The longest such delay.
const LONGEST_DELAY: Duration = Duration::from_secs(5);

/// A command to the health thread.
pub(crate) enum Command {
    Configure(Box<Config>),
    Snapshot(Notifier<Snapshot>),
    Shutdown,
}

/// Its part of the status.
pub(crate) struct Snapshot {
    pub(crate) checker: status::Checker,
    pub(crate) checks: Vec<status::Check>,
    pub(crate) plugins: Vec<status::Plugin>,
    pub(crate) terms: BTreeMap<String, Vec<Term>>,
}

/// The health thread's state.
pub(crate) struct Supervisor {
    program: CheckerProgram,
    identity: Identity,
    init: Init,
    error_grace: Duration,
    checks: Checks,
    commands: Receiver<Command>,
    /// Whether each interface of the host can carry packets.
    carriers: Receiver<Vec<CarrierEvent>>,
    protocol: Notifier<protocol::Command>,
    checker: CheckerState,
    /// Set from the loss of a checker until a run completes. A checker that dies before that does not end it.
    outage: Option<Outage>,
    restarts: u64,
    last_error: Option<String>,
    lost_at: Option<SystemTime>,
    /// The delay before the next start if the checker dies without completing a run.
    delay: Duration,
    log: Log,
}

enum CheckerState {
    Running { process: CheckerProcess, started: Instant, heard: Instant, has_completed_a_run: bool },
    Gone { start_at: Instant },
}

struct Outage {
    since: Instant,
    /// Whether the grace is over, so that the checks have been set to error.
    is_reported: bool,
}

impl Supervisor {
    pub(crate) fn new(
        config: &Config,
        program: CheckerProgram,
        identity: Identity,
        cache: Option<CacheSettings>,
        commands: Receiver<Command>,
        carriers: Receiver<Vec<CarrierEvent>>,
        protocol: Notifier<protocol::Command>,
    ) -> Self {
        let mut checks = Checks::new();
        checks.configure(config);
        let now = Instant::now();
        let mut supervisor = Supervisor {
            program,
            identity,
            init: Init {
                plugin_dir: config.daemon.plugin_dir.clone(),
                builtin_plugin_dir: config.daemon.builtin_plugin_dir.clone(),
                plugin_keys: config.daemon.plugin_keys.clone(),
                cache,
            },
            error_grace: config.daemon.error_grace,
            checks,
            commands,
            carriers,
            protocol,
            checker: CheckerState::Gone { start_at: now },
            outage: None,
            restarts: 0,
            last_error: None,
            lost_at: None,
            delay: FIRST_DELAY,
            log: Log::default(),
        };
        // Before the protocol starts, so that it knows from the beginning which instances have to wait.
        supervisor.report_health();
        supervisor
    }

    /// Runs until the command to shut down, or until all other threads have ended.
    pub(crate) fn run(mut self) {
        loop {
            self.report_health();
            self.wait();
            match self.take_commands() {
                Ok(true) => {}
                Ok(false) | Err(Closed) => return,
            }
            self.take_carriers();
            self.take_messages();
            self.supervise();
        }
    }

    fn report_health(&mut self) {
        for (instance, health) in self.checks.health_changes() {
            // If the protocol thread has ended, so does the daemon.
            let _ = self.protocol.send(protocol::Command::Health { instance, health });
        }
    }

    fn wait(&self) {
        let now = Instant::now();
        let mut until = match &self.checker {
            CheckerState::Running { heard, .. } => *heard + SILENCE,
            CheckerState::Gone { start_at } => *start_at,
        };
        if let Some(Outage { since, is_reported: false }) = &self.outage {
            until = until.min(*since + self.error_grace);
        }
        // At least once a second, to notice overdue checks.
        let mut timeout = until.saturating_duration_since(now).min(Duration::from_secs(1));
        if let Some(deadline) = self.checks.deadline() {
            timeout = timeout.min(deadline.since(vouchd_net::now()));
        }
        let timeout = timeout + Duration::from_millis(1);
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
        let mut fds = vec![
            PollFd::new(self.commands.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.carriers.as_fd(), PollFlags::POLLIN),
        ];
        if let CheckerState::Running { process, .. } = &self.checker {
            fds.push(PollFd::new(process.as_fd(), PollFlags::POLLIN));
        }
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => panic!("poll of the health thread: {error}"),
        }
    }

    /// Runs the commands sent so far. Returns false to shut down.
    fn take_commands(&mut self) -> Result<bool, Closed> {
        for command in self.commands.drain()? {
            match command {
                Command::Configure(config) => {
                    let messages = self.checks.configure(&config);
                    // Together with the health under it: neither alone gives the right priority.
                    let (instances, groups) = (config.instances.clone(), config.groups.clone());
                    let health = self.checks.all_health();
                    // If the protocol thread has ended, so does the daemon.
                    let _ = self.protocol.send(protocol::Command::Configure { instances, groups, health });
                    for message in messages {
                        self.send(&message);
                    }
                }
                Command::Snapshot(reply) => {
                    // The thread that asked may have given up.
                    let _ = reply.send(self.snapshot());
                }
                Command::Shutdown => return Ok(false),
            }
        }
        Ok(true)
    }

    fn take_carriers(&mut self) {
        let now = vouchd_net::now();
        // A watcher that has ended has logged why. The known states remain.
        for changes in self.carriers.drain().unwrap_or_default() {
            self.checks.take_carriers(now, changes);
        }
        self.checks.settle(now);
    }

    fn take_messages(&mut self) {
        loop {
            let CheckerState::Running { process, heard, has_completed_a_run, .. } = &mut self.checker else { return };
            let message = match process.receive() {
                Ok(Received::WouldBlock) => return,
                Ok(Received::Closed) => return self.lose_checker(None),
                Ok(Received::Message(message)) => message,
                Err(error) => return self.lose_checker(Some(format!("sent an invalid message: {error}"))),
            };
            *heard = Instant::now();
            match message {
                FromChecker::Heartbeat => {}
                FromChecker::Run(done) => {
                    *has_completed_a_run = true;
                    self.outage = None;
                    if let Some(pace) = self.checks.record(done) {
                        self.send(&pace);
                    }
                    self.report_health();
                }
                FromChecker::Plugin(state) => self.checks.plugin(state),
            }
        }
    }

    /// Starts a checker that is due, kills one that hangs, and gives up checks that get no results.
    fn supervise(&mut self) {
        let now = Instant::now();
        self.log.write_overdue(vouchd_net::now());
        self.checks.write_overdue();
        match &mut self.checker {
            CheckerState::Running { heard, .. } if now.duration_since(*heard) > SILENCE => {
                let silent = now.duration_since(*heard).as_secs_f64();
                self.lose_checker(Some(format!("sent nothing for {silent:.1} s; killed")));
            }
            CheckerState::Running { .. } => self.checks.give_up_overdue(now, self.error_grace),
            CheckerState::Gone { start_at } => {
                if now >= *start_at {
                    self.start(now);
                }
            }
        }
        if let Some(Outage { since, is_reported: is_reported @ false }) = &mut self.outage
            && now.duration_since(*since) > self.error_grace
        {
            *is_reported = true;
            let reason = self.last_error.as_deref().unwrap_or_default();
            let silent = now.duration_since(*since).as_secs_f64();
            self.checks.give_up_all(&format!("no checker for {silent:.1} s: {reason}"));
        }
    }

    fn start(&mut self, now: Instant) {
        let started = CheckerProcess::spawn(&self.program, self.identity).and_then(|process| {
            process.send(&ToChecker::Init(self.init.clone()))?;
            for message in self.checks.messages_at_start() {
                process.send(&message)?;
            }
            Ok(process)
        });
        match started {
            Ok(process) => {
                let line = Line::info(&Subject::daemon(), format!("checker started: pid {}", process.pid()));
                self.log.state(vouchd_net::now(), "checker", "started", line);
                self.checks.expect_from(now);
                self.checker = CheckerState::Running { process, started: now, heard: now, has_completed_a_run: false };
            }
            Err(error) => {
                let line = Line::error(&Subject::daemon(), format!("could not start the checker: {error:#}"));
                self.log.state(vouchd_net::now(), "checker", "not started", line);
                self.last_error = Some(format!("{error:#}"));
                self.lost_at = Some(SystemTime::now());
                self.outage.get_or_insert(Outage { since: now, is_reported: false });
                if let CheckerState::Gone { start_at } = &mut self.checker {
                    *start_at = now + self.delay;
                }
                self.delay = (self.delay * 2).min(LONGEST_DELAY);
            }
        }
    }

    fn send(&mut self, message: &ToChecker) {
        if let CheckerState::Running { process, .. } = &self.checker
            && let Err(error) = process.send(message)
        {
            self.lose_checker(Some(format!("could not send it a message: {error}")));
        }
    }

    /// Drops a checker that has ended, or kills it for `reason`. Its checks keep their results during the grace.
    fn lose_checker(&mut self, reason: Option<String>) {
        let now = Instant::now();
        let gone = CheckerState::Gone { start_at: now };
        let CheckerState::Running { process, started, has_completed_a_run, .. } =
            std::mem::replace(&mut self.checker, gone)
        else {
            return;
        };
        self.checks.forget_pending();
        let pid = process.pid();
        let reason = match reason {
            Some(reason) => reason,
            None => process.end(),
        };
        let line = Line::warn(&Subject::daemon(), format!("checker (pid {pid}) lost: {reason}; starting another"));
        self.log.state(vouchd_net::now(), "checker", "lost", line);
        self.last_error = Some(reason);
        self.lost_at = Some(SystemTime::now());
        self.restarts += 1;
        self.outage.get_or_insert(Outage { since: now, is_reported: false });
        let start_at = if has_completed_a_run {
            self.delay = FIRST_DELAY;
            now.max(started + BETWEEN_STARTS)
        } else {
            let delay = self.delay;
            self.delay = (delay * 2).min(LONGEST_DELAY);
            now + delay
        };
        self.checker = CheckerState::Gone { start_at };
    }

    fn snapshot(&self) -> Snapshot {
        let (checks, plugins, terms) = self.checks.snapshot(SystemTime::now());
        let pid = match &self.checker {
            CheckerState::Running { process, .. } => Some(process.pid()),
            CheckerState::Gone { .. } => None,
        };
        let checker = status::Checker {
            pid,
            restarts: self.restarts,
            error: self.last_error.clone(),
            lost_at: self.lost_at.map(status::time),
        };
        Snapshot { checker, checks, plugins, terms }
    }
}
