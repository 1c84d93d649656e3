//! Why the checker can't see a file of the host, and which setting of its unit would let it.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use nix::unistd::{AccessFlags, Gid, Group, access};

/// The mode in the way and its cure, to be appended to an error: begins with a colon, empty if nothing is known.
pub(super) fn hint(path: &str) -> String {
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

/// The first directory on the path that can't be entered, else the file itself.
fn first_obstacle(path: &Path) -> Option<(&Path, fs::Metadata)> {
    let mut directories: Vec<_> = path.ancestors().skip(1).collect();
    directories.reverse();
    let closed = directories.into_iter().find(|directory| access(*directory, AccessFlags::X_OK).is_err());
    let obstacle = closed.unwrap_or(path);
    Some((obstacle, fs::symlink_metadata(obstacle).ok()?))
}

/// Why a file may exist although the checker does not find it: its unit gives it a private directory in that place.
pub(super) fn elsewhere(path: &str) -> Option<String> {
    elsewhere_by(path, &fs::read_to_string("/proc/self/mountinfo").ok()?)
}

fn elsewhere_by(path: &str, mountinfo: &str) -> Option<String> {
    // Root within its file system, mount point, and type of the file system.
    let mounts = mountinfo.lines().filter_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        Some((fields.next()?, fields.next()?, kind.split(' ').next()?))
    });
    let last = |point: &str| mounts.clone().rfind(|(_, at, _)| *at == point);
    for directory in ["/tmp", "/var/tmp"] {
        if Path::new(path).starts_with(directory)
            && last(directory).is_some_and(|(root, _, _)| root.contains("/systemd-private-"))
        {
            return Some(format!(
                "there is no {path:?} in the checker's own {directory}, and it can't see the host's: PrivateTmp=no in the unit, or \
                 use another directory"
            ));
        }
    }
    if Path::new(path).starts_with("/dev")
        && !Path::new(path).starts_with("/dev/shm")
        && last("/dev").is_some_and(|(_, _, kind)| kind == "tmpfs")
    {
        return Some(format!(
            "there is no {path:?} in the checker's own /dev, and it can't see the host's: PrivateDevices=no in the unit"
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: &str = "22 28 0:21 / /proc rw - proc proc rw\n\
        40 28 0:5 / /dev rw - tmpfs tmpfs rw\n\
        41 28 0:9 /systemd-private-1a-vouchd.service-x/tmp /tmp rw - ext4 /dev/vda rw\n";

    #[test]
    fn private_directory_is_named_with_the_setting_that_opens_it() {
        for (path, option) in [("/tmp/flag", "PrivateTmp=no"), ("/dev/drbd0", "PrivateDevices=no")] {
            let why = elsewhere_by(path, UNIT).unwrap_or_default();
            assert!(why.contains(option) && why.contains(path), "{path}: {why}");
        }
        for path in ["/run/flag", "/tmpx/flag", "/var/tmp/flag", "/devices"] {
            assert_eq!(elsewhere_by(path, UNIT), None, "{path}");
        }
        let host = "40 28 0:5 / /dev rw - devtmpfs udev rw\n41 28 0:9 / /tmp rw - tmpfs tmpfs rw\n";
        for path in ["/tmp/flag", "/dev/drbd0"] {
            assert_eq!(elsewhere_by(path, host), None, "{path}");
        }
    }
}
