//! Checks whose host or backend fails them.

mod backends;
mod dead_mount;
mod unable;
