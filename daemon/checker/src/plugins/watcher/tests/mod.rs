//! The directories as people and tools use them, with a loader that accepts any text that begins with `good`.

use std::fs::{self, File, FileTimes};
use std::io::Write;
use std::path::Path;
use std::sync::mpsc::Receiver;
use std::time::SystemTime;

use super::*;
use crate::plugins::catalog::{SETTLE, SETTLE_OPEN};
use crate::plugins::load::{Loaded, Progress};
use vouchd_ipc::pipe::PluginState;

mod places;

struct Scene {
    plugins: tempfile::TempDir,
    builtins: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        Scene { plugins: tempfile::tempdir().unwrap(), builtins: tempfile::tempdir().unwrap() }
    }

    fn plugin(&self, name: &str) -> PathBuf {
        self.plugins.path().join(name)
    }

    fn watch(&self) -> Events {
        self.watch_first(&[])
    }

    fn watch_first(&self, first: &[&str]) -> Events {
        let sources =
            Sources { plugins: self.plugins.path().to_owned(), builtins: self.builtins.path().to_owned(), keys: None };
        let (sender, receiver) = mpsc::channel();
        let first = first.iter().map(|name| name.to_string()).collect();
        spawn(sources, first, load, move |event| sender.send(event).is_ok()).unwrap();
        Events(receiver)
    }
}

fn load(bytes: &[u8]) -> Result<Loaded<String>, String> {
    let text = String::from_utf8(bytes.to_vec()).map_err(|error| error.to_string())?;
    assert!(!text.starts_with("panic"), "as asked");
    if text.starts_with("good") {
        Ok(Loaded { plugin: text, kind: "component".to_owned(), compiled_in: None })
    } else {
        Err(format!("not good: {text}"))
    }
}

/// Writes a file as a package manager does: complete, and with an old time stamp.
fn install(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    let long_ago = SystemTime::now() - SETTLE_OPEN * 10;
    let file = File::options().write(true).open(path).unwrap();
    file.set_times(FileTimes::new().set_modified(long_ago)).unwrap();
}

struct Events(Receiver<PluginEvent<String>>);

impl Events {
    /// The next event other than [`PluginEvent::Pending`].
    fn next(&self) -> PluginEvent<String> {
        self.next_within(Duration::from_secs(3))
    }

    fn next_within(&self, time: Duration) -> PluginEvent<String> {
        self.settled_within(time).unwrap_or_else(|| panic!("an event within {time:?}"))
    }

    fn settled_within(&self, time: Duration) -> Option<PluginEvent<String>> {
        let until = Instant::now() + time;
        loop {
            let event = self.0.recv_timeout(until.saturating_duration_since(Instant::now())).ok()?;
            if !matches!(event, PluginEvent::Pending { .. }) {
                return Some(event);
            }
        }
    }

    fn any(&self) -> PluginEvent<String> {
        self.0.recv_timeout(Duration::from_secs(3)).expect("an event within 3 s")
    }

    fn ready(&self) -> Vec<String> {
        match self.next() {
            PluginEvent::Ready { problems } => problems,
            event => panic!("expected all files tried, found {event:?}"),
        }
    }

    fn loaded(&self) -> (String, PluginState) {
        match self.next() {
            PluginEvent::Loaded { plugin, state, .. } => (plugin, state),
            event => panic!("expected a loaded plugin, found {event:?}"),
        }
    }

    fn changed(&self) -> PluginState {
        match self.next() {
            PluginEvent::StateChanged { state } => state,
            event => panic!("expected a changed state, found {event:?}"),
        }
    }

    fn gone(&self) -> PluginState {
        match self.next() {
            PluginEvent::Gone { state } => state,
            event => panic!("expected a plugin that is gone, found {event:?}"),
        }
    }

    fn silent_for(&self, time: Duration) {
        if let Some(event) = self.settled_within(time) {
            panic!("expected nothing, found {event:?}");
        }
    }
}

#[test]
fn files_at_start_are_loaded_before_ready_and_needed_plugins_come_first() {
    let scene = Scene::new();
    for name in ["a", "b", "c"] {
        fs::write(scene.plugin(&format!("{name}.wasm")), format!("good {name}")).unwrap();
    }
    let events = scene.watch_first(&["c"]);
    let names: Vec<String> = (0..3).map(|_| events.loaded().1.name).collect();
    assert_eq!(names, ["c", "a", "b"]);
    assert!(events.ready().is_empty());
}

#[test]
fn empty_directory_is_ready_at_once_and_its_first_plugin_is_found() {
    let scene = Scene::new();
    let events = scene.watch();
    events.ready();
    fs::write(scene.plugin("new.wasm"), "good new").unwrap();
    let (plugin, state) = events.loaded();
    assert_eq!((plugin.as_str(), state.name.as_str(), state.error), ("good new", "new", None));
    assert_eq!(state.source, scene.plugin("new.wasm"));
}

#[test]
fn atomic_rename_loads_the_new_version_once() {
    let scene = Scene::new();
    fs::write(scene.plugin("p.wasm"), "good 1").unwrap();
    let events = scene.watch();
    events.loaded();
    events.ready();
    fs::write(scene.plugin(".p.wasm.tmp"), "good 2").unwrap();
    fs::rename(scene.plugin(".p.wasm.tmp"), scene.plugin("p.wasm")).unwrap();
    assert_eq!(events.loaded().0, "good 2");
    events.silent_for(SETTLE * 4);
}

#[test]
fn file_that_an_editor_moves_away_for_a_moment_is_not_replaced_by_the_built_in() {
    let scene = Scene::new();
    fs::write(scene.builtins.path().join("p.wasm"), "good built-in").unwrap();
    fs::write(scene.plugin("p.wasm"), "good 1").unwrap();
    let events = scene.watch();
    assert_eq!(events.loaded().0, "good 1");
    events.ready();
    fs::rename(scene.plugin("p.wasm"), scene.plugin("p.wasm~")).unwrap();
    std::thread::sleep(SETTLE / 4);
    fs::write(scene.plugin("p.wasm"), "good 2").unwrap();
    assert_eq!(events.loaded().0, "good 2", "the built-in never ran meanwhile");
}

#[test]
fn half_written_file_waits_for_its_writer() {
    let scene = Scene::new();
    let events = scene.watch();
    events.ready();
    let mut file = File::create(scene.plugin("p.wasm")).unwrap();
    file.write_all(b"good first half").unwrap();
    events.silent_for(SETTLE * 5);
    file.write_all(b", second half").unwrap();
    drop(file);
    assert_eq!(events.loaded().0, "good first half, second half");
}

#[test]
fn file_that_is_never_closed_counts_after_a_while() {
    let scene = Scene::new();
    let events = scene.watch();
    events.ready();
    let mut file = File::create(scene.plugin("p.wasm")).unwrap();
    file.write_all(b"good").unwrap();
    events.silent_for(SETTLE_OPEN - Duration::from_secs(1));
    assert_eq!(events.loaded().0, "good");
    drop(file);
}

#[test]
fn broken_file_leaves_the_version_before_it_in_use_and_is_reported() {
    let scene = Scene::new();
    fs::write(scene.plugin("p.wasm"), "good 1").unwrap();
    let events = scene.watch();
    let before = events.loaded().1.loaded.unwrap();
    events.ready();
    fs::write(scene.plugin("p.wasm"), "broken").unwrap();
    let state = events.changed();
    assert_eq!(state.loaded.as_ref(), Some(&before));
    assert_eq!(state.error.as_deref(), Some("not good: broken"));
    fs::write(scene.plugin("p.wasm"), "good 1").unwrap();
    let state = events.changed();
    assert_eq!((state.loaded, state.error), (Some(before), None), "the same bytes again are not a new version");
}

#[test]
fn file_that_was_never_good_has_no_version() {
    let scene = Scene::new();
    fs::write(scene.plugin("p.wasm"), "broken").unwrap();
    let events = scene.watch();
    let state = events.changed();
    assert_eq!((state.loaded, state.error.as_deref()), (None, Some("not good: broken")));
    events.ready();
    fs::write(scene.plugin("p.wasm"), "good now").unwrap();
    assert_eq!(events.loaded().0, "good now");
}

#[test]
fn crash_of_the_compiler_is_an_error_of_the_file() {
    let scene = Scene::new();
    fs::write(scene.plugin("p.wasm"), "panic").unwrap();
    let events = scene.watch();
    assert!(events.changed().error.unwrap().contains("compiler crashed"));
    fs::write(scene.plugin("p.wasm"), "good").unwrap();
    events.ready();
    assert_eq!(events.loaded().0, "good");
}

#[test]
fn deleted_file_is_gone_and_may_come_back() {
    let scene = Scene::new();
    fs::write(scene.plugin("p.wasm"), "good").unwrap();
    let events = scene.watch();
    events.loaded();
    events.ready();
    fs::remove_file(scene.plugin("p.wasm")).unwrap();
    let state = events.gone();
    assert_eq!(state.loaded, None);
    assert!(state.error.unwrap().contains("was removed"));
    fs::write(scene.plugin("p.wasm"), "good").unwrap();
    assert_eq!(events.loaded().0, "good");
}

#[test]
fn touched_file_is_not_a_new_version() {
    let scene = Scene::new();
    fs::write(scene.plugin("p.wasm"), "good").unwrap();
    let events = scene.watch();
    let before = events.loaded().1;
    events.ready();
    install(&scene.plugin("p.wasm"), "good");
    assert_eq!(events.changed(), before);
}

/// A loader that is done with files that begin with `slow` once the flag is set.
struct Slow(std::sync::Arc<std::sync::atomic::AtomicBool>);

impl Load for Slow {
    type Plugin = String;

    fn load(&mut self, sha256: &str, bytes: &[u8], _is_urgent: bool) -> Progress<String> {
        if bytes.starts_with(b"slow") && !self.is_due(sha256) {
            return Progress::Underway { what: "is being compiled".to_owned() };
        }
        Progress::Done(load(&[b"good ", bytes].concat()))
    }

    fn is_due(&mut self, _sha256: &str) -> bool {
        self.0.load(std::sync::atomic::Ordering::SeqCst)
    }
}

#[test]
fn slow_file_is_reported_once_and_does_not_hold_up_others() {
    let scene = Scene::new();
    fs::write(scene.plugin("a.wasm"), "slow").unwrap();
    let done = std::sync::Arc::<std::sync::atomic::AtomicBool>::default();
    let sources =
        Sources { plugins: scene.plugins.path().to_owned(), builtins: scene.builtins.path().to_owned(), keys: None };
    let (sender, receiver) = mpsc::channel();
    spawn(sources, BTreeSet::new(), Slow(done.clone()), move |event| sender.send(event).is_ok()).unwrap();
    let events = Events(receiver);
    let reported: Vec<_> = std::iter::repeat_with(|| match events.any() {
        PluginEvent::Pending { state } => {
            assert_eq!((state.name.as_str(), &state.loaded, &state.error), ("a", &None, &None));
            state.pending.map(|pending| (pending.what, pending.is_long)).unwrap()
        }
        event => panic!("expected a pending plugin, found {event:?}"),
    })
    .take(3)
    .collect();
    let expected = [("is about to be loaded", false), ("is being compiled", false), ("is being compiled", true)];
    assert_eq!(reported, expected.map(|(what, is_long)| (what.to_owned(), is_long)));
    assert!(matches!(events.any(), PluginEvent::Ready { .. }));
    fs::write(scene.plugin("b.wasm"), "b").unwrap();
    assert_eq!(events.loaded().0, "good b");
    events.silent_for(SETTLE * 4);
    done.store(true, std::sync::atomic::Ordering::SeqCst);
    let (plugin, state) = events.loaded();
    assert_eq!((plugin.as_str(), state.name.as_str(), state.pending, state.error), ("good slow", "a", None, None));
}
