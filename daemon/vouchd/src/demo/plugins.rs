//! Finds the plugin `process`, which the nodes run by default.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

const FILE: &str = "process.wasm";
const INSTALLED: &str = "/usr/lib/vouchd/plugins";

/// The plugin file in the directory `wanted`, or else in the first usual directory that has it.
pub(crate) fn find(wanted: Option<&Path>) -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe().context("finding the path of this program")?;
    let places = match wanted {
        Some(directory) => vec![directory.to_owned()],
        None => usual_places(&program),
    };
    for place in &places {
        let file = place.join(FILE);
        if file.is_file() {
            return std::path::absolute(&file).with_context(|| file.display().to_string());
        }
    }
    let looked: Vec<_> = places.iter().map(|place| place.display().to_string()).collect();
    bail!(
        "the demo needs the plugin {FILE}; expected it in {}; build it with `cargo xtask build`, or name its directory with \
         `--plugins DIR`",
        looked.join(", ")
    )
}

fn usual_places(program: &Path) -> Vec<PathBuf> {
    program
        .ancestors()
        .skip(1)
        .take(2)
        .map(|directory| directory.join("plugins"))
        .chain([PathBuf::from(INSTALLED)])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_searched_from_the_program_up_to_the_installed_one() {
        assert_eq!(
            usual_places(Path::new("/src/target/debug/vouchd")),
            ["/src/target/debug/plugins", "/src/target/plugins", "/usr/lib/vouchd/plugins"].map(PathBuf::from)
        );
    }

    #[test]
    fn wanted_directory_is_the_only_one_searched() {
        let directory = tempfile::tempdir().unwrap();
        let error = find(Some(directory.path())).unwrap_err().to_string();
        assert!(error.contains(&directory.path().display().to_string()), "{error}");
        assert!(!error.contains(INSTALLED), "{error}");

        std::fs::write(directory.path().join(FILE), "").unwrap();
        assert_eq!(find(Some(directory.path())).unwrap(), directory.path().join(FILE));
    }
}
