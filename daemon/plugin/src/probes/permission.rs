//! What would let the checker's user look at a file that it may not look at.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use nix::unistd::{AccessFlags, Gid, Group, access};

/// Begins with a colon; empty where nothing is known.
pub(crate) fn hint(path: &str) -> String {
    match first_obstacle(Path::new(path)) {
        Some((obstacle, meta)) => {
            let mode = meta.mode() & 0o7777;
            let group = Group::from_gid(Gid::from_raw(meta.gid()))
                .ok()
                .flatten()
                .map_or_else(|| meta.gid().to_string(), |group| group.name);
            let (kind, wanted) = match meta.file_type() {
                file if file.is_dir() => ("directory ", 0o010),
                file if file.is_socket() => ("", 0o020),
                _ => ("", 0o040),
            };
            let what = format!(": {kind}{} has mode {mode:04o} and group {group}", obstacle.display());
            if mode & wanted == wanted {
                format!("{what}: add that group to the service (SupplementaryGroups={group})")
            } else {
                format!("{what}: open it to a group, and add that to the service (SupplementaryGroups=)")
            }
        }
        None => String::new(),
    }
}

/// The first directory on the way that can't be entered, else the file itself.
fn first_obstacle(path: &Path) -> Option<(&Path, fs::Metadata)> {
    let mut ways: Vec<_> = path.ancestors().skip(1).collect();
    ways.reverse();
    let closed = ways.into_iter().find(|directory| access(*directory, AccessFlags::X_OK).is_err());
    let obstacle = closed.unwrap_or(path);
    Some((obstacle, fs::symlink_metadata(obstacle).ok()?))
}
