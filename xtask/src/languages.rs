//! Builds the SDK's plugins in each language, with tools from package registries alone, and tests that they behave alike.

mod figures;
mod tools;

use std::collections::hash_map::DefaultHasher;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::hash::Hasher;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::Context;
use vouchd_languages::{Language, Step, rust};

use self::figures::computed;
pub use self::figures::print as print_figures;
use self::tools::Tools;
use crate::{plugins, run};

/// Where the plugins go: `LANGUAGE.wasm`.
const TARGET: &str = "target/languages";

/// The plugins of the SDK in one language.
#[derive(Debug)]
struct Example {
    language: Language,
    /// The name and source of each plugin.
    plugins: &'static [(&'static str, &'static str)],
    /// Files and directories that go into them. While none of them changes, nor the recipe, nothing is built again.
    inputs: &'static [&'static str],
    /// The SDK's own tests, which run when something was built: commands as in [`vouchd_languages::Recipe::steps`], with
    /// the placeholders `{venv}` for the programs of Python packages and `{build}` for a directory.
    tests: &'static [&'static str],
}

impl Example {
    /// The file that records what the plugins were built from.
    fn note(&self, root: &Path) -> PathBuf {
        root.join(TARGET).join("build").join(self.language.word()).with_extension("inputs")
    }
}

const EXAMPLES: [Example; 10] = [
    Example {
        language: Language::Rust,
        plugins: &[("rust", "sdk/rust/example/port"), ("conformance-rust", "sdk/rust/conformance")],
        inputs: &["sdk/rust", "sdk/wit", "plugins/Cargo.toml", "plugins/Cargo.lock"],
        tests: &[],
    },
    Example {
        language: Language::C,
        plugins: &[("c", "sdk/c/example/port.c"), ("conformance-c", "sdk/c/conformance/conformance.c")],
        inputs: &["sdk/c"],
        tests: &[],
    },
    Example {
        language: Language::Cpp,
        plugins: &[("cpp", "sdk/c/example/port.cpp"), ("conformance-cpp", "sdk/c/conformance/conformance.cpp")],
        inputs: &["sdk/c"],
        tests: &[],
    },
    Example {
        language: Language::Zig,
        plugins: &[("zig", "sdk/zig/example/port.zig"), ("conformance-zig", "sdk/zig/conformance/conformance.zig")],
        inputs: &["sdk/zig"],
        tests: &["{venv}/python-zig test sdk/zig/vouchd_params.zig"],
    },
    Example {
        language: Language::Go,
        plugins: &[("go", "sdk/go/example/port"), ("conformance-go", "sdk/go/conformance")],
        inputs: &["sdk/go"],
        tests: &[
            "GOFLAGS= GOWORK=off GOTOOLCHAIN=local {venv}/go test -C sdk/go ./...",
            "GOFLAGS= GOWORK=off GOTOOLCHAIN=local {venv}/go test -C sdk/go/example/port ./...",
        ],
    },
    Example {
        language: Language::Python,
        plugins: &[
            ("python", "sdk/python/example/port.py"),
            ("conformance-python", "sdk/python/conformance/conformance.py"),
        ],
        inputs: &["sdk/python", "sdk/wit"],
        tests: &[
            "rm -rf {build}/typings",
            "{venv}/componentize-py -d sdk/wit -w plugin bindings {build}/typings",
            "PYTHONDONTWRITEBYTECODE=1 PYTHONPATH={build}/typings:sdk/python:sdk/python/example {venv}/python \
             -m unittest sdk/python/tests/test_sdk.py sdk/python/example/test_port.py",
        ],
    },
    Example {
        language: Language::JavaScript,
        plugins: &[("javascript", "sdk/javascript/example/port.js")],
        inputs: &["sdk/javascript", "sdk/wit"],
        tests: &["node --test sdk/javascript/test/sdk.test.js sdk/javascript/example/port.test.js"],
    },
    Example {
        language: Language::TypeScript,
        plugins: &[
            ("typescript", "sdk/javascript/example/port.ts"),
            ("conformance-typescript", "sdk/javascript/conformance/conformance.ts"),
        ],
        inputs: &["sdk/javascript", "sdk/wit"],
        tests: &[],
    },
    Example {
        language: Language::AssemblyScript,
        plugins: &[
            ("assemblyscript", "sdk/assemblyscript/example/port.ts"),
            ("conformance-assemblyscript", "sdk/assemblyscript/conformance/conformance.ts"),
        ],
        inputs: &["sdk/assemblyscript"],
        tests: &[],
    },
    Example {
        language: Language::Wat,
        plugins: &[("wat", "sdk/wat/example/port.wat")],
        inputs: &["sdk/wat"],
        tests: &[],
    },
];

/// Builds `target/languages/*.wasm`, after installing what is missing: more than a gigabyte on a fresh machine.
pub fn build(root: &Path) -> anyhow::Result<()> {
    let build = root.join(TARGET).join("build");
    fs::create_dir_all(&build)?;
    let tools = Tools::open(root)?;
    let mut stale = Vec::new();
    for example in &EXAMPLES {
        let fingerprint = fingerprint(root, example)?;
        let is_built = fs::read_to_string(example.note(root)).is_ok_and(|built| built == fingerprint);
        if !is_built || example.plugins.iter().any(|(name, _)| !file(root, name).exists()) {
            stale.push((example, fingerprint));
        }
    }
    let needed: Vec<_> = stale.iter().map(|(example, _)| example.language.recipe().packages).collect();
    tools.install(&needed)?;
    for (example, fingerprint) in &stale {
        let language = example.language;
        for (name, source) in example.plugins {
            make(root, &tools, language, name, Path::new(source)).with_context(|| format!("building {source}"))?;
        }
        for test in example.tests {
            let places = [("{venv}", text(tools.python_programs())?), ("{build}", text(&build)?)];
            let places = places.each_ref().map(|(name, place)| (*name, &**place));
            let test = Step::new(test, &places)?;
            run(&mut command(root, &tools, language, test.program.as_ref(), &test))?;
        }
        fs::write(example.note(root), fingerprint)?;
    }
    println!("xtask: built the plugins in {} of {} languages; the others were up to date", stale.len(), EXAMPLES.len());
    Ok(())
}

/// Runs `sdk/conformance` over the plugins that are built. If none is, says so.
pub fn test(root: &Path, vouchd: &Path) -> anyhow::Result<()> {
    if !EXAMPLES.iter().flat_map(|example| example.plugins).any(|(name, _)| file(root, name).exists()) {
        println!("SKIPPED: plugins in other languages are not built; `cargo xtask languages` builds and tests them");
        return Ok(());
    }
    let mut command = Command::new("python3");
    run(command.current_dir(root).arg("sdk/conformance/run.py").arg("--vouchd").arg(vouchd))
}

fn file(root: &Path, plugin: &str) -> PathBuf {
    root.join(TARGET).join(plugin).with_extension("wasm")
}

/// The file with the seconds of processor time that building the plugin took.
fn took(root: &Path, plugin: &str) -> PathBuf {
    root.join(TARGET).join("build").join(plugin).with_extension("seconds")
}

/// Everything that decides what is built.
fn fingerprint(root: &Path, example: &Example) -> anyhow::Result<String> {
    let mut text = format!("{example:?} {:?}\n", example.language.recipe());
    for input in example.inputs {
        add(root, Path::new(input), &mut text)?;
    }
    Ok(text)
}

/// A line for each file at or below `path`.
fn add(root: &Path, path: &Path, text: &mut String) -> anyhow::Result<()> {
    let absolute = root.join(path);
    if absolute.is_dir() {
        let names: Result<Vec<_>, _> =
            fs::read_dir(&absolute)?.map(|entry| entry.map(|entry| entry.file_name())).collect();
        let mut names = names?;
        // What tools leave beside sources.
        names.retain(|name| {
            ![".", "node_modules", "__pycache__"].iter().any(|left| name.to_string_lossy().starts_with(left))
        });
        names.sort();
        return names.iter().try_for_each(|name| add(root, &path.join(name), text));
    }
    let mut hasher = DefaultHasher::new();
    hasher.write(&fs::read(&absolute).with_context(|| format!("reading {}", path.display()))?);
    let _ = writeln!(text, "{} {:016x}", path.display(), hasher.finish());
    Ok(())
}

/// Follows the recipe. The file is replaced at the end and as a whole, since it may be in use.
fn make(root: &Path, tools: &Tools, language: Language, name: &str, source: &Path) -> anyhow::Result<()> {
    let start = Instant::now();
    let out = root.join(TARGET).join("build").join(name).with_extension("wasm");
    let (computed, ()) = computed(|| match language {
        Language::Rust => make_rust(root, source, &out),
        _ => follow(root, tools, language, source, &out),
    })?;
    fs::rename(&out, file(root, name)).with_context(|| format!("{} was not made", out.display()))?;
    fs::write(took(root, name), format!("{:.1}", computed.as_secs_f64()))?;
    let size = fs::metadata(file(root, name))?.len();
    println!("xtask: {TARGET}/{name}.wasm, {size} bytes, in {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}

/// The package whose name is that of its directory, in the workspace of the plugins.
fn make_rust(root: &Path, source: &Path, out: &Path) -> anyhow::Result<()> {
    let package = text(source.file_name().context("a source without a name")?)?;
    run(plugins::cargo(root)?.args(["--package", &package]))?;
    let built = root.join("target/wasm").join(rust::TARGET).join("release").join(package).with_extension("wasm");
    fs::copy(&built, out).with_context(|| format!("copying {}", built.display()))?;
    Ok(())
}

fn follow(root: &Path, tools: &Tools, language: Language, source: &Path, out: &Path) -> anyhow::Result<()> {
    let places = [
        ("{source}", text(source)?),
        ("{directory}", text(source.parent().unwrap_or(source))?),
        ("{stem}", text(source.file_stem().unwrap_or_default())?),
        ("{out}", text(out)?),
        ("{build}", text(root.join(TARGET).join("build"))?),
        ("{sdk}", "sdk".to_owned()),
        ("{project}", "sdk/javascript".to_owned()),
        ("{strict}", "-Werror".to_owned()),
    ];
    let places = places.each_ref().map(|(name, place)| (*name, &**place));
    for step in language.recipe().steps {
        let step = Step::new(step, &places)?;
        let program = tools.program(language, &step.program);
        run(&mut command(root, tools, language, &program, &step))?;
    }
    Ok(())
}

fn command(root: &Path, tools: &Tools, language: Language, program: &Path, step: &Step) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root).args(&step.arguments).envs(tools.environment(language));
    command.envs(step.variables.iter().map(|(name, value)| (name, value)));
    command
}

fn text(path: impl AsRef<OsStr>) -> anyhow::Result<String> {
    let path = path.as_ref();
    path.to_str().map(str::to_owned).with_context(|| format!("{} is not UTF-8", path.display()))
}
