//! Builds the plugin of a project by the recipe of its language, and explains how to install a missing tool.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};
use vouchd_console::output::print;
use vouchd_languages::{Language, Step, rust};

use super::project::Project;

/// Where pip and npm install programs for a project. Searched before `PATH`.
const TOOLS: [&str; 3] = ["venv/bin", ".venv/bin", "node_modules/.bin"];

/// Builds `out`, a path below the project's directory. Prints each command when it starts.
///
/// # Errors
/// When a tool is missing or fails; the text says how to install it.
pub(crate) fn make(project: &Project, out: &Path) -> anyhow::Result<()> {
    let builder = Builder { project, search: env::var_os("PATH").unwrap_or_default() };
    let out = out.to_str().context("a path that is not UTF-8")?;
    match project.manifest.language {
        Language::Rust => builder.rust(out),
        language => builder.follow(language, out),
    }
}

struct Builder<'a> {
    project: &'a Project,
    search: std::ffi::OsString,
}

impl Builder<'_> {
    fn follow(&self, language: Language, out: &str) -> anyhow::Result<()> {
        let source = Path::new(language.source());
        let directory = source.parent().and_then(Path::to_str).filter(|directory| !directory.is_empty()).unwrap_or(".");
        let places = [
            // Go compiles a directory.
            ("{source}", if language == Language::Go { directory } else { language.source() }),
            ("{directory}", directory),
            ("{stem}", source.file_stem().and_then(OsStr::to_str).unwrap_or_default()),
            ("{out}", out),
            ("{build}", "build"),
            ("{sdk}", "vouchd"),
            ("{project}", "."),
            ("{strict}", ""),
        ];
        for step in language.recipe().steps {
            let step = Step::new(step, &places)?;
            self.run(self.tool(&names(&step.program))?.args(&step.arguments).envs(step.variables))?;
        }
        Ok(())
    }

    /// A command that starts the first of these programs that exists.
    fn tool(&self, names: &[impl AsRef<str>]) -> anyhow::Result<Command> {
        let names: Vec<_> = names.iter().map(AsRef::as_ref).collect();
        let own = TOOLS.iter().map(|place| self.project.dir.join(place));
        let places: Vec<PathBuf> = own.chain(env::split_paths(&self.search)).collect();
        let found =
            names.iter().find_map(|name| places.iter().map(|place| place.join(name)).find(|path| path.is_file()));
        let Some(program) = found else {
            let language = self.project.manifest.language;
            bail!(
                "found no {}, which builds plugins in {language}; expected it in {} of the project or in PATH; to \
                 install it: {}",
                names.join(" or "),
                TOOLS.join(", "),
                language.install()
            );
        };
        Ok(self.command(program))
    }

    fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.project.dir).stdin(Stdio::null());
        command
    }

    fn run(&self, command: &mut Command) -> anyhow::Result<()> {
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let words: Vec<_> = words.map(|word| word.to_string_lossy().into_owned()).collect();
        // With paths relative to the project, as one would type them.
        let shown = words.join(" ").replace(&format!("{}/", self.project.dir.display()), "");
        print(format!("  {shown}\n"))?;
        let status = command.status().with_context(|| format!("starting {}", words[0]))?;
        let install = self.project.manifest.language.install();
        ensure!(status.success(), "{} ended with {status}; if a tool is missing: {install}", words[0]);
        Ok(())
    }

    fn rust(&self, out: &str) -> anyhow::Result<()> {
        let target = "target/wasm";
        self.run(rust::cargo(&self.project.dir)?.args(["--release", "--target-dir", target]).stdin(Stdio::null()))?;
        let built = self.project.dir.join(target).join(rust::TARGET).join("release/check.wasm");
        std::fs::copy(&built, self.project.dir.join(out)).with_context(|| format!("copying {}", built.display()))?;
        Ok(())
    }
}

/// The names under which a program of a recipe may be installed, best first.
fn names(program: &str) -> Vec<String> {
    match program {
        // Debian installs several versions side by side; the newer ones have libraries for WebAssembly.
        "clang" | "clang++" => {
            let versions = (19..=30).map(|version| format!("{program}-{version}"));
            versions.chain([program.to_owned()]).collect()
        }
        // The package ziglang of PyPI installs python-zig.
        "zig" => vec!["zig".to_owned(), "python-zig".to_owned()],
        _ => vec![program.to_owned()],
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::commands::project::MANIFEST;

    fn project(dir: &Path, language: &str) -> Project {
        fs::write(dir.join(MANIFEST), format!("name = \"port\"\nlanguage = \"{language}\"\n")).unwrap();
        Project::open(dir).unwrap()
    }

    #[test]
    fn error_for_a_missing_tool_says_how_to_install_it() {
        let dir = tempfile::tempdir().unwrap();
        for (language, tool) in
            [("c", "clang-19"), ("python", "componentize-py"), ("wat", "wat2wasm"), ("zig", "python-zig")]
        {
            let project = project(dir.path(), language);
            let builder = Builder { project: &project, search: "/nowhere".into() };
            let error = builder.tool(&[tool]).unwrap_err().to_string();
            assert!(error.contains(tool) && error.contains(&project.manifest.language.install()), "{error}");
        }
    }

    #[test]
    fn tools_of_the_project_come_before_those_of_the_system_and_a_failed_one_is_reported() {
        let dir = tempfile::tempdir().unwrap();
        let project = project(dir.path(), "wat");
        let builder = Builder { project: &project, search: "/bin:/usr/bin".into() };
        assert_eq!(builder.tool(&["no-such-thing", "false"]).unwrap().get_program(), "/bin/false");
        let venv = dir.path().join("venv/bin");
        fs::create_dir_all(&venv).unwrap();
        fs::write(venv.join("false"), "#!/bin/sh\nexit 3\n").unwrap();
        fs::set_permissions(venv.join("false"), PermissionsExt::from_mode(0o755)).unwrap();
        let error = builder.run(&mut builder.tool(&["false"]).unwrap()).unwrap_err().to_string();
        assert!(error.contains("ended with exit status: 3"), "{error}");
        assert!(error.ends_with("apt-get install wabt"), "{error}");
    }
}
