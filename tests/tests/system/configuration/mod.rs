//! Mistakes in the configuration, changed files, reloads.

mod check;
mod files;
mod mistakes;
mod reload;

use std::path::PathBuf;

use vouchd_tests::Node;
use vouchd_tests::command::{Output, vouchd};
use vouchd_tests::site::Site;
use vouchd_tests::vouchd::Files;

/// Runs `vouchd config check` on a main file with these checks and instances. Returns its path too.
fn check(site: &Site, rest: &str) -> anyhow::Result<(Output, PathBuf)> {
    let files = Files::new(site, Node::Nginx01)?;
    files.write_config("nginx01", rest)?;
    Ok((vouchd(["config".as_ref(), "check".as_ref(), files.config().as_os_str()])?, files.config()))
}
