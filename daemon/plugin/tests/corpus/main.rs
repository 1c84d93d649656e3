//! Plugin files by the hundred and by the thousand: each ends as it has to, in time, within its memory, and harms no other.

#[path = "../common/mod.rs"]
mod common;

mod files;
mod random;
