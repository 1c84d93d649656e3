//! The mounts of this process, by their names only: looking at a mount could block.

use std::fs;
use std::path::Path;

/// A mounted file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mount {
    /// Where it is mounted.
    pub(crate) point: String,
    /// Its type: `nfs4`, ….
    pub(crate) kind: String,
}

impl Mount {
    /// The mount that a path is on by its name, unless that is the root. Reads only the table of mounts.
    pub(crate) fn of(place: &str) -> Option<Self> {
        find(&fs::read_to_string("/proc/self/mountinfo").ok()?, place)
    }
}

fn find(table: &str, place: &str) -> Option<Mount> {
    let mut found: Option<Mount> = None;
    for line in table.lines() {
        // proc_pid_mountinfo(5): ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [TAGS…] - TYPE SOURCE OPTIONS
        let Some((mount, file_system)) = line.split_once(" - ") else { continue };
        let (Some(point), Some(kind)) = (mount.split(' ').nth(4), file_system.split(' ').next()) else { continue };
        let point = unescaped(point);
        let is_below = point != "/" && Path::new(place).starts_with(&point);
        if is_below && found.as_ref().is_none_or(|found| found.point.len() <= point.len()) {
            found = Some(Mount { point, kind: kind.to_owned() });
        }
    }
    found
}

/// Decodes the octal escapes for blanks and the backslash.
fn unescaped(point: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(point.to_owned(), |point, (escape, character)| point.replace(escape, character))
}

#[cfg(test)]
mod tests {
    use super::find;

    #[test]
    fn mount_of_a_path_is_the_innermost_one_above_it() {
        let table = "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
                     30 22 0:40 / /srv rw,relatime shared:1 - fuse.sshfs host:/ rw\n\
                     31 30 0:41 / /srv/my\\040data rw - nfs4 host:/x rw\n\
                     32 22 0:42 / /srvx rw - tmpfs none rw\n";
        let found = |place| find(table, place).map(|mount| mount.point);
        assert_eq!(found("/srv/flag").as_deref(), Some("/srv"));
        assert_eq!(found("/srv").as_deref(), Some("/srv"));
        assert_eq!(found("/srv/my data/x").as_deref(), Some("/srv/my data"));
        assert_eq!(found("/srvxy"), None);
        assert_eq!(found("/etc/x"), None, "on the root file system");
    }
}
