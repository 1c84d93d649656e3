//! The hostile corpus: plugin files that loop, grow, recurse, trap, flood, lie and stall. Each would pass if it were believed,
//! or is no plugin at all, and each has to end in one known way: see [`End`].
//!
//! It is made here, from text and bytes, so that whoever changes the host sees what each file does. Two tests use it: one
//! hands every file to the host (`daemon/plugin/tests/corpus.rs`), one drops all of them at once into the plugin directory of
//! a running router (`tests/tests/heavy/hostile.rs`).

mod components;
mod files;
mod floods;
mod guest;
mod lies;
mod loops;
mod memory;
pub mod peers;
mod preview1;
mod programs;
mod size;
mod streams;
mod traps;

pub use guest::{Guest, with_metadata};
use peers::Peers;

/// One plugin file.
#[derive(Debug, Clone)]
pub struct Hostile {
    /// What it does; unique.
    pub name: &'static str,
    pub bytes: Vec<u8>,
    pub end: End,
}

/// What has to come of a file, with words of which the operator must be told at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It is not taken in.
    Refused(&'static [&'static str]),
    /// It is taken in, and its run is an error.
    Broken(&'static [&'static str]),
    /// Its run is ended for the time it takes: on the wall (a verdict, "timed out") or of the CPU (an error).
    Stopped,
    /// It is allowed to do what it does, within bounds, and reports something that is no pass.
    Reports(&'static [&'static str]),
    /// Refused, or its run is an error or ended for its time: which of them is the engine's business.
    Contained(&'static [&'static str]),
    /// Whatever it is but a pass: what counts is that it took no more than it may.
    Bounded(&'static [&'static str]),
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    Refused,
    Error,
    TimedOut,
    Report,
    Pass,
}

impl End {
    /// Whether this is how it had to end.
    pub fn fits(self, found: Found, said: &str) -> bool {
        let told = |words: &[&str]| words.iter().any(|word| said.contains(word));
        match self {
            End::Refused(words) => found == Found::Refused && told(words),
            End::Broken(words) => found == Found::Error && told(words),
            End::Stopped => found == Found::TimedOut || (found == Found::Error && said.contains("limits.cpu")),
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

    /// Whether compiling it takes so much that somebody has to be able to end it: a host that compiles in its own process
    /// can't.
    pub fn is_bomb(&self) -> bool {
        size::BOMBS.contains(&self.name)
    }

    /// Its name as a file's and a check's.
    pub fn slug(&self) -> String {
        self.name.replace(|c: char| !c.is_ascii_alphanumeric(), "-")
    }
}

/// All of them. Those that talk to a server talk to these.
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

/// What they are granted, as a configuration has it: so that it is their own doing that they fail.
pub fn granted(peers: &Peers) -> String {
    let urls: Vec<_> = peers.all().iter().map(|peer| format!("\"http://{peer}/\"")).collect();
    format!("{{ tcp = [\"127.0.0.1:*\"], http = [{}] }}", urls.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_file_has_a_name_of_its_own_that_is_fit_for_a_file() {
        let all = all(&Peers::nobody());
        let slugs: BTreeSet<_> = all.iter().map(Hostile::slug).collect();
        assert_eq!(slugs.len(), all.len());
        assert!(all.len() >= 150, "{}", all.len());
    }

    #[test]
    fn an_end_is_told_by_its_kind_and_its_words() {
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
        for (end, found, said, expected) in table {
            assert_eq!(end.fits(found, said), expected, "{end:?} {found:?} {said}");
        }
    }
}
