//! A file that the host cannot read, with a loader that accepts any text.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use nix::errno::Errno;

use super::*;

static TRIES: AtomicUsize = AtomicUsize::new(0);

/// Fails six times as if the process had no file descriptor left.
fn without_descriptors(candidate: &Candidate) -> Result<Contents, ReadError> {
    match TRIES.fetch_add(1, Ordering::SeqCst) {
        0..6 => Err(ReadError::of(&Errno::EMFILE.into(), &candidate.path)),
        _ => read::read(candidate),
    }
}

fn load(bytes: &[u8]) -> Result<Loaded<String>, String> {
    let plugin = String::from_utf8(bytes.to_vec()).unwrap();
    Ok(Loaded { plugin, kind: "component".to_owned(), compiled_in: None })
}

#[test]
fn file_that_the_host_could_not_read_is_read_again_without_a_change() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("p.wasm"), "good").unwrap();
    let sources = Sources { plugins: dir.path().to_owned(), builtins: dir.path().join("none"), keys: None };
    let mut catalog = Catalog::new(sources, BTreeSet::new(), load, Instant::now());
    catalog.reader = without_descriptors;
    catalog.pauses = [Duration::from_millis(1); 3];
    let (mut reported, mut loaded) = (Vec::new(), false);
    let until = Instant::now() + Duration::from_secs(30);
    while !loaded && Instant::now() < until {
        catalog.scan(&mut |event| {
            loaded |= matches!(event, PluginEvent::Loaded { .. });
            let state = event.state();
            reported.extend(state.and_then(|state| {
                state.error.clone().or_else(|| state.pending.as_ref().map(|pending| pending.what.clone()))
            }));
        });
        // Skips the pause of a minute.
        for entry in catalog.entries.values_mut().filter(|entry| entry.hindered > 3) {
            entry.again_at = Some(Instant::now());
        }
        thread::sleep(Duration::from_millis(5));
    }
    assert!(loaded, "{reported:?}");
    let awaited =
        reported.iter().position(|text| text.starts_with("will be read again in 0 s (the checker has no file"));
    let failed = reported.iter().position(|text| {
        text.starts_with("the checker has no file descriptor left, limit ") && text.ends_with("; retried every minute")
    });
    assert!(awaited.is_some() && awaited < failed, "{reported:?}");
    assert_eq!(TRIES.load(Ordering::SeqCst), 7);
}

#[test]
fn file_that_is_back_to_what_was_tried_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("p.wasm");
    let sources = Sources { plugins: dir.path().to_owned(), builtins: dir.path().join("none"), keys: None };
    let mut catalog = Catalog::new(sources, BTreeSet::new(), load, Instant::now());
    let mut wait_for = |wanted: &str| {
        let until = Instant::now() + Duration::from_secs(30);
        let mut found = None;
        while found.as_deref() != Some(wanted) && Instant::now() < until {
            catalog.scan(&mut |event| {
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
