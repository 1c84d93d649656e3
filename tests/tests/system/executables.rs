//! The two executables: `vouchd` has no WebAssembly engine, and accepts only the checker of its own version.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use vouchd_tests::command::Output;
use vouchd_tests::vouchd::{binary, checker_binary};
use vouchd_tests::{Need, requirements};

/// Words in the names of every symbol of an engine, of a TLS library and of an HTTP client.
const ENGINE: [&str; 5] = ["wasmtime", "cranelift", "rustls", "reqwest", "hyper"];

/// The lines of `nm` and `ldd` that name an engine. A line is a mangled symbol, in which names are whole words.
fn traces_of_an_engine(executable: &Path) -> Vec<String> {
    let mut traces = Vec::new();
    for (program, arguments) in [("nm", &["--no-demangle"][..]), ("nm", &["--dynamic"]), ("ldd", &[])] {
        let output = Output::of(Command::new(program).args(arguments).arg(executable)).unwrap();
        // An executable without a table of symbols could hide an engine.
        assert!(program != "nm" || !output.stdout.is_empty(), "{}: {}", executable.display(), output.stderr);
        let named = |line: &&str| ENGINE.iter().any(|word| line.contains(word));
        traces.extend(output.stdout.lines().filter(named).map(|line| format!("{program}: {line}")));
    }
    traces
}

#[test]
fn privileged_executable_has_no_engine_in_it() {
    assert_eq!(requirements::not_built(&[Need::Vouchd]), None);
    if !Path::new("/usr/bin/nm").exists() {
        return vouchd_skip::skip("no command `nm`", "install the package binutils");
    }
    let traces = traces_of_an_engine(&binary());
    assert!(traces.is_empty(), "{} traces of an engine: {:#?}", traces.len(), &traces[..traces.len().min(20)]);
    // The test would find one.
    let traces = traces_of_an_engine(&checker_binary());
    for word in ENGINE {
        assert!(traces.iter().any(|trace| trace.contains(word)), "{word} is not found in the checker");
    }
}

/// `vouchd` in a directory without the checker, and a configuration without a mistake.
fn installed(dir: &Path) -> (PathBuf, PathBuf) {
    let (vouchd, config) = (dir.join("vouchd"), dir.join("vouchd.toml"));
    fs::copy(binary(), &vouchd).unwrap();
    let text = format!(
        "[daemon]\ncontrol = \"{0}/control.sock\"\nplugin_dir = \"{0}\"\nbuiltin_plugin_dir = \"{0}\"\ncache_dir = \"off\"\n",
        dir.display()
    );
    fs::write(&config, text).unwrap();
    (vouchd, config)
}

#[test]
fn run_refuses_a_missing_checker_and_one_of_another_version() {
    assert_eq!(requirements::not_built(&[Need::Vouchd]), None);
    if Path::new("/usr/libexec/vouchd/vouchd-checker").exists() {
        return vouchd_skip::skip("a checker is installed in /usr/libexec/vouchd", "remove the installed vouchd");
    }
    let dir = tempfile::tempdir().unwrap();
    let (vouchd, config) = installed(dir.path());
    let version = Output::of(Command::new(&vouchd).arg("--version")).unwrap().stdout;
    let version = version.trim().strip_prefix("vouchd ").expect("the version");
    let refused = |words: &[&str]| {
        // Ended by `timeout` if it starts all the same.
        let run = Output::of(Command::new("timeout").arg("10").arg(&vouchd).args(["run", "-c"]).arg(&config)).unwrap();
        assert_eq!(run.code, Some(1), "{run:?}");
        for word in words {
            assert!(run.stderr.contains(word), "no {word:?} in {run:?}");
        }
        assert!(!dir.path().join("control.sock").exists(), "it has started");
    };
    let place = dir.path().display().to_string();
    refused(&["vouchd-checker", "is missing", &place, "/usr/libexec/vouchd", version]);

    // Moved into its place, so that no child of another test has it open for writing.
    let (new, checker) = (dir.path().join("new"), dir.path().join("vouchd-checker"));
    fs::write(&new, "#!/bin/sh\necho vouchd-checker 99.0.0\n").unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(&new, &checker).unwrap();
    let expected = format!("expected vouchd-checker {version}");
    refused(&[&checker.display().to_string(), &expected, "found vouchd-checker 99.0.0"]);
}
