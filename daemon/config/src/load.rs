//! Reads the files; the only part that touches the disk.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::errors::{Errors, Problem};
use crate::{Config, resolve};

/// Loads `main` and the drop-ins `conf.d/*.toml` beside it, sorted by name. Hidden files are left out, so that an editor's
/// half-written one is not read.
///
/// # Errors
/// Everything that is wrong: files that can't be read, or what [`resolve`] finds.
pub fn load(main: &Path) -> Result<Config, Errors> {
    let mut problems = Vec::new();
    let mut files = Vec::new();
    let drop_ins = drop_ins(main).unwrap_or_else(|(dir, error)| {
        problems.push(unreadable(&dir, &error));
        Vec::new()
    });
    for path in std::iter::once(main.to_owned()).chain(drop_ins) {
        match read(&path, path == main) {
            Ok(text) => files.push((path, text)),
            Err(error) => problems.push(unreadable(&path, &error)),
        }
    }
    if problems.is_empty() { resolve(files) } else { Err(Errors::new(problems)) }
}

/// A drop-in is read while the daemon runs, and must not keep it waiting as a pipe does; the main file may be one.
fn read(path: &Path, is_main: bool) -> io::Result<String> {
    if !is_main && !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    fs::read_to_string(path)
}

/// Where the drop-ins of `main` are: `conf.d` beside it. It need not exist.
pub fn drop_in_dir(main: &Path) -> PathBuf {
    main.parent().unwrap_or(Path::new("")).join("conf.d")
}

fn drop_ins(main: &Path) -> Result<Vec<PathBuf>, (PathBuf, io::Error)> {
    let dir = drop_in_dir(main);
    let entries = match fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err((dir, error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| (dir.clone(), error))?.path();
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        if name.ends_with(".toml") && !name.starts_with('.') {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn unreadable(path: &Path, error: &io::Error) -> Problem {
    let message = match error.kind() {
        io::ErrorKind::NotFound => "there is no such file; write one, or name another with -c".to_owned(),
        io::ErrorKind::InvalidData => "expected text in UTF-8".to_owned(),
        _ => format!("can't be read: {error}"),
    };
    Problem { place: None, subject: path.display().to_string(), message }
}
