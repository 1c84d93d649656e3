//! The directories as people and tools treat them, with a loader that takes any text beginning with `good`.

use std::fs::{self, File, FileTimes};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::mpsc::Receiver;
use std::time::SystemTime;

use super::*;
use crate::serve::shelf::{Loaded, Loading, SETTLE, SETTLE_OPEN};
use vouchd_ipc::pipe::PluginState;

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

/// A file as a package manager leaves it: complete, and from long ago.
fn install(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    let long_ago = SystemTime::now() - SETTLE_OPEN * 10;
    let file = File::options().write(true).open(path).unwrap();
    file.set_times(FileTimes::new().set_modified(long_ago)).unwrap();
}

struct Events(Receiver<Event<String>>);

impl Events {
    /// What became of a file; that it is awaited comes before.
    fn next(&self) -> Event<String> {
        self.next_within(Duration::from_secs(3))
    }

    fn next_within(&self, time: Duration) -> Event<String> {
        self.known_within(time).unwrap_or_else(|| panic!("an event within {time:?}"))
    }

    fn known_within(&self, time: Duration) -> Option<Event<String>> {
        let until = Instant::now() + time;
        loop {
            let event = self.0.recv_timeout(until.saturating_duration_since(Instant::now())).ok()?;
            if !matches!(event, Event::Pending { .. }) {
                return Some(event);
            }
        }
    }

    fn any(&self) -> Event<String> {
        self.0.recv_timeout(Duration::from_secs(3)).expect("an event within 3 s")
    }

    fn ready(&self) -> Vec<String> {
        match self.next() {
            Event::Ready { problems } => problems,
            event => panic!("expected all files tried, found {event:?}"),
        }
    }

    fn loaded(&self) -> (String, PluginState) {
        match self.next() {
            Event::Loaded { plugin, state, .. } => (plugin, state),
            event => panic!("expected a loaded plugin, found {event:?}"),
        }
    }

    fn kept(&self) -> PluginState {
        match self.next() {
            Event::Kept { state } => state,
            event => panic!("expected a kept plugin, found {event:?}"),
        }
    }

    fn gone(&self) -> PluginState {
        match self.next() {
            Event::Gone { state } => state,
            event => panic!("expected a plugin that is gone, found {event:?}"),
        }
    }

    fn silent_for(&self, time: Duration) {
        if let Some(event) = self.known_within(time) {
            panic!("expected nothing, found {event:?}");
        }
    }
}

#[test]
fn what_is_there_at_start_is_loaded_before_ready_and_needed_plugins_come_first() {
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
fn an_empty_directory_is_ready_at_once_and_its_first_plugin_is_found() {
    let scene = Scene::new();
    let events = scene.watch();
    events.ready();
    fs::write(scene.plugin("new.wasm"), "good new").unwrap();
    let (plugin, state) = events.loaded();
    assert_eq!((plugin.as_str(), state.name.as_str(), state.error), ("good new", "new", None));
    assert_eq!(state.source, scene.plugin("new.wasm"));
}

#[test]
fn an_atomic_rename_swaps_in_the_new_version_once() {
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
fn an_editor_that_moves_the_file_away_and_back_loses_nothing() {
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
fn a_half_written_file_waits_for_its_writer() {
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
fn a_file_that_is_never_closed_counts_after_a_while() {
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
fn a_broken_file_leaves_the_version_before_it_and_says_why() {
    let scene = Scene::new();
    fs::write(scene.plugin("p.wasm"), "good 1").unwrap();
    let events = scene.watch();
    let before = events.loaded().1.loaded.unwrap();
    events.ready();
    fs::write(scene.plugin("p.wasm"), "broken").unwrap();
    let state = events.kept();
    assert_eq!(state.loaded.as_ref(), Some(&before));
    assert_eq!(state.error.as_deref(), Some("not good: broken"));
    fs::write(scene.plugin("p.wasm"), "good 1").unwrap();
    let state = events.kept();
    assert_eq!((state.loaded, state.error), (Some(before), None), "the same bytes again are no new version");
}

#[test]
fn a_file_that_was_never_good_has_no_version() {
    let scene = Scene::new();
    fs::write(scene.plugin("p.wasm"), "broken").unwrap();
    let events = scene.watch();
    let state = events.kept();
    assert_eq!((state.loaded, state.error.as_deref()), (None, Some("not good: broken")));
    events.ready();
    fs::write(scene.plugin("p.wasm"), "good now").unwrap();
    assert_eq!(events.loaded().0, "good now");
}

#[test]
fn a_crash_of_the_compiler_is_a_bad_file() {
    let scene = Scene::new();
    fs::write(scene.plugin("p.wasm"), "panic").unwrap();
    let events = scene.watch();
    assert!(events.kept().error.unwrap().contains("compiler crashed"));
    fs::write(scene.plugin("p.wasm"), "good").unwrap();
    events.ready();
    assert_eq!(events.loaded().0, "good");
}

#[test]
fn a_deleted_file_is_gone_and_may_come_back() {
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
fn what_takes_the_place_of_a_file_stops_it_and_is_named_until_it_is_gone() {
    let scene = Scene::new();
    let place = scene.plugin("p.wasm");
    fs::write(&place, "good").unwrap();
    let events = scene.watch();
    events.loaded();
    events.ready();
    fs::remove_file(&place).unwrap();
    fs::create_dir(&place).unwrap();
    let state = events.kept();
    assert_eq!((state.loaded, state.error.as_deref()), (None, Some("it is a directory, not a file")));
    fs::remove_dir(&place).unwrap();
    nix::unistd::mkfifo(&place, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_eq!(events.kept().error.as_deref(), Some("it is a named pipe, not a file"));
    fs::remove_file(&place).unwrap();
    let state = events.gone();
    assert!(state.is_gone && state.error.is_none(), "what was wrong with it is over: {state:?}");
    install(&scene.builtins.path().join("q.wasm"), "good built-in");
    assert_eq!(events.loaded().0, "good built-in");
    fs::create_dir(scene.plugin("q.wasm")).unwrap();
    events.silent_for(SETTLE * 3);
    fs::write(&place, "good").unwrap();
    assert_eq!(events.loaded().0, "good", "a directory hides no built-in");
}

#[test]
fn a_directory_that_was_renamed_is_the_reason_and_not_its_files() {
    let scene = Scene::new();
    let (inner, moved) = (scene.plugin("inner"), scene.plugin("moved"));
    fs::create_dir(&inner).unwrap();
    fs::write(inner.join("p.wasm"), "good").unwrap();
    let sources = Sources { plugins: inner.clone(), builtins: scene.builtins.path().to_owned(), keys: None };
    let (sender, receiver) = mpsc::channel();
    spawn(sources, BTreeSet::new(), load, move |event| sender.send(event).is_ok()).unwrap();
    let events = Events(receiver);
    events.loaded();
    assert!(events.ready().is_empty());
    fs::rename(&inner, &moved).unwrap();
    let absent = format!("{} does not exist", inner.display());
    let mut told = (None, None);
    while let (None, _) | (_, None) = &told {
        match events.next_within(RESCAN * 2) {
            Event::Gone { state } => told.0 = state.error,
            Event::Problems { problems } => told.1 = Some(problems),
            event => panic!("{event:?}"),
        }
    }
    assert_eq!(told, (Some(format!("gone: the plugin directory {absent} any more")), Some(vec![absent])));
    fs::rename(&moved, &inner).unwrap();
    let mut told = (false, false);
    while told != (true, true) {
        match events.next_within(RESCAN * 2) {
            Event::Loaded { .. } => told.0 = true,
            Event::Problems { problems } => told.1 = problems.is_empty(),
            event => panic!("{event:?}"),
        }
    }
}

#[test]
fn the_operators_plugin_wins_over_the_built_in_while_it_is_there() {
    let scene = Scene::new();
    install(&scene.builtins.path().join("p.wasm"), "good built-in");
    install(&scene.plugin("p.wasm"), "good own");
    let events = scene.watch();
    assert_eq!(events.loaded().0, "good own");
    events.ready();
    fs::remove_file(scene.plugin("p.wasm")).unwrap();
    let (plugin, state) = events.loaded();
    assert_eq!((plugin.as_str(), state.source), ("good built-in", scene.builtins.path().join("p.wasm")));
}

#[test]
fn a_flipped_symlink_is_a_new_version() {
    let scene = Scene::new();
    for version in ["1", "2"] {
        fs::create_dir(scene.plugin(version)).unwrap();
        install(&scene.plugin(version).join("p.wasm"), &format!("good {version}"));
    }
    symlink("1", scene.plugin("..data")).unwrap();
    symlink("..data/p.wasm", scene.plugin("p.wasm")).unwrap();
    let events = scene.watch();
    assert_eq!(events.loaded().0, "good 1");
    events.ready();
    symlink("2", scene.plugin("..tmp")).unwrap();
    fs::rename(scene.plugin("..tmp"), scene.plugin("..data")).unwrap();
    assert_eq!(events.loaded().0, "good 2");
}

#[test]
fn dotfiles_and_other_names_are_ignored() {
    let scene = Scene::new();
    let events = scene.watch();
    events.ready();
    for name in [".p.wasm", ".p.wasm.swp", "p.wasm.tmp", "p.txt", "p"] {
        fs::write(scene.plugin(name), "good").unwrap();
    }
    events.silent_for(SETTLE * 4);
}

#[test]
fn touching_a_file_is_no_new_version() {
    let scene = Scene::new();
    fs::write(scene.plugin("p.wasm"), "good").unwrap();
    let events = scene.watch();
    let before = events.loaded().1;
    events.ready();
    install(&scene.plugin("p.wasm"), "good");
    assert_eq!(events.kept(), before);
}

#[test]
fn a_file_that_can_not_be_read_says_so_and_is_tried_again_after_a_chmod() {
    // Root reads everything; the threads that this one starts are then somebody else to the file system.
    if nix::unistd::Uid::effective().is_root() {
        nix::unistd::setfsuid(nix::unistd::Uid::from_raw(65534));
    }
    let scene = Scene::new();
    fs::write(scene.plugin("p.wasm"), "good").unwrap();
    fs::set_permissions(scene.plugin("p.wasm"), fs::Permissions::from_mode(0o000)).unwrap();
    let events = scene.watch();
    assert!(events.kept().error.unwrap().contains("can't be read"));
    fs::set_permissions(scene.plugin("p.wasm"), fs::Permissions::from_mode(0o644)).unwrap();
    events.ready();
    assert_eq!(events.loaded().0, "good");
}

#[test]
fn a_directory_that_appears_later_or_is_replaced_is_found() {
    let scene = Scene::new();
    let inner = scene.plugin("later");
    let sources = Sources { plugins: inner.clone(), builtins: scene.builtins.path().to_owned(), keys: None };
    let (sender, receiver) = mpsc::channel();
    spawn(sources, BTreeSet::new(), load, move |event| sender.send(event).is_ok()).unwrap();
    let events = Events(receiver);
    assert_eq!(events.ready(), [format!("{} does not exist", inner.display())]);
    fs::create_dir(&inner).unwrap();
    fs::write(inner.join("p.wasm"), "good").unwrap();
    let mut event = events.next_within(RESCAN * 2);
    if matches!(&event, Event::Problems { problems } if problems.is_empty()) {
        event = events.next_within(RESCAN * 2);
    }
    assert!(matches!(event, Event::Loaded { plugin, .. } if plugin == "good"));
}

/// Takes as long as it is told to for files that begin with `slow`.
struct Slow(std::sync::Arc<std::sync::atomic::AtomicBool>);

impl Load for Slow {
    type Plugin = String;

    fn load(&mut self, sha256: &str, bytes: &[u8], _is_urgent: bool) -> Loading<String> {
        if bytes.starts_with(b"slow") && !self.is_due(sha256) {
            return Loading::Underway { what: "is being compiled".to_owned() };
        }
        Loading::Done(load(&[b"good ", bytes].concat()))
    }

    fn is_due(&mut self, _sha256: &str) -> bool {
        self.0.load(std::sync::atomic::Ordering::SeqCst)
    }
}

#[test]
fn a_file_that_takes_long_is_told_of_once_and_keeps_no_other_waiting() {
    let scene = Scene::new();
    fs::write(scene.plugin("a.wasm"), "slow").unwrap();
    let done = std::sync::Arc::<std::sync::atomic::AtomicBool>::default();
    let sources =
        Sources { plugins: scene.plugins.path().to_owned(), builtins: scene.builtins.path().to_owned(), keys: None };
    let (sender, receiver) = mpsc::channel();
    spawn(sources, BTreeSet::new(), Slow(done.clone()), move |event| sender.send(event).is_ok()).unwrap();
    let events = Events(receiver);
    let told: Vec<_> = std::iter::repeat_with(|| match events.any() {
        Event::Pending { state } => {
            assert_eq!((state.name.as_str(), &state.loaded, &state.error), ("a", &None, &None));
            state.pending.map(|pending| (pending.what, pending.is_long)).unwrap()
        }
        event => panic!("expected a plugin that is awaited, found {event:?}"),
    })
    .take(3)
    .collect();
    let expected = [("is about to be loaded", false), ("is being compiled", false), ("is being compiled", true)];
    assert_eq!(told, expected.map(|(what, is_long)| (what.to_owned(), is_long)));
    assert!(matches!(events.any(), Event::Ready { .. }));
    fs::write(scene.plugin("b.wasm"), "b").unwrap();
    assert_eq!(events.loaded().0, "good b");
    events.silent_for(SETTLE * 4);
    done.store(true, std::sync::atomic::Ordering::SeqCst);
    let (plugin, state) = events.loaded();
    assert_eq!((plugin.as_str(), state.name.as_str(), state.pending, state.error), ("good slow", "a", None, None));
}

#[test]
fn where_keys_are_given_a_file_runs_once_its_signature_is_there_and_others_run_on() {
    use crate::serve::signature::{Keys, tests::KEY, tests::SIGNATURE};
    let scene = Scene::new();
    fs::write(scene.plugin("p.wasm"), "good 1").unwrap();
    let keys = Keys::parse(&[KEY.to_owned()]).unwrap();
    let sources =
        Sources { plugins: scene.plugins.path().to_owned(), builtins: scene.builtins.path().to_owned(), keys };
    let (sender, receiver) = mpsc::channel();
    spawn(sources, BTreeSet::new(), load, move |event| sender.send(event).is_ok()).unwrap();
    let events = Events(receiver);
    let state = events.kept();
    assert!(state.error.as_ref().unwrap().starts_with("not signed: expected "), "{state:?}");
    assert_eq!(state.loaded, None);
    events.ready();
    fs::write(scene.plugin("p.wasm.minisig"), SIGNATURE).unwrap();
    assert_eq!(events.loaded().0, "good 1");
    fs::write(scene.plugin("p.wasm"), "good 2").unwrap();
    let state = events.kept();
    assert!(state.error.as_ref().unwrap().contains("is not a signature of this file"), "{state:?}");
    assert!(state.loaded.is_some(), "the version before runs on");
    fs::write(scene.plugin("q.wasm"), "good 1").unwrap();
    assert!(events.kept().error.unwrap().starts_with("not signed"));
}

#[test]
fn a_file_whose_name_is_no_text_is_told_of_and_the_others_are_loaded() {
    use std::os::unix::ffi::OsStrExt;
    let scene = Scene::new();
    fs::write(scene.plugins.path().join(std::ffi::OsStr::from_bytes(b"bad\xff.wasm")), "good bad").unwrap();
    fs::write(scene.plugin("p.wasm"), "good p").unwrap();
    let events = scene.watch();
    let (first, second) = (events.next(), events.next());
    let states: Vec<_> = [&first, &second].into_iter().filter_map(Event::state).collect();
    let bad = states.iter().find(|state| state.name == "bad\\xff").expect("it is told of");
    assert!(bad.error.as_ref().unwrap().contains("rename it"), "{bad:?}");
    serde_json::to_string(bad).expect("it can be sent");
    assert!(states.iter().any(|state| state.name == "p" && state.loaded.is_some()), "{states:?}");
}
