//! The checker over a real socket pair, with a runner made up for the test; the router's end is this file.

use std::collections::VecDeque;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use vouchd_config::{ExitCodes, Grants, Limits, ProcessGrant};
use vouchd_health::{Influence, OnError, Report, RunResult, Thresholds, Verdict};
use vouchd_plugin::Changes;

use super::runner::Ended;
use super::shelf::Loaded;
use super::*;
use vouchd_ipc::pipe::{MAX_MESSAGE, Pending, PluginState, RunDone};

const MEMORY: u64 = 32 << 20;

/// Passes with the plugin's text and what the last run remembered; the check's parameters say what else it does.
#[derive(Clone, Default)]
struct Fake {
    /// Pipes for runs to watch, one a run.
    watched: Arc<Mutex<VecDeque<OwnedFd>>>,
}

impl Run for Fake {
    type Plugin = String;

    fn has_room_for(&self, check: &Check) -> bool {
        check.limits.memory <= MEMORY
    }

    async fn run(&self, plugin: &String, check: &Check, memo: Vec<u8>, _: Arc<Changes>) -> Ended {
        let memo = String::from_utf8(memo).unwrap();
        let watch = self.watched.lock().unwrap().pop_front();
        for (key, value) in &check.params {
            match key.as_str() {
                "sleep" => tokio::time::sleep(Duration::from_millis(value.parse().unwrap())).await,
                other => panic!("{other}, as asked"),
            }
        }
        Ended {
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
        (Channel::new(theirs).unwrap(), super::watch::register(ours, interest).unwrap())
    }

    /// A checker with made-up plugins.
    async fn start(fake: Fake, plugins: &[(&str, &str)], checks: Vec<Check>) -> Self {
        let (channel, socket) = Self::connect();
        let checker = tokio::spawn(serve(channel, move |_, _| Ok((load, fake))));
        let router = Router { socket, checker, directory: tempfile::tempdir().unwrap() };
        for (name, text) in plugins {
            fs::write(router.directory.path().join(name), text).unwrap();
        }
        router.begin(router.directory.path(), checks);
        router
    }

    /// The checker as it is, with a copy of this plugin.
    async fn start_real(plugin: &Path, checks: Vec<Check>) -> Self {
        let (channel, socket) = Self::connect();
        let checker = tokio::spawn(serve(channel, |init, checks| {
            // The program that runs this test is not the daemon, which compiles when started as `compile`.
            guest::start_with(vouchd_plugin::Compiler::Here, init, checks)
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

    /// What became of a file; that it is awaited comes before.
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
async fn a_check_runs_and_remembers_and_the_checker_ends_with_the_router() {
    let checks = vec![check("c", "p", Duration::from_millis(20))];
    let router = Router::start(Fake::default(), &[("p.wasm", "good 1")], checks).await;
    assert_eq!(message(&router.run().await), "good 1 ");
    let second = router.run().await;
    assert_eq!(message(&second), "good 1 x");
    assert!(second.next_in <= Duration::from_millis(20));
    router.ended().await.unwrap();
}

#[tokio::test]
async fn the_checker_says_that_it_is_alive_before_it_is_set_up() {
    let (channel, socket) = Router::connect();
    let checker = tokio::spawn(serve(channel, |_, _| Ok((load, Fake::default()))));
    let router = Router { socket, checker, directory: tempfile::tempdir().unwrap() };
    assert_eq!(router.receive().await, FromChecker::Heartbeat);
    assert_eq!(router.receive().await, FromChecker::Heartbeat);
    router.ended().await.unwrap();
}

#[tokio::test]
async fn a_new_version_runs_at_once_with_an_empty_memo_and_a_broken_one_never() {
    let router = Router::start(Fake::default(), &[("p.wasm", "good 1")], vec![check("c", "p", HOUR)]).await;
    assert_eq!(message(&router.run().await), "good 1 ");
    fs::write(router.directory.path().join("p.wasm"), "broken").unwrap();
    let state = router.plugin().await;
    assert!(state.loaded.is_some() && state.error.is_some(), "{state:?}");
    router.silent_for(Duration::from_millis(200)).await;
    fs::write(router.directory.path().join("p.wasm"), "good 2").unwrap();
    assert_eq!(message(&router.run().await), "good 2 ");
}

#[tokio::test]
async fn a_check_that_names_a_file_runs_no_other() {
    let pinned = Check { sha256: Some(super::files::sha256(b"good 1")), ..check("c", "p", HOUR) };
    let router = Router::start(Fake::default(), &[("p.wasm", "good 2")], vec![pinned]).await;
    let done = router.run().await;
    let found = super::files::sha256(b"good 2");
    assert!(matches!(&done.result, RunResult::Error { reason } if reason.contains(&found)), "{done:?}");
    fs::write(router.directory.path().join("p.wasm"), "good 1").unwrap();
    assert_eq!(message(&router.run().await), "good 1 ");
}

#[tokio::test]
async fn a_plugin_that_is_missing_broken_or_gone_is_an_error_at_once() {
    let checks = vec![check("a", "absent", HOUR), check("b", "broken", HOUR), check("c", "removed", HOUR)];
    let files = [("broken.wasm", "broken"), ("removed.wasm", "good")];
    let router = Router::start(Fake::default(), &files, checks).await;
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
async fn what_the_last_run_looked_at_runs_the_check_when_it_changes() {
    let (reader, writer) = std::io::pipe().unwrap();
    let fake = Fake::default();
    fake.watched.lock().unwrap().push_back(reader.into());
    let router = Router::start(fake, &[("p.wasm", "good")], vec![check("c", "p", HOUR)]).await;
    router.run().await;
    router.silent_for(Duration::from_millis(100)).await;
    drop(writer);
    assert_eq!(message(&router.run().await), "good x");
    router.silent_for(Duration::from_millis(100)).await;
}

#[tokio::test]
async fn the_router_sets_the_pace_of_each_check() {
    let checks = vec![check("c", "p", Duration::from_secs(1)), check("slow", "p", HOUR)];
    let router = Router::start(Fake::default(), &[("p.wasm", "good")], checks).await;
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
async fn a_run_in_flight_is_not_doubled_and_what_it_skips_is_counted() {
    let mut slow = check("c", "p", Duration::from_millis(100));
    slow.params.push(("sleep".to_owned(), "250".to_owned()));
    let router = Router::start(Fake::default(), &[("p.wasm", "good")], vec![slow]).await;
    assert_eq!(router.run().await.skipped, 2);
}

#[tokio::test]
async fn checks_come_change_and_go() {
    let router = Router::start(Fake::default(), &[("p.wasm", "good")], Vec::new()).await;
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
async fn what_the_checker_can_not_go_on_with_ends_it() {
    let mut panicking = check("c", "p", MINUTE);
    panicking.params.push(("panic".to_owned(), String::new()));
    let mut hungry = check("c", "p", MINUTE);
    hungry.limits.memory = MEMORY + 1;
    for (last, expected) in [
        (ToChecker::Check(Box::new(panicking)), "crashed"),
        (ToChecker::Check(Box::new(hungry)), "more than was reserved"),
        (ToChecker::Start, "unexpected message"),
    ] {
        let router = Router::start(Fake::default(), &[("p.wasm", "good")], Vec::new()).await;
        router.send(&last);
        let ended = timeout(Duration::from_secs(3), router.checker).await.expect("the checker ends").unwrap();
        let error = format!("{:#}", ended.unwrap_err());
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_check_waits_for_a_plugin_that_is_being_compiled_and_misses_only_what_is_not_there() {
    let sources = Sources { plugins: "/p".into(), builtins: "/b".into(), keys: None };
    let mut slots: Slots<String> = Slots::new(sources);
    let slow = slots.follow("slow");
    let state = |is_pending: bool| PluginState {
        name: "slow".to_owned(),
        source: "/p/slow.wasm".into(),
        loaded: None,
        error: (!is_pending).then(|| "why".to_owned()),
        pending: is_pending.then(|| Pending { what: "is being compiled".to_owned(), since: 0, is_long: true }),
        is_gone: false,
    };
    slots.note(Event::Pending { state: state(true) });
    slots.note(Event::Ready { problems: Vec::new() });
    assert!(matches!(*slow.borrow(), Slot::Pending));
    assert!(matches!(*slots.follow("slow").borrow(), Slot::Pending));
    assert!(matches!(*slots.follow("other").borrow(), Slot::Absent { .. }));
    slots.note(Event::Kept { state: state(false) });
    assert!(matches!(&*slow.borrow(), Slot::Absent { reason } if reason.ends_with("can't be used: why")));
    slots.note(Event::Pending { state: state(true) });
    assert!(matches!(*slow.borrow(), Slot::Pending), "a new file, in place of one that can't be used");
}

/// A program that does nothing, and is another than those of other numbers.
fn program(number: u8) -> Vec<u8> {
    let mut bytes =
        b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x07\x0a\x01\x06_start\0\0\x0a\x04\x01\x02\0\x0b".to_vec();
    bytes.extend([0, 3, 1, b'n', number]);
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_start_compiles_none_of_a_hundred_plugins() {
    let scene = tempfile::tempdir().unwrap();
    let plugin_dir = scene.path().join("plugins");
    fs::create_dir(&plugin_dir).unwrap();
    for number in 0..100 {
        fs::write(plugin_dir.join(format!("p{number}.wasm")), program(number)).unwrap();
    }
    let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    let cache = vouchd_ipc::cache::prepare(&scene.path().join("cache"), uid, gid).unwrap();
    for is_cached in [false, true] {
        let (channel, socket) = Router::connect();
        let start = |init: &Init, checks: &[Check]| guest::start_with(vouchd_plugin::Compiler::Here, init, checks);
        let checker = tokio::spawn(serve(channel, start));
        let router = Router { socket, checker, directory: tempfile::tempdir().unwrap() };
        let begun = std::time::Instant::now();
        router.send(&ToChecker::Init(Init {
            plugin_dir: plugin_dir.clone(),
            builtin_plugin_dir: scene.path().join("none"),
            plugin_keys: Vec::new(),
            cache: Some(cache.clone()),
        }));
        router.send(&ToChecker::Start);
        for _ in 0..100 {
            let state = router.plugin().await;
            let loaded = state.loaded.unwrap_or_else(|| panic!("{:?}", state.error));
            assert_eq!(loaded.compiled_in.is_none(), is_cached, "{}", state.name);
        }
        println!("100 plugins, compiled before: {is_cached}: {:?}", begun.elapsed());
        router.ended().await.unwrap();
    }
}

/// The built plugin; none, and the test is skipped, if `cargo xtask build` was not run.
fn built(file: &str) -> Option<PathBuf> {
    let directory = std::env::var_os("VOUCHD_PLUGINS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/plugins"), PathBuf::from);
    let found = Some(directory.join(file)).filter(|path| path.is_file());
    if found.is_none() {
        vouchd_skip::skip(&format!("no {file} in target/plugins or $VOUCHD_PLUGINS"), "run `cargo xtask build`");
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process_plugin_tells_at_once_that_its_process_has_died() {
    let Some(plugin) = built("process.wasm") else {
        return;
    };
    let programs = tempfile::tempdir().unwrap();
    let program = programs.path().join("vouchd-watched");
    fs::copy("/bin/sleep", &program).unwrap();
    let mut child = std::process::Command::new(&program).arg("60").spawn().unwrap();

    let mut watched = check("c", "process", HOUR);
    watched.params.push(("name".to_owned(), "vouchd-watched".to_owned()));
    watched.grants.process = ProcessGrant::All;
    let mut denied = check("denied", "process", HOUR);
    denied.params = watched.params.clone();
    let router = Router::start_real(&plugin, vec![watched, denied]).await;

    for _ in 0..2 {
        let done = router.run().await;
        match (done.check.as_str(), &done.result) {
            ("c", RunResult::Report(report)) => assert_eq!(report.verdict, Verdict::Pass, "{done:?}"),
            ("denied", RunResult::Error { reason }) => assert!(reason.contains("allow"), "{done:?}"),
            _ => panic!("{done:?}"),
        }
    }
    child.kill().unwrap();
    let died = std::time::Instant::now();
    let done = router.run().await;
    let took = died.elapsed();
    assert!(matches!(&done.result, RunResult::Report(report) if report.verdict == Verdict::Fail), "{done:?}");
    assert!(took < Duration::from_millis(500), "told after {took:?}");
    child.wait().unwrap();
    router.ended().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_file_plugin_tells_at_once_that_its_file_is_there() {
    let Some(plugin) = built("file.wasm") else { return };
    let directory = tempfile::tempdir().unwrap();
    let flag = directory.path().join("flag").to_str().unwrap().to_owned();
    let mut check = check("c", "file", HOUR);
    check.params.push(("path".to_owned(), flag.clone()));
    check.grants.files.push(flag.parse().unwrap());
    let router = Router::start_real(&plugin, vec![check]).await;
    let verdict = |done: &RunDone| match &done.result {
        RunResult::Report(report) => report.verdict,
        other => panic!("{other:?}"),
    };
    assert_eq!(verdict(&router.run().await), Verdict::Fail);
    router.silent_for(Duration::from_millis(150)).await;
    fs::write(&flag, "x").unwrap();
    let made = std::time::Instant::now();
    let mut done = router.run().await;
    // Made, and then written: the first run may come in between.
    while verdict(&done) != Verdict::Pass {
        done = router.run().await;
    }
    assert!(made.elapsed() < Duration::from_secs(60), "by the change, not by the interval");
    fs::remove_file(&flag).unwrap();
    while verdict(&done) != Verdict::Fail {
        done = router.run().await;
    }
    router.ended().await.unwrap();
}
