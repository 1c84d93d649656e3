//! The addresses of the host: what vouchd adds, removes and never touches.

mod conflict;
mod ownership;
mod refused;
mod second_daemon;
