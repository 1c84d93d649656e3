//! A plugin's project: the directory that `vouchd plugin new` makes, known by its `vouchd-plugin.toml`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use serde::Deserialize;
use vouchd_config::Param;

use vouchd_languages::Language;

pub const MANIFEST: &str = "vouchd-plugin.toml";
/// What is expected of the plugin.
const SCRIPT: &str = "test.toml";

/// A project that is there.
#[derive(Debug)]
pub struct Project {
    /// Absolute.
    pub dir: PathBuf,
    pub manifest: Manifest,
}

/// `vouchd-plugin.toml`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Of the plugin, and of its file without `.wasm`.
    pub name: String,
    pub language: Language,
    /// To be declared in the file; empty if its code does that.
    #[serde(default, rename = "param")]
    pub params: Vec<Param>,
}

impl Project {
    /// # Errors
    /// If it is no project, or its manifest makes no sense.
    pub fn open(dir: &Path) -> anyhow::Result<Project> {
        let file = dir.join(MANIFEST);
        let text = fs::read_to_string(&file)
            .with_context(|| format!("reading {}, which `vouchd plugin new` makes", file.display()))?;
        let manifest: Manifest = toml::from_str(&text).with_context(|| file.display().to_string())?;
        check_name(&manifest.name).with_context(|| file.display().to_string())?;
        Ok(Project { dir: dir.canonicalize()?, manifest })
    }

    /// The plugin, once it is built.
    pub fn plugin(&self) -> PathBuf {
        self.dir.join(&self.manifest.name).with_extension("wasm")
    }

    /// Where compiled code is kept from one test to the next; as safe as the project itself.
    pub fn cache(&self) -> PathBuf {
        self.dir.join("build/cache")
    }

    /// The script of expectations, if the project has one.
    pub fn script(&self) -> Option<PathBuf> {
        Some(self.dir.join(SCRIPT)).filter(|script| script.exists())
    }
}

/// A name that is also one of a package in every language.
///
/// # Errors
/// If it is not, with what is expected.
pub fn check_name(name: &str) -> anyhow::Result<()> {
    let starts = name.starts_with(|c: char| c.is_ascii_lowercase());
    let rest = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'));
    ensure!(
        starts && rest && name.len() <= 40,
        "the name {name:?}: expected 1 to 40 small letters, digits and the signs - and _, a letter first"
    );
    ensure!(!name.starts_with("vouchd"), "the name {name:?}: names that begin with vouchd are the SDK's own");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_that_every_language_takes() {
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
    fn a_manifest_has_a_place_for_each_mistake() {
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
            ("name = \"../port\"\nlanguage = \"c\"\n", "expected 1 to 40 small letters"),
            ("name = \"port\"\nlanguage = \"c\"\nsource = \"x\"\n", "unknown field `source`"),
        ] {
            let error = opened(text).unwrap_err();
            assert!(error.contains(words) && error.contains(MANIFEST), "{error}");
        }
        fs::remove_file(dir.path().join(MANIFEST)).unwrap();
        let error = format!("{:#}", Project::open(dir.path()).unwrap_err());
        assert!(error.contains("which `vouchd plugin new` makes"), "{error}");
    }
}
