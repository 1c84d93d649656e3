//! Configurations as operators write them: what they give, and how errors are reported.

mod accepted;
mod documents;
mod files;
mod fuzz;
mod grants;
mod hmac;
mod host;
mod params;
mod rejected;
mod script;
mod syntax;
mod warnings;

use std::path::PathBuf;

use vouchd_config::{Config, Errors, resolve};

/// The configuration of a valid `v.toml`.
fn config(text: &str) -> Config {
    resolve(vec![(PathBuf::from("v.toml"), text.to_owned())]).unwrap_or_else(|errors| panic!("{errors}"))
}

/// The errors of files, each a path and its text.
fn errors(files: &[(&str, &str)]) -> Errors {
    let files = files.iter().map(|(path, text)| (PathBuf::from(path), (*text).to_owned())).collect();
    match resolve(files) {
        Ok(config) => panic!("should be rejected: {config:?}"),
        Err(errors) => errors,
    }
}
