//! Plugin files that arrive, change, compile slowly or misbehave.

mod arriving;
mod compiling;
mod files;
mod misbehaving;
