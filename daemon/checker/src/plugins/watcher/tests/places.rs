//! What is where: links, directories, permissions, signatures and names.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

#[test]
fn plugin_whose_file_became_a_directory_or_pipe_stops_with_that_reason() {
    let scene = Scene::new();
    let place = scene.plugin("p.wasm");
    fs::write(&place, "good").unwrap();
    let events = scene.watch();
    events.loaded();
    events.ready();
    fs::remove_file(&place).unwrap();
    fs::create_dir(&place).unwrap();
    let state = events.changed();
    assert_eq!((state.loaded, state.error.as_deref()), (None, Some("it is a directory, not a file")));
    fs::remove_dir(&place).unwrap();
    nix::unistd::mkfifo(&place, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_eq!(events.changed().error.as_deref(), Some("it is a named pipe, not a file"));
    fs::remove_file(&place).unwrap();
    let state = events.gone();
    assert!(state.is_gone && state.error.is_none(), "the error ends with the pipe: {state:?}");
    install(&scene.builtins.path().join("q.wasm"), "good built-in");
    assert_eq!(events.loaded().0, "good built-in");
    fs::create_dir(scene.plugin("q.wasm")).unwrap();
    events.silent_for(SETTLE * 3);
    fs::write(&place, "good").unwrap();
    assert_eq!(events.loaded().0, "good", "a directory hides no built-in");
}

#[test]
fn renamed_directory_is_reported_as_the_reason_rather_than_its_files() {
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
    let mut reported = (None, None);
    while let (None, _) | (_, None) = &reported {
        match events.next_within(RESCAN * 2) {
            PluginEvent::Gone { state } => reported.0 = state.error,
            PluginEvent::Problems { problems } => reported.1 = Some(problems),
            event => panic!("{event:?}"),
        }
    }
    assert_eq!(reported, (Some(format!("gone: the plugin directory {absent} any more")), Some(vec![absent])));
    fs::rename(&moved, &inner).unwrap();
    let mut reported = (false, false);
    while reported != (true, true) {
        match events.next_within(RESCAN * 2) {
            PluginEvent::Loaded { .. } => reported.0 = true,
            PluginEvent::Problems { problems } => reported.1 = problems.is_empty(),
            event => panic!("{event:?}"),
        }
    }
}

#[test]
fn operators_plugin_takes_precedence_over_the_built_in_while_it_exists() {
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
fn switched_symlink_is_a_new_version() {
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
fn unreadable_file_is_reported_and_tried_again_after_a_chmod() {
    // Root can read everything, so this thread and those that it starts access files as another user.
    if nix::unistd::Uid::effective().is_root() {
        nix::unistd::setfsuid(nix::unistd::Uid::from_raw(65534));
    }
    let scene = Scene::new();
    fs::write(scene.plugin("p.wasm"), "good").unwrap();
    fs::set_permissions(scene.plugin("p.wasm"), fs::Permissions::from_mode(0o000)).unwrap();
    let events = scene.watch();
    assert!(events.changed().error.unwrap().contains("can't be read"));
    fs::set_permissions(scene.plugin("p.wasm"), fs::Permissions::from_mode(0o644)).unwrap();
    events.ready();
    assert_eq!(events.loaded().0, "good");
}

#[test]
fn directory_that_appears_later_is_found() {
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
    if matches!(&event, PluginEvent::Problems { problems } if problems.is_empty()) {
        event = events.next_within(RESCAN * 2);
    }
    assert!(matches!(event, PluginEvent::Loaded { plugin, .. } if plugin == "good"));
}

#[test]
fn file_whose_name_is_not_utf_8_is_reported_and_the_others_are_loaded() {
    use std::os::unix::ffi::OsStrExt;
    let scene = Scene::new();
    fs::write(scene.plugins.path().join(std::ffi::OsStr::from_bytes(b"bad\xff.wasm")), "good bad").unwrap();
    fs::write(scene.plugin("p.wasm"), "good p").unwrap();
    let events = scene.watch();
    let (first, second) = (events.next(), events.next());
    let states: Vec<_> = [&first, &second].into_iter().filter_map(PluginEvent::state).collect();
    let bad = states.iter().find(|state| state.name == "bad\\xff").expect("a report of the file");
    assert!(bad.error.as_ref().unwrap().contains("rename it"), "{bad:?}");
    serde_json::to_string(bad).expect("it can be sent");
    assert!(states.iter().any(|state| state.name == "p" && state.loaded.is_some()), "{states:?}");
}

#[test]
fn with_keys_a_file_runs_once_it_is_signed_and_the_version_before_it_stays_in_use() {
    use crate::plugins::signature::{Keys, tests::KEY, tests::SIGNATURE};
    let scene = Scene::new();
    fs::write(scene.plugin("p.wasm"), "good 1").unwrap();
    let keys = Keys::parse(&[KEY.to_owned()]).unwrap();
    let sources =
        Sources { plugins: scene.plugins.path().to_owned(), builtins: scene.builtins.path().to_owned(), keys };
    let (sender, receiver) = mpsc::channel();
    spawn(sources, BTreeSet::new(), load, move |event| sender.send(event).is_ok()).unwrap();
    let events = Events(receiver);
    let state = events.changed();
    assert!(state.error.as_ref().unwrap().starts_with("not signed: expected "), "{state:?}");
    assert_eq!(state.loaded, None);
    events.ready();
    fs::write(scene.plugin("p.wasm.minisig"), SIGNATURE).unwrap();
    assert_eq!(events.loaded().0, "good 1");
    fs::write(scene.plugin("p.wasm"), "good 2").unwrap();
    let state = events.changed();
    assert!(state.error.as_ref().unwrap().contains("is not a signature of this file"), "{state:?}");
    assert!(state.loaded.is_some(), "the version before it stays in use");
    fs::write(scene.plugin("q.wasm"), "good 1").unwrap();
    assert!(events.changed().error.unwrap().starts_with("not signed"));
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
