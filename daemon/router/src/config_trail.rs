//! The directories to watch so that no change of a file is missed, however many links lead to it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// The maximum number of symbolic links that the kernel follows (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// The directories on the way to some files, and the names looked up in each.
///
/// They start at `/`, since any of them may be a link that is swapped or a directory that is replaced.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Trail {
    directories: BTreeMap<PathBuf, Names>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Names {
    /// The directory's device and inode, because another directory may take its name.
    identity: (u64, u64),
    names: BTreeSet<OsString>,
    /// Whether all drop-ins in it count, also new ones.
    drop_ins: bool,
}

impl Trail {
    /// The trail of a file, which need not exist.
    pub(crate) fn to_file(path: &Path) -> Self {
        Trail::follow(path).0
    }

    /// The trail of the directory of drop-ins, and of all drop-ins in it.
    pub(crate) fn to_drop_ins(dir: &Path) -> Self {
        let (mut trail, resolved) = Trail::follow(dir);
        if let Some(directory) = trail.directory(&resolved) {
            directory.drop_ins = true;
        }
        trail
    }

    /// Adds another trail.
    pub(crate) fn merge(&mut self, other: Trail) {
        for (path, names) in other.directories {
            let ours = self.directories.entry(path).or_default();
            ours.identity = names.identity;
            ours.names.extend(names.names);
            ours.drop_ins |= names.drop_ins;
        }
    }

    /// The directories to watch.
    pub(crate) fn directories(&self) -> impl Iterator<Item = &Path> {
        self.directories.keys().map(PathBuf::as_path)
    }

    /// Whether a change of this path, a directory or an entry of one, concerns the files.
    pub(crate) fn concerns(&self, path: &Path) -> bool {
        let inside = path.parent().and_then(|parent| self.directories.get(parent)).zip(path.file_name());
        self.directories.contains_key(path)
            || inside.is_some_and(|(directory, name)| {
                directory.names.contains(name) || directory.drop_ins && vouchd_config::is_drop_in(path)
            })
    }

    fn directory(&mut self, path: &Path) -> Option<&mut Names> {
        let metadata = fs::metadata(path).ok().filter(fs::Metadata::is_dir)?;
        let directory = self.directories.entry(path.to_owned()).or_default();
        directory.identity = (metadata.dev(), metadata.ino());
        Some(directory)
    }

    /// The trail of a path, and the path that it resolves to.
    fn follow(path: &Path) -> (Self, PathBuf) {
        let mut trail = Trail::default();
        let mut at = if path.is_absolute() {
            PathBuf::from("/")
        } else {
            // If the working directory is gone, so are the files.
            std::env::current_dir().unwrap_or_default()
        };
        let mut ahead = components(path);
        let mut links = 0;
        while let Some(step) = ahead.pop_front() {
            match step {
                Step::Root => at = PathBuf::from("/"),
                Step::Up => {
                    at.pop();
                }
                Step::Down(name) => {
                    if let Some(directory) = trail.directory(&at) {
                        directory.names.insert(name.clone());
                    }
                    let next = at.join(&name);
                    match fs::read_link(&next) {
                        Ok(target) if links < MAX_LINKS => {
                            links += 1;
                            let mut steps = components(&target);
                            steps.append(&mut ahead);
                            ahead = steps;
                        }
                        // Not a link, or missing.
                        Ok(_) | Err(_) => at = next,
                    }
                }
            }
        }
        (trail, at)
    }
}

enum Step {
    Root,
    Up,
    Down(OsString),
}

fn components(path: &Path) -> VecDeque<Step> {
    let step = |component: Component<'_>| match component {
        Component::RootDir | Component::Prefix(_) => Some(Step::Root),
        Component::CurDir => None,
        Component::ParentDir => Some(Step::Up),
        Component::Normal(name) => Some(Step::Down(OsStr::to_os_string(name))),
    };
    path.components().filter_map(step).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn every_link_and_directory_on_the_way_is_watched() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        // As Kubernetes lays out a ConfigMap.
        fs::create_dir_all(root.join("conf.d/..2026_1")).unwrap();
        fs::write(root.join("conf.d/..2026_1/web.toml"), "").unwrap();
        symlink("..2026_1", root.join("conf.d/..data")).unwrap();
        symlink("..data/web.toml", root.join("conf.d/web.toml")).unwrap();
        symlink("conf.d", root.join("current")).unwrap();

        let mut trail = Trail::to_drop_ins(&root.join("current"));
        trail.merge(Trail::to_file(&root.join("current/web.toml")));
        for path in
            ["current", "conf.d", "conf.d/..data", "conf.d/web.toml", "conf.d/new.toml", "conf.d/..2026_1/web.toml"]
        {
            assert!(trail.concerns(&root.join(path)), "{path}: {trail:?}");
        }
        for path in ["other", "conf.d/.web.toml", "conf.d/web.toml~", "conf.d/..2026_1/other.toml"] {
            assert!(!trail.concerns(&root.join(path)), "{path}: {trail:?}");
        }

        let before = trail.clone();
        fs::remove_dir_all(root.join("conf.d")).unwrap();
        fs::create_dir(root.join("kept-inode")).unwrap();
        fs::create_dir(root.join("conf.d")).unwrap();
        assert_ne!(Trail::to_drop_ins(&root.join("current")), before, "another directory has the name");
    }

    #[test]
    fn circular_links_end() {
        let dir = tempfile::tempdir().unwrap();
        symlink("b", dir.path().join("a")).unwrap();
        symlink("a", dir.path().join("b")).unwrap();
        assert!(Trail::to_file(&dir.path().join("a")).concerns(&dir.path().canonicalize().unwrap().join("b")));
    }
}
