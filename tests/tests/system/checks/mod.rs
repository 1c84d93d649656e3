//! Checks of real services, and checks whose host or backend fails.

mod backends;
mod dead_mount;
mod haproxy;
mod unable;
