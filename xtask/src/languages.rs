//! The example plugin of each language, built with tools from package registries alone, and held against the same behaviours.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};

use crate::machine;

/// Compilers and libraries for C and C++, and an assembler.
const DEBIAN: [machine::Needed; 4] =
    [("clang-19", "clang-19"), ("wasm-ld-19", "lld-19"), ("wat2wasm", "wabt"), ("npm", "npm")];
/// Without a command that would show that they are there.
const DEBIAN_LIBRARIES: [&str; 5] =
    ["wasi-libc", "libclang-rt-19-dev-wasm32", "libc++-19-dev-wasm32", "libc++abi-19-dev-wasm32", "python3-venv"];
const ZIGLANG: &str = "ziglang==0.17.1";
const ASSEMBLYSCRIPT: &str = "assemblyscript@0.28.20";

/// A language and the words that build `example/port` into the file that is appended.
type Recipe = (&'static str, &'static [&'static str]);

const RECIPES: [Recipe; 5] = [
    (
        "c",
        &[
            "clang-19",
            "--target=wasm32-wasi",
            "-std=c11",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-Os",
            "-s",
            "-mexec-model=reactor",
            "sdk/c/example/port.c",
            "-o",
        ],
    ),
    (
        "cpp",
        &[
            "clang++-19",
            "--target=wasm32-wasi",
            "-std=c++17",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-Os",
            "-s",
            "-fno-exceptions",
            "-mexec-model=reactor",
            "sdk/c/example/port.cpp",
            "-o",
        ],
    ),
    ("wat", &["wat2wasm", "sdk/wat/example/port.wat", "-o"]),
    (
        "zig",
        &[
            "target/languages/venv/bin/python",
            "-m",
            "ziglang",
            "build-exe",
            "-target",
            "wasm32-freestanding",
            "-O",
            "ReleaseSmall",
            "-fstrip",
            "-fno-entry",
            "-rdynamic",
            "--stack",
            "65536",
            "--dep",
            "vouchd_check",
            "-Mroot=sdk/zig/example/port.zig",
            "-Mvouchd_check=sdk/zig/vouchd_check.zig",
            "-femit-bin=",
        ],
    ),
    (
        "assemblyscript",
        &[
            "target/languages/node_modules/.bin/asc",
            "sdk/assemblyscript/example/port.ts",
            "-O",
            "--noAssert",
            "--use",
            "abort=",
            "--runtime",
            "stub",
            "--transform",
            "./sdk/assemblyscript/exports.mjs",
            "-o",
        ],
    ),
];

/// Builds `target/languages/*.wasm`, after installing what is missing: half a gigabyte on a fresh machine.
pub fn build(root: &Path) -> anyhow::Result<()> {
    let target = root.join("target/languages");
    fs::create_dir_all(&target)?;
    install(root, &target)?;
    for (language, recipe) in RECIPES {
        let file = format!("target/languages/{language}.wasm");
        let mut words: Vec<String> = recipe.iter().map(|&word| word.to_owned()).collect();
        match words.last_mut() {
            Some(last) if last.ends_with('=') => last.push_str(&file),
            _ => words.push(file.clone()),
        }
        run(root, &words)?;
        run(root, &["python3".into(), "sdk/embed.py".into(), file.clone()])?;
        println!("xtask: {file}, {} bytes", fs::metadata(root.join(&file))?.len());
    }
    Ok(())
}

/// Runs `sdk/conformance` over what is built; the answer of a machine where nothing is built is that it says so.
pub fn test(root: &Path, vouchd: &Path) -> anyhow::Result<()> {
    let built = fs::read_dir(root.join("target/languages"))
        .is_ok_and(|files| files.flatten().any(|file| file.path().extension().is_some_and(|end| end == "wasm")));
    if !built {
        println!("SKIPPED: plugins in other languages are not built; `cargo xtask languages` builds and tests them");
        return Ok(());
    }
    run(root, &["python3".into(), "sdk/conformance/run.py".into(), "--vouchd".into(), vouchd.display().to_string()])
}

fn install(root: &Path, target: &Path) -> anyhow::Result<()> {
    machine::install_packages(&DEBIAN)?;
    if !Path::new("/usr/share/doc/libc++abi-19-dev-wasm32").exists() && machine::is_root() {
        machine::apt_get(&["update", "-q"])?;
        machine::apt_get(&[["install", "-q", "-y", "--no-install-recommends"].as_slice(), &DEBIAN_LIBRARIES].concat())?;
    }
    if !target.join("venv/bin/python-zig").exists() {
        run(root, &words(["python3", "-m", "venv", "target/languages/venv"]))?;
        run(root, &words(["target/languages/venv/bin/pip", "install", "--quiet", ZIGLANG]))?;
    }
    if !target.join("node_modules/.bin/asc").exists() {
        run(
            root,
            &words(["npm", "install", "--no-audit", "--no-fund", "--prefix", "target/languages", ASSEMBLYSCRIPT]),
        )?;
    }
    Ok(())
}

fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).to_vec()
}

fn run(root: &Path, words: &[String]) -> anyhow::Result<()> {
    let (program, args) = words.split_first().context("a recipe without words")?;
    eprintln!("xtask: {}", words.join(" "));
    let status = Command::new(program).args(args).current_dir(root).status();
    let status = status.with_context(|| format!("starting {program}"))?;
    ensure!(status.success(), "{program} ended with {status}");
    Ok(())
}
