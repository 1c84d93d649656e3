//! A file that the host can't read, with a loader that takes any text.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use nix::errno::Errno;

use super::*;

static TRIES: AtomicUsize = AtomicUsize::new(0);

/// As if the process had no descriptor left, the first six times.
fn without_descriptors(candidate: &Candidate) -> Result<Contents, Unread> {
    match TRIES.fetch_add(1, Ordering::SeqCst) {
        0..6 => Err(Unread::of(&Errno::EMFILE.into(), &candidate.path)),
        _ => files::read(candidate),
    }
}

fn load(bytes: &[u8]) -> Result<Loaded<String>, String> {
    let plugin = String::from_utf8(bytes.to_vec()).unwrap();
    Ok(Loaded { plugin, kind: "component".to_owned(), compiled_in: None })
}

#[test]
fn a_file_that_the_host_could_not_read_is_read_again_though_it_has_not_changed() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("p.wasm"), "good").unwrap();
    let sources = Sources { plugins: dir.path().to_owned(), builtins: dir.path().join("none"), keys: None };
    let mut shelf = Shelf::new(sources, BTreeSet::new(), load, Instant::now());
    shelf.reader = without_descriptors;
    shelf.pauses = [Duration::from_millis(1); 3];
    let (mut said, mut loaded) = (Vec::new(), false);
    let until = Instant::now() + Duration::from_secs(30);
    while !loaded && Instant::now() < until {
        shelf.scan(&mut |event| {
            loaded |= matches!(event, Event::Loaded { .. });
            let state = event.state();
            said.extend(state.and_then(|state| {
                state.error.clone().or_else(|| state.pending.as_ref().map(|pending| pending.what.clone()))
            }));
        });
        // Without the pause of a minute.
        for entry in shelf.entries.values_mut().filter(|entry| entry.hindered > 3) {
            entry.again_at = Some(Instant::now());
        }
        thread::sleep(Duration::from_millis(5));
    }
    assert!(loaded, "{said:?}");
    let awaited =
        said.iter().position(|said| said.starts_with("is to be read again after 0 s (the checker has no file"));
    let failed = said.iter().position(|said| {
        said.starts_with("the checker has no file descriptor left, limit ")
            && said.ends_with("; tried again every minute")
    });
    assert!(awaited.is_some() && awaited < failed, "{said:?}");
    assert_eq!(TRIES.load(Ordering::SeqCst), 7);
}

#[test]
fn file_that_is_back_to_what_was_tried_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("p.wasm");
    let sources = Sources { plugins: dir.path().to_owned(), builtins: dir.path().join("none"), keys: None };
    let mut shelf = Shelf::new(sources, BTreeSet::new(), load, Instant::now());
    let mut wait_for = |wanted: &str| {
        let until = Instant::now() + Duration::from_secs(30);
        let mut found = None;
        while found.as_deref() != Some(wanted) && Instant::now() < until {
            shelf.scan(&mut |event| {
                let state = event.state().cloned();
                if let Some(PluginState { error, pending, .. }) = state {
                    found = pending.map(|pending| pending.what).or(error);
                }
            });
            thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(found.as_deref(), Some(wanted));
    };
    // A directory always looks the same, whenever it was made.
    std::fs::create_dir(&place).unwrap();
    wait_for("it is a directory, not a file");
    std::fs::remove_dir(&place).unwrap();
    std::fs::write(&place, "").unwrap();
    wait_for("is still empty");
    std::fs::remove_file(&place).unwrap();
    std::fs::create_dir(&place).unwrap();
    wait_for("it is a directory, not a file");
}
