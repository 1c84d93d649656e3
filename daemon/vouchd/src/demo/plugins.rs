//! Finds the plugin that the demo's nodes run.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

const FILE: &str = "process.wasm";
const INSTALLED: &str = "/usr/lib/vouchd/plugins";

/// The plugin file in `wanted`, or else in the first usual place that has it.
pub fn find(wanted: Option<&Path>) -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe().context("cannot tell where this program is")?;
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
        "the demo needs the plugin {FILE}, and it is not in {}; \
         build it with `cargo xtask build`, or say where it is with `--plugins DIR`",
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
    fn looks_next_to_the_program_then_one_above_then_where_packages_install() {
        assert_eq!(
            usual_places(Path::new("/src/target/debug/vouchd")),
            ["/src/target/debug/plugins", "/src/target/plugins", "/usr/lib/vouchd/plugins"].map(PathBuf::from)
        );
    }

    #[test]
    fn a_directory_that_was_asked_for_is_the_only_one_searched() {
        let directory = tempfile::tempdir().unwrap();
        let error = find(Some(directory.path())).unwrap_err().to_string();
        assert!(error.contains(&directory.path().display().to_string()), "{error}");
        assert!(!error.contains(INSTALLED), "{error}");

        std::fs::write(directory.path().join(FILE), "").unwrap();
        assert_eq!(find(Some(directory.path())).unwrap(), directory.path().join(FILE));
    }
}
