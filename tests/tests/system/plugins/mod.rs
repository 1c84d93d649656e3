//! Plugin files that arrive, change, compile slowly or misbehave.

mod compiling;
mod files;
mod misbehaving;
