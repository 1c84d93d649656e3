//! A plugin project: a directory with a `vouchd-plugin.toml`, created by `vouchd plugin new`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use serde::Deserialize;
use vouchd_config::Param;

use vouchd_languages::Language;

pub(crate) const MANIFEST: &str = "vouchd-plugin.toml";
/// The test script of a project.
const SCRIPT: &str = "test.toml";

/// An existing project.
#[derive(Debug)]
pub(crate) struct Project {
    /// Absolute.
    pub(crate) dir: PathBuf,
    pub(crate) manifest: Manifest,
}

/// `vouchd-plugin.toml`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    /// The name of the plugin, and of its file without `.wasm`.
    pub(crate) name: String,
    pub(crate) language: Language,
    /// Parameters to declare in the file. Empty if the code declares them.
    #[serde(default, rename = "param")]
    pub(crate) params: Vec<Param>,
}

impl Project {
    /// # Errors
    /// When there is no manifest, or it is invalid.
    pub(crate) fn open(dir: &Path) -> anyhow::Result<Project> {
        let file = dir.join(MANIFEST);
        let text = fs::read_to_string(&file)
            .with_context(|| format!("reading {}, which `vouchd plugin new` creates", file.display()))?;
        let manifest: Manifest = toml::from_str(&text).with_context(|| file.display().to_string())?;
        check_name(&manifest.name).with_context(|| file.display().to_string())?;
        Ok(Project { dir: dir.canonicalize()?, manifest })
    }

    /// The path of the built plugin.
    pub(crate) fn plugin(&self) -> PathBuf {
        self.dir.join(&self.manifest.name).with_extension("wasm")
    }

    /// The directory for compiled code. Whoever can write to it can write to the project too.
    pub(crate) fn cache(&self) -> PathBuf {
        self.dir.join("build/cache")
    }

    /// The test script, if the project has one.
    pub(crate) fn script(&self) -> Option<PathBuf> {
        Some(self.dir.join(SCRIPT)).filter(|script| script.exists())
    }
}

/// Checks that a plugin's name is also valid as the name of a package in every language.
///
/// # Errors
/// When it is not.
pub(crate) fn check_name(name: &str) -> anyhow::Result<()> {
    let starts = name.starts_with(|c: char| c.is_ascii_lowercase());
    let rest = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'));
    ensure!(
        starts && rest && name.len() <= 40,
        "the name {name:?}: expected 1 to 40 lower-case letters, digits, - and _, with a letter first"
    );
    ensure!(!name.starts_with("vouchd"), "the name {name:?}: names that begin with vouchd are reserved for the SDK");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_is_valid_in_every_language() {
        for good in ["port", "a", "my-check_2"] {
            check_name(good).unwrap_or_else(|error| panic!("{good}: {error}"));
        }
        let long = "x".repeat(41);
        for bad in
            ["", "Port", "2nd", "-x", "_x", "a b", "../up", "a/b", "a.b", "größe", "vouchd", "vouchd-check", &long]
        {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn each_mistake_in_a_manifest_is_reported_with_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let opened = |text: &str| {
            fs::write(dir.path().join(MANIFEST), text).unwrap();
            Project::open(dir.path()).map_err(|error| format!("{error:#}"))
        };
        let project = opened(
            "name = \"port\"\nlanguage = \"cpp\"\n[[param]]\nname = \"address\"\ntype = \"text\"\nrequired = true\n",
        );
        let project = project.unwrap();
        assert_eq!((project.manifest.language, project.manifest.params[0].name.as_str()), (Language::Cpp, "address"));
        assert_eq!(project.plugin().file_name().unwrap(), "port.wasm");
        assert_eq!(project.script(), None);
        for (text, words) in [
            ("name = \"port\"\nlanguage = \"cobol\"\n", "line 2"),
            ("name = \"port\"\n", "missing field `language`"),
            ("name = \"../port\"\nlanguage = \"c\"\n", "expected 1 to 40 lower-case letters"),
            ("name = \"port\"\nlanguage = \"c\"\nsource = \"x\"\n", "unknown field `source`"),
        ] {
            let error = opened(text).unwrap_err();
            assert!(error.contains(words) && error.contains(MANIFEST), "{error}");
        }
        fs::remove_file(dir.path().join(MANIFEST)).unwrap();
        let error = format!("{:#}", Project::open(dir.path()).unwrap_err());
        assert!(error.contains("which `vouchd plugin new` creates"), "{error}");
    }
}
