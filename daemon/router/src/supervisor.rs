//! The health thread: keeps a checker running, counts what it reports, tells the protocol thread what changed.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::time::{Duration, Instant, SystemTime};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use vouchd_config::Config;
use vouchd_health::Term;
use vouchd_net::{Closed, Notifier, Receiver};

use super::checker_process::{CheckerProcess, Identity, Received};
use super::checker_program::CheckerProgram;
use super::checks::Checks;
use super::log::{Line, Log, Subject};
use super::protocol;
use vouchd_ipc::cache::CacheSettings;
use vouchd_ipc::pipe::{FromChecker, HEARTBEAT, Init, ToChecker};
use vouchd_ipc::status;

/// A checker that says nothing for so long hangs, and is killed.
const SILENCE: Duration = Duration::from_millis(HEARTBEAT.as_millis() as u64 * 8);

/// Between two starts of a checker, at least.
const BETWEEN_STARTS: Duration = Duration::from_millis(100);

/// A checker that ended before any run had ended is started again only after a delay, doubled each time.
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(5);

/// What the health thread can be told.
pub enum Command {
    Configure(Box<Config>),
    Snapshot(Notifier<Snapshot>),
    Shutdown,
}

/// Its part of `status`.
pub struct Snapshot {
    pub checker: status::Checker,
    pub checks: Vec<status::Check>,
    pub plugins: Vec<status::Plugin>,
    pub terms: BTreeMap<String, Vec<Term>>,
}

pub struct Supervisor {
    program: CheckerProgram,
    identity: Identity,
    init: Init,
    error_grace: Duration,
    checks: Checks,
    commands: Receiver<Command>,
    protocol: Notifier<protocol::Command>,
    checker: CheckerState,
    /// Since when no run has ended because checkers were lost; a checker that dies again and again does not reset it.
    missing: Option<Missing>,
    restarts: u64,
    last_error: Option<String>,
    lost_at: Option<SystemTime>,
    /// The next start's delay if the checker dies young.
    delay: Duration,
    log: Log,
}

enum CheckerState {
    Running { process: CheckerProcess, started: Instant, heard: Instant, useful: bool },
    Gone { start_at: Instant },
}

struct Missing {
    since: Instant,
    /// The grace is over and the checks have been told.
    told: bool,
}

impl Supervisor {
    pub fn new(
        config: &Config,
        program: CheckerProgram,
        identity: Identity,
        cache: Option<CacheSettings>,
        commands: Receiver<Command>,
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
            protocol,
            checker: CheckerState::Gone { start_at: now },
            missing: None,
            restarts: 0,
            last_error: None,
            lost_at: None,
            delay: FIRST_DELAY,
            log: Log::default(),
        };
        // Before the protocol starts, so that it knows from the beginning which instances have to wait.
        supervisor.tell_protocol();
        supervisor
    }

    /// Until told to shut down, or until the daemon's other threads are gone.
    pub fn run(mut self) {
        loop {
            self.tell_protocol();
            self.wait();
            match self.obey() {
                Ok(true) => {}
                Ok(false) | Err(Closed) => return,
            }
            self.listen();
            self.look_after();
        }
    }

    fn tell_protocol(&mut self) {
        for (instance, health) in self.checks.news() {
            // A protocol thread that is gone ends the daemon; nothing to do here.
            let _ = self.protocol.send(protocol::Command::Health { instance, health });
        }
    }

    fn wait(&self) {
        let now = Instant::now();
        let mut until = match &self.checker {
            CheckerState::Running { heard, .. } => *heard + SILENCE,
            CheckerState::Gone { start_at } => *start_at,
        };
        if let Some(Missing { since, told: false }) = &self.missing {
            until = until.min(*since + self.error_grace);
        }
        // At least once a second, to notice checks that are overdue.
        let timeout = until.saturating_duration_since(now).min(Duration::from_secs(1)) + Duration::from_millis(1);
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
        let mut fds = vec![PollFd::new(self.commands.as_fd(), PollFlags::POLLIN)];
        if let CheckerState::Running { process, .. } = &self.checker {
            fds.push(PollFd::new(process.as_fd(), PollFlags::POLLIN));
        }
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => panic!("poll of the health thread: {error}"),
        }
    }

    /// False: shut down.
    fn obey(&mut self) -> Result<bool, Closed> {
        for command in self.commands.drain()? {
            match command {
                Command::Configure(config) => {
                    let messages = self.checks.configure(&config);
                    // Together with what the checks say under it: neither alone gives the right priority.
                    let (instances, health) = (config.instances.clone(), self.checks.health());
                    // A protocol thread that is gone ends the daemon; nothing to do here.
                    let _ = self.protocol.send(protocol::Command::Configure { instances, health });
                    for message in messages {
                        self.send(&message);
                    }
                }
                Command::Snapshot(reply) => {
                    // Whoever asked may have given up.
                    let _ = reply.send(self.snapshot());
                }
                Command::Shutdown => return Ok(false),
            }
        }
        Ok(true)
    }

    fn listen(&mut self) {
        loop {
            let CheckerState::Running { process, heard, useful, .. } = &mut self.checker else { return };
            let message = match process.receive() {
                Ok(Received::Nothing) => return,
                Ok(Received::Closed) => return self.gone(None),
                Ok(Received::Message(message)) => message,
                Err(error) => return self.gone(Some(format!("sent something that is not a message: {error}"))),
            };
            *heard = Instant::now();
            match message {
                FromChecker::Heartbeat => {}
                FromChecker::Run(done) => {
                    *useful = true;
                    self.missing = None;
                    if let Some(pace) = self.checks.record(done) {
                        self.send(&pace);
                    }
                    self.tell_protocol();
                }
                FromChecker::Plugin(state) => self.checks.plugin(state),
            }
        }
    }

    fn look_after(&mut self) {
        let now = Instant::now();
        self.log.overdue(vouchd_net::now());
        self.checks.overdue();
        match &mut self.checker {
            CheckerState::Running { heard, .. } if now.duration_since(*heard) > SILENCE => {
                let silent = now.duration_since(*heard).as_secs_f64();
                self.gone(Some(format!("said nothing for {silent:.1} s; killed")));
            }
            CheckerState::Running { .. } => self.checks.lose_overdue(now, self.error_grace),
            CheckerState::Gone { start_at } => {
                if now >= *start_at {
                    self.start(now);
                }
            }
        }
        if let Some(Missing { since, told: told @ false }) = &mut self.missing
            && now.duration_since(*since) > self.error_grace
        {
            *told = true;
            let reason = self.last_error.as_deref().unwrap_or_default();
            let silent = now.duration_since(*since).as_secs_f64();
            self.checks.lost_all(&format!("no checker for {silent:.1} s: {reason}"));
        }
    }

    fn start(&mut self, now: Instant) {
        let started = CheckerProcess::spawn(&self.program, self.identity).and_then(|process| {
            process.send(&ToChecker::Init(self.init.clone()))?;
            for message in self.checks.all() {
                process.send(&message)?;
            }
            Ok(process)
        });
        match started {
            Ok(process) => {
                let line = Line::info(Subject::Daemon, format!("checker started: pid {}", process.pid()));
                self.log.say_state(vouchd_net::now(), "checker", "started", line);
                self.checks.expect_from(now);
                self.checker = CheckerState::Running { process, started: now, heard: now, useful: false };
            }
            Err(error) => {
                let line = Line::error(Subject::Daemon, format!("the checker can't be started: {error:#}"));
                self.log.say_state(vouchd_net::now(), "checker", "not started", line);
                self.last_error = Some(format!("{error:#}"));
                self.lost_at = Some(SystemTime::now());
                self.missing.get_or_insert(Missing { since: now, told: false });
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
            self.gone(Some(format!("does not take messages: {error}")));
        }
    }

    /// The checker is lost, or given up for the reason told. Its checks stand until the grace is over.
    fn gone(&mut self, reason: Option<String>) {
        let now = Instant::now();
        let gone = CheckerState::Gone { start_at: now };
        let CheckerState::Running { process, started, useful, .. } = std::mem::replace(&mut self.checker, gone) else {
            return;
        };
        self.checks.checker_gone();
        let pid = process.pid();
        let reason = match reason {
            Some(reason) => reason,
            None => process.end(),
        };
        let line = Line::warn(Subject::Daemon, format!("checker lost: {reason}; starting another (it was pid {pid})"));
        self.log.say_state(vouchd_net::now(), "checker", "lost", line);
        self.last_error = Some(reason);
        self.lost_at = Some(SystemTime::now());
        self.restarts += 1;
        self.missing.get_or_insert(Missing { since: now, told: false });
        let start_at = if useful {
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
