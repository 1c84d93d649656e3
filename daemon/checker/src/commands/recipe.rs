//! How a project becomes a `.wasm`: the commands of each language, and what to say when a tool is missing.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};

use super::language::Language;
use super::project::Project;
use super::rust_toolchain;
use vouchd_console::output::print;

/// Where tools are, before the search path: as pip and npm install them for a project.
const TOOLS: [&str; 3] = ["venv/bin", ".venv/bin", "node_modules/.bin"];

/// Makes `out`, a path below the project's directory. Shows each command as it starts it.
///
/// # Errors
/// If a tool is missing, with how to install it, or has failed.
pub fn make(project: &Project, out: &Path) -> anyhow::Result<()> {
    let shop = Shop { project, search: env::var_os("PATH").unwrap_or_default() };
    let out = out.to_str().context("a path that is not UTF-8")?;
    match project.manifest.language {
        Language::Rust => shop.rust(out),
        Language::C => shop.clang("clang", &["-std=c11", "-Wall", "-Wextra"], "check.c", out),
        Language::Cpp => {
            shop.clang("clang++", &["-std=c++17", "-Wall", "-Wextra", "-fno-exceptions"], "check.cpp", out)
        }
        Language::Zig => shop.zig(out),
        Language::Go => shop.go(out),
        Language::Python => shop.python(out),
        Language::JavaScript => shop.quickjs("check.js", out),
        Language::TypeScript => {
            shop.run(shop.tool(&["tsc"])?.arg("--noEmit"))?;
            shop.quickjs("check.ts", out)
        }
        Language::AssemblyScript => shop.run(
            shop.tool(&["asc"])?
                .args(["check.ts", "-o", out, "-O", "--noAssert", "--runtime", "stub"])
                .args(["--transform", "./vouchd/assemblyscript/exports.mjs"]),
        ),
        Language::Wat => shop.run(shop.tool(&["wat2wasm"])?.args(["check.wat", "-o", out])),
    }
}

struct Shop<'a> {
    project: &'a Project,
    search: std::ffi::OsString,
}

impl Shop<'_> {
    /// The first of these programs that is there.
    fn tool(&self, names: &[&str]) -> anyhow::Result<Command> {
        let own = TOOLS.iter().map(|place| self.project.dir.join(place));
        let places: Vec<PathBuf> = own.chain(env::split_paths(&self.search)).collect();
        let found =
            names.iter().find_map(|name| places.iter().map(|place| place.join(name)).find(|path| path.is_file()));
        let Some(program) = found else {
            let language = self.project.manifest.language;
            bail!(
                "to build a plugin in {language} there has to be {}, in {} of the project or in the search path; \
                 to install it: {}",
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
        // Paths as one would type them.
        let shown = words.join(" ").replace(&format!("{}/", self.project.dir.display()), "");
        print(format!("  {shown}\n"))?;
        let status = command.status().with_context(|| format!("starting {}", words[0]))?;
        let install = self.project.manifest.language.install();
        ensure!(status.success(), "{} ended with {status}; where something is not installed: {install}", words[0]);
        Ok(())
    }

    fn rust(&self, out: &str) -> anyhow::Result<()> {
        let target = "target/wasm";
        self.run(
            rust_toolchain::cargo(&self.project.dir)?.args(["--release", "--target-dir", target]).stdin(Stdio::null()),
        )?;
        let built = self.project.dir.join(target).join(rust_toolchain::TARGET).join("release/check.wasm");
        std::fs::copy(&built, self.project.dir.join(out)).with_context(|| format!("copying {}", built.display()))?;
        Ok(())
    }

    fn clang(&self, name: &str, options: &[&str], source: &str, out: &str) -> anyhow::Result<()> {
        // Debian has several side by side, and the libraries for WebAssembly with each of the newer ones.
        let versions: Vec<String> = (19..=30).map(|version| format!("{name}-{version}")).collect();
        let names: Vec<&str> = versions.iter().map(String::as_str).chain([name]).collect();
        self.run(
            self.tool(&names)?
                .args(["--target=wasm32-wasi", "-Os", "-s", "-mexec-model=reactor", "-Ivouchd/c"])
                .args(options)
                .args([source, "-o", out]),
        )
    }

    fn zig(&self, out: &str) -> anyhow::Result<()> {
        self.run(
            // The second is what PyPI's ziglang installs.
            self.tool(&["zig", "python-zig"])?
                .args(["build-exe", "-target", "wasm32-freestanding", "-O", "ReleaseSmall", "-fstrip", "-fno-entry"])
                .args(["-rdynamic", "--stack", "65536", "--dep", "vouchd_check", "-Mroot=check.zig"])
                .args(["-Mvouchd_check=vouchd/zig/vouchd_check.zig", &format!("-femit-bin={out}")]),
        )
    }

    fn go(&self, out: &str) -> anyhow::Result<()> {
        self.run(
            self.tool(&["go"])?
                .args(["build", "-trimpath", "-buildvcs=false", "-ldflags=-s", "-buildmode=c-shared", "-o", out, "."])
                // What is set on the machine for other targets stays out of it.
                .envs([
                    ("GOOS", "wasip1"),
                    ("GOARCH", "wasm"),
                    ("GOTOOLCHAIN", "local"),
                    ("GOWORK", "off"),
                    ("GOFLAGS", ""),
                ]),
        )
    }

    fn python(&self, out: &str) -> anyhow::Result<()> {
        self.run(
            self.tool(&["componentize-py"])?
                .args(["-d", "vouchd/wit", "-w", "plugin", "componentize", "--stub-wasi"])
                .args(["-p", "src", "-p", "vouchd/python", "check", "-o", out]),
        )
    }

    fn quickjs(&self, source: &str, out: &str) -> anyhow::Result<()> {
        let bundle = "build/bundle.js";
        self.run(
            self.tool(&["esbuild"])?
                .args([
                    source,
                    "--bundle",
                    "--format=esm",
                    "--target=es2023",
                    "--external:vouchd:*",
                    "--log-level=warning",
                ])
                .arg(format!("--outfile={bundle}")),
        )?;
        self.run(
            self.tool(&["componentize-qjs"])?
                .args(["--wit", "vouchd/wit", "--world", "plugin", "--js", bundle])
                .args(["--stub-wasi", "--sync", "--opt-size", "-o", out]),
        )
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
    fn a_missing_tool_is_told_with_how_to_install_it() {
        let dir = tempfile::tempdir().unwrap();
        for (language, tool) in
            [("c", "clang-19"), ("python", "componentize-py"), ("wat", "wat2wasm"), ("zig", "python-zig")]
        {
            let project = project(dir.path(), language);
            let shop = Shop { project: &project, search: "/nowhere".into() };
            let error = shop.tool(&[tool]).unwrap_err().to_string();
            assert!(error.contains(tool) && error.contains(project.manifest.language.install()), "{error}");
        }
    }

    #[test]
    fn tools_of_the_project_come_before_those_of_the_system_and_a_failed_one_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let project = project(dir.path(), "wat");
        let shop = Shop { project: &project, search: "/bin:/usr/bin".into() };
        assert_eq!(shop.tool(&["no-such-thing", "false"]).unwrap().get_program(), "/bin/false");
        let venv = dir.path().join("venv/bin");
        fs::create_dir_all(&venv).unwrap();
        fs::write(venv.join("false"), "#!/bin/sh\nexit 3\n").unwrap();
        fs::set_permissions(venv.join("false"), PermissionsExt::from_mode(0o755)).unwrap();
        let error = shop.run(&mut shop.tool(&["false"]).unwrap()).unwrap_err().to_string();
        assert!(error.contains("ended with exit status: 3"), "{error}");
        assert!(error.ends_with("apt-get install wabt"), "{error}");
    }
}
