//! The hostile corpus: plugin files that loop, grow, recurse, trap, flood, lie and stall. Each is either no plugin, or would
//! pass if it were believed, and each has to end in a known way: see [`End`].
//!
//! The files are built here from text and bytes, so that whoever changes the host can see what each one does. Two tests use
//! them: one hands each file to the host (`daemon/plugin/tests/corpus/files.rs`), the other drops all of them at once into the
//! plugin directory of a running router (`tests/tests/heavy/hostile.rs`).

mod components;
mod files;
mod floods;
mod lies;
mod loops;
mod memory;
mod parts;
pub mod peers;
mod preview1;
mod programs;
mod size;
mod streams;
mod traps;

use peers::Peers;

/// One plugin file.
#[derive(Debug, Clone)]
pub struct Hostile {
    /// What it does. Unique.
    pub name: &'static str,
    /// The file.
    pub bytes: Vec<u8>,
    /// How it has to end.
    pub end: End,
}

/// How a file has to end. The message to the operator must have at least one of the words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It is not loaded.
    Refused(&'static [&'static str]),
    /// It is loaded, and its run is an error.
    Broken(&'static [&'static str]),
    /// Its run times out, or exceeds its CPU time (an error).
    Stopped,
    /// It may do what it does, within bounds, and reports anything but a pass.
    Reports(&'static [&'static str]),
    /// It is not loaded, or its run is an error or times out; which of these is up to the engine.
    Contained(&'static [&'static str]),
    /// Anything but a pass; what counts is that it stayed within its bounds.
    Bounded(&'static [&'static str]),
}

/// How a file ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// It was not loaded.
    Refused,
    /// Its run was an error.
    Error,
    /// Its run timed out.
    TimedOut,
    /// It reported anything but a pass.
    Report,
    /// It passed.
    Pass,
}

impl End {
    /// Whether an end with this message is allowed.
    pub fn fits(self, found: Found, message: &str) -> bool {
        let told = |words: &[&str]| words.iter().any(|word| message.contains(word));
        match self {
            End::Refused(words) => found == Found::Refused && told(words),
            End::Broken(words) => found == Found::Error && told(words),
            End::Stopped => found == Found::TimedOut || (found == Found::Error && message.contains("limits.cpu")),
            End::Reports(words) => found == Found::Report && told(words),
            End::Contained(words) => matches!(found, Found::Refused | Found::Error | Found::TimedOut) && told(words),
            End::Bounded(words) => found != Found::Pass && told(words),
        }
    }
}

impl Hostile {
    fn new(name: &'static str, end: End, bytes: Vec<u8>) -> Self {
        Hostile { name, bytes, end }
    }

    /// Whether compiling it takes so much time or memory that a host must be able to kill the compiler. A host that compiles
    /// in its own process cannot.
    pub fn is_bomb(&self) -> bool {
        size::BOMBS.contains(&self.name)
    }

    /// Its name as the name of a file and a check.
    pub fn slug(&self) -> String {
        self.name.replace(|c: char| !c.is_ascii_alphanumeric(), "-")
    }
}

/// All files. Those that talk to a server talk to these.
pub fn all(peers: &Peers) -> Vec<Hostile> {
    [
        loops::all(),
        memory::all(),
        traps::all(),
        lies::all(),
        floods::all(),
        streams::all(peers),
        preview1::all(),
        programs::all(),
        components::all(),
        files::all(),
        size::all(),
    ]
    .concat()
}

/// The `allow` table for all of them. They are granted the servers, so that no file ends because a grant is missing.
pub fn granted(peers: &Peers) -> String {
    let urls: Vec<_> = peers.all().iter().map(|peer| format!("\"http://{peer}/\"")).collect();
    format!("{{ tcp = [\"127.0.0.1:*\"], http = [{}] }}", urls.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_usable_as_file_names() {
        let all = all(&Peers::nobody());
        let slugs: BTreeSet<_> = all.iter().map(Hostile::slug).collect();
        assert_eq!(slugs.len(), all.len());
        assert!(all.len() >= 150, "{}", all.len());
    }

    #[test]
    fn end_fits_by_its_kind_and_its_words() {
        let table = [
            (End::Refused(&["big"]), Found::Refused, "too big", true),
            (End::Refused(&["big"]), Found::Error, "too big", false),
            (End::Refused(&["big"]), Found::Refused, "too small", false),
            (End::Stopped, Found::TimedOut, "", true),
            (End::Stopped, Found::Error, "limits.cpu = 500 ms", true),
            (End::Stopped, Found::Error, "limits.memory", false),
            (End::Reports(&["done"]), Found::Report, "done", true),
            (End::Reports(&["done"]), Found::Pass, "done", false),
            (End::Contained(&["big"]), Found::Report, "big", false),
        ];
        for (end, found, message, expected) in table {
            assert_eq!(end.fits(found, message), expected, "{end:?} {found:?} {message}");
        }
    }
}
