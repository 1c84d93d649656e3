//! Tells the main thread when a drop-in of the configuration has changed.
//!
//! The main file is taken over at SIGHUP only: somebody may be editing it.

use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use notify::{EventKind, RecursiveMode, Watcher};

use super::run::Event;

/// The name of the directory that [`vouchd_config::drop_in_dir`] gives.
const DROP_INS: &str = "conf.d";

/// Editors write a file in several steps; this long after the last one it counts as written.
const SETTLE: Duration = Duration::from_millis(100);

/// Watches for as long as somebody listens to `events`.
///
/// The directories are watched, not the files, since editors and installers replace files.
pub fn start(config_file: &Path, events: mpsc::Sender<Event>) -> anyhow::Result<()> {
    let (changes, changed) = mpsc::channel();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // An error of the watcher may hide a change: better one load too many.
        let relevant = event.map_or(true, |event| {
            !matches!(event.kind, EventKind::Access(_))
                && (event.paths.is_empty() || event.paths.iter().any(|path| is_drop_in(path)))
        });
        if relevant {
            // Fails only when the daemon ends.
            let _ = changes.send(());
        }
    })?;
    let directory = config_file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    watcher
        .watch(directory, RecursiveMode::NonRecursive)
        .with_context(|| format!("watching {}", directory.display()))?;
    let drop_ins = vouchd_config::drop_in_dir(config_file);
    thread::Builder::new().name("config-watch".to_owned()).spawn(move || {
        loop {
            // Again after each change, since it may just have been made, or replaced; until it is there this fails.
            let _ = watcher.watch(&drop_ins, RecursiveMode::NonRecursive);
            if changed.recv().is_err() {
                return;
            }
            while changed.recv_timeout(SETTLE).is_ok() {}
            if events.send(Event::DropInChanged).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}

/// A file in the directory of drop-ins, or that directory itself, which may just have been made or replaced. Whether the
/// path is one that is watched is known already; hidden files are those of editors.
fn is_drop_in(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let in_directory = path.parent().and_then(Path::file_name).is_some_and(|parent| parent == DROP_INS);
    name == DROP_INS || in_directory && name.ends_with(".toml") && !name.starts_with('.')
}
