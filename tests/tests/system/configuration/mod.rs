//! Mistakes in the configuration, changed files, reloads.

mod check;
mod files;
mod reload;
