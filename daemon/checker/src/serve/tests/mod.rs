//! The checker over a real socket pair, with a fake runner. This file plays the router.

use std::collections::VecDeque;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Mutex;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use vouchd_config::{ExitCodes, Grants, Limits};
use vouchd_health::{Influence, OnError, Report, RunResult, Thresholds, Verdict};
use vouchd_plugin::Changes;

use super::check_task::RunOutcome;
use super::*;
use crate::plugins::load::Loaded;
use crate::plugins::read::sha256;
use vouchd_ipc::pipe::{MAX_MESSAGE, PluginState, RunDone};

mod real_plugins;

const MEMORY: u64 = 32 << 20;

/// A runner whose runs pass with the plugin's text and the stored text. Parameters of the check make a run sleep or panic.
#[derive(Clone, Default)]
struct FakeRunner {
    /// Pipes to watch, one per run.
    watched: Arc<Mutex<VecDeque<OwnedFd>>>,
}

impl Runner for FakeRunner {
    type Plugin = String;

    fn has_room_for(&self, check: &Check) -> bool {
        check.limits.memory <= MEMORY
    }

    async fn run(&self, plugin: &String, check: &Check, memo: Vec<u8>, _: Arc<Changes>) -> RunOutcome {
        let memo = String::from_utf8(memo).unwrap();
        let watch = self.watched.lock().unwrap().pop_front();
        for (key, value) in &check.params {
            match key.as_str() {
                "sleep" => tokio::time::sleep(Duration::from_millis(value.parse().unwrap())).await,
                other => panic!("{other}, as asked"),
            }
        }
        RunOutcome {
            result: RunResult::Report(Report {
                verdict: Verdict::Pass,
                message: format!("{plugin} {memo}"),
                adjust: None,
                metrics: Vec::new(),
            }),
            duration: Duration::ZERO,
            cpu: Duration::ZERO,
            memory: 0,
            log: Vec::new(),
            memo: Some(format!("{memo}x").into_bytes()),
            watch: watch.into_iter().collect(),
        }
    }
}

fn load(bytes: &[u8]) -> Result<Loaded<String>, String> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    if text.starts_with("good") {
        Ok(Loaded { plugin: text, kind: "module".to_owned(), compiled_in: None })
    } else {
        Err("broken".to_owned())
    }
}

fn check(name: &str, plugin: &str, interval: Duration) -> Check {
    Check {
        name: name.to_owned(),
        plugin: plugin.to_owned(),
        sha256: None,
        params: Vec::new(),
        interval,
        timeout: Duration::from_secs(1),
        fast_interval: interval / 10,
        thresholds: Thresholds { rise: 1, fall: 1 },
        influence: Influence { weight: None, warn_weight: 0, adjust: None, on_error: OnError::LastResort },
        grants: Grants::default(),
        limits: Limits::default(),
        exit_codes: ExitCodes::default(),
    }
}

const HOUR: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);

/// The router's end.
struct Router {
    socket: tokio::io::unix::AsyncFd<OwnedFd>,
    checker: JoinHandle<anyhow::Result<()>>,
    directory: tempfile::TempDir,
}

impl Router {
    fn connect() -> (Channel, tokio::io::unix::AsyncFd<OwnedFd>) {
        let (ours, theirs) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_NONBLOCK).unwrap();
        let interest = tokio::io::Interest::READABLE;
        (Channel::new(theirs).unwrap(), super::watched::register(ours, interest).unwrap())
    }

    /// A checker with a fake runner and these plugin files.
    async fn start(fake: FakeRunner, plugins: &[(&str, &str)], checks: Vec<Check>) -> Self {
        let (channel, socket) = Self::connect();
        let checker = tokio::spawn(serve(channel, move |_, _| Ok((load, fake))));
        let router = Router { socket, checker, directory: tempfile::tempdir().unwrap() };
        for (name, text) in plugins {
            fs::write(router.directory.path().join(name), text).unwrap();
        }
        router.begin(router.directory.path(), checks);
        router
    }

    /// A checker with the real plugin host and a copy of this plugin.
    async fn start_real(plugin: &Path, checks: Vec<Check>) -> Self {
        let (channel, socket) = Self::connect();
        let checker = tokio::spawn(serve(channel, |init, checks| {
            // The test binary cannot be started as `vouchd-checker compile`.
            host_runner::start_with(vouchd_plugin::Compiler::Here, init, checks)
        }));
        let router = Router { socket, checker, directory: tempfile::tempdir().unwrap() };
        let name = plugin.file_name().unwrap();
        fs::copy(plugin, router.directory.path().join(name)).unwrap();
        router.begin(router.directory.path(), checks);
        router
    }

    fn begin(&self, plugin_dir: &Path, checks: Vec<Check>) {
        let init = Init {
            plugin_dir: plugin_dir.to_owned(),
            builtin_plugin_dir: self.directory.path().join("none"),
            plugin_keys: Vec::new(),
            cache: None,
        };
        self.send(&ToChecker::Init(init));
        for check in checks {
            self.send(&ToChecker::Check(Box::new(check)));
        }
        self.send(&ToChecker::Start);
    }

    fn send(&self, message: &ToChecker) {
        nix::unistd::write(self.socket.get_ref(), &serde_json::to_vec(message).unwrap()).unwrap();
    }

    async fn receive(&self) -> FromChecker {
        let mut buffer = vec![0; MAX_MESSAGE];
        let read = |socket: &OwnedFd| Ok(nix::unistd::read(socket, &mut buffer)?);
        let length = timeout(Duration::from_secs(5), self.socket.async_io(tokio::io::Interest::READABLE, read)).await;
        serde_json::from_slice(&buffer[..length.expect("a message within 5 s").unwrap()]).expect("a message")
    }

    async fn run(&self) -> RunDone {
        loop {
            if let FromChecker::Run(done) = self.receive().await {
                return done;
            }
        }
    }

    /// The next state of a plugin that is not pending.
    async fn plugin(&self) -> PluginState {
        loop {
            if let FromChecker::Plugin(state) = self.receive().await
                && state.pending.is_none()
            {
                return state;
            }
        }
    }

    async fn silent_for(&self, time: Duration) {
        if let Ok(done) = timeout(time, self.run()).await {
            panic!("expected no run, found {done:?}");
        }
    }

    async fn ended(self) -> anyhow::Result<()> {
        drop(self.socket);
        timeout(Duration::from_secs(3), self.checker).await.expect("the checker ends").unwrap()
    }
}

fn message(done: &RunDone) -> &str {
    match &done.result {
        RunResult::Report(report) => &report.message,
        RunResult::Error { reason } => reason,
        RunResult::TimedOut { .. } => "timed out",
    }
}

#[tokio::test]
async fn check_runs_with_its_memo_and_the_checker_ends_with_the_router() {
    let checks = vec![check("c", "p", Duration::from_millis(20))];
    let router = Router::start(FakeRunner::default(), &[("p.wasm", "good 1")], checks).await;
    assert_eq!(message(&router.run().await), "good 1 ");
    let second = router.run().await;
    assert_eq!(message(&second), "good 1 x");
    assert!(second.next_in <= Duration::from_millis(20));
    router.ended().await.unwrap();
}

#[tokio::test]
async fn checker_sends_heartbeats_before_it_is_set_up() {
    let (channel, socket) = Router::connect();
    let checker = tokio::spawn(serve(channel, |_, _| Ok((load, FakeRunner::default()))));
    let router = Router { socket, checker, directory: tempfile::tempdir().unwrap() };
    assert_eq!(router.receive().await, FromChecker::Heartbeat);
    assert_eq!(router.receive().await, FromChecker::Heartbeat);
    router.ended().await.unwrap();
}

#[tokio::test]
async fn new_version_runs_at_once_with_an_empty_memo_and_a_broken_one_never_runs() {
    let router = Router::start(FakeRunner::default(), &[("p.wasm", "good 1")], vec![check("c", "p", HOUR)]).await;
    assert_eq!(message(&router.run().await), "good 1 ");
    fs::write(router.directory.path().join("p.wasm"), "broken").unwrap();
    let state = router.plugin().await;
    assert!(state.loaded.is_some() && state.error.is_some(), "{state:?}");
    router.silent_for(Duration::from_millis(200)).await;
    fs::write(router.directory.path().join("p.wasm"), "good 2").unwrap();
    assert_eq!(message(&router.run().await), "good 2 ");
}

#[tokio::test]
async fn check_that_pins_a_file_runs_no_other() {
    let pinned = Check { sha256: Some(sha256(b"good 1")), ..check("c", "p", HOUR) };
    let router = Router::start(FakeRunner::default(), &[("p.wasm", "good 2")], vec![pinned]).await;
    let done = router.run().await;
    let found = sha256(b"good 2");
    assert!(matches!(&done.result, RunResult::Error { reason } if reason.contains(&found)), "{done:?}");
    fs::write(router.directory.path().join("p.wasm"), "good 1").unwrap();
    assert_eq!(message(&router.run().await), "good 1 ");
}

#[tokio::test]
async fn missing_broken_or_removed_plugin_is_an_error_at_once() {
    let checks = vec![check("a", "absent", HOUR), check("b", "broken", HOUR), check("c", "removed", HOUR)];
    let files = [("broken.wasm", "broken"), ("removed.wasm", "good")];
    let router = Router::start(FakeRunner::default(), &files, checks).await;
    let mut results: Vec<RunDone> = Vec::new();
    for _ in 0..3 {
        results.push(router.run().await);
    }
    results.sort_by(|one, other| one.check.cmp(&other.check));
    assert!(message(&results[0]).starts_with("no plugin absent: expected absent.wasm in "), "{results:?}");
    assert!(message(&results[1]).ends_with("broken.wasm) can't be used: broken"), "{results:?}");
    assert!(matches!(results[2].result, RunResult::Report(_)), "{results:?}");
    fs::remove_file(router.directory.path().join("removed.wasm")).unwrap();
    let done = router.run().await;
    assert!(matches!(&done.result, RunResult::Error { reason } if reason.contains("is gone")), "{done:?}");
    fs::write(router.directory.path().join("absent.wasm"), "good at last").unwrap();
    assert_eq!(message(&router.run().await), "good at last ");
}

#[tokio::test]
async fn check_runs_when_something_that_the_last_run_looked_at_changes() {
    let (reader, writer) = std::io::pipe().unwrap();
    let fake = FakeRunner::default();
    fake.watched.lock().unwrap().push_back(reader.into());
    let router = Router::start(fake, &[("p.wasm", "good")], vec![check("c", "p", HOUR)]).await;
    router.run().await;
    router.silent_for(Duration::from_millis(100)).await;
    drop(writer);
    assert_eq!(message(&router.run().await), "good x");
    router.silent_for(Duration::from_millis(100)).await;
}

#[tokio::test]
async fn router_sets_the_pace_of_each_check() {
    let checks = vec![check("c", "p", Duration::from_secs(1)), check("slow", "p", HOUR)];
    let router = Router::start(FakeRunner::default(), &[("p.wasm", "good")], checks).await;
    for _ in 0..2 {
        router.run().await;
    }
    router.send(&ToChecker::Pace { check: "c".to_owned(), fast: true });
    let before = std::time::Instant::now();
    for _ in 0..4 {
        assert_eq!(router.run().await.check, "c");
    }
    assert!(before.elapsed() < Duration::from_millis(800), "{:?}", before.elapsed());
}

#[tokio::test]
async fn runs_do_not_overlap_and_skipped_runs_are_counted() {
    let mut slow = check("c", "p", Duration::from_millis(100));
    slow.params.push(("sleep".to_owned(), "250".to_owned()));
    let router = Router::start(FakeRunner::default(), &[("p.wasm", "good")], vec![slow]).await;
    assert_eq!(router.run().await.skipped, 2);
}

#[tokio::test]
async fn checks_are_added_replaced_and_removed() {
    let router = Router::start(FakeRunner::default(), &[("p.wasm", "good")], Vec::new()).await;
    router.plugin().await;
    router.send(&ToChecker::Check(Box::new(check("c", "p", Duration::from_millis(20)))));
    router.run().await;
    router.send(&ToChecker::Check(Box::new(check("c", "other", HOUR))));
    let error = loop {
        let done = router.run().await;
        if let RunResult::Error { reason } = done.result {
            break reason;
        }
    };
    assert!(error.starts_with("no plugin other"), "{error}");
    router.silent_for(Duration::from_millis(100)).await;
    router.send(&ToChecker::Check(Box::new(check("d", "p", Duration::from_millis(20)))));
    router.run().await;
    router.send(&ToChecker::Forget { check: "d".to_owned() });
    tokio::time::sleep(Duration::from_millis(50)).await;
    while timeout(Duration::from_millis(50), router.run()).await.is_ok() {}
    router.silent_for(Duration::from_millis(100)).await;
    router.ended().await.unwrap();
}

#[tokio::test]
async fn checker_ends_when_it_cannot_go_on() {
    let mut panicking = check("c", "p", MINUTE);
    panicking.params.push(("panic".to_owned(), String::new()));
    let mut hungry = check("c", "p", MINUTE);
    hungry.limits.memory = MEMORY + 1;
    for (last, expected) in [
        (ToChecker::Check(Box::new(panicking)), "crashed"),
        (ToChecker::Check(Box::new(hungry)), "more than was reserved"),
        (ToChecker::Start, "unexpected message"),
    ] {
        let router = Router::start(FakeRunner::default(), &[("p.wasm", "good")], Vec::new()).await;
        router.send(&last);
        let ended = timeout(Duration::from_secs(3), router.checker).await.expect("the checker ends").unwrap();
        let error = format!("{:#}", ended.unwrap_err());
        assert!(error.contains(expected), "{error}");
    }
}
