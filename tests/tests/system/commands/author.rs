//! The commands of a plugin author, run as an author runs them. They need no root and no network but loopback.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use vouchd_tests::guest::Guest;
use vouchd_tests::requirements::Missing;
use vouchd_tests::{Need, requirements, vouchd};

fn vouchd_plugin() -> Command {
    assert_eq!(requirements::not_built(&[Need::Vouchd]), None);
    let mut command = Command::new(vouchd::binary());
    command.arg("plugin").stdin(Stdio::null());
    command
}

fn builtin(name: &str) -> PathBuf {
    vouchd::builtin_plugins().join(name).with_extension("wasm")
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Exit status and output of `plugin test FILE --script` with this script.
fn script(plugin: &Path, script: &str) -> (Option<i32>, String) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("test.toml");
    fs::write(&file, script).unwrap();
    let output = vouchd_plugin().arg("test").arg(plugin).arg("--script").arg(&file).output().unwrap();
    let said = text(&output).replace(&file.display().to_string(), "test.toml");
    println!("{said}");
    (output.status.code(), said)
}

const GREETS: &str = r#"
[[run]]
name = "greets"
peer = { send = "220 mail\r\n" }
params = { address = "{peer}", expect = "220" }
allow = { tcp = ["{peer}"] }
expect = { verdict = "pass", message = "220", metrics = { connect = { min = 0, max = 1 } } }

[[run]]
name = "is down"
params = { address = "{closed}" }
allow = { tcp = ["{closed}"] }
expect = { verdict = "fail", message = "connection refused" }

[[run]]
name = "was not granted"
params = { address = "{peer}" }
expect = { error = "allow = { tcp" }

[[run]]
name = "says nothing"
params = { address = "{peer}", expect = "220" }
allow = { tcp = ["{peer}"] }
timeout = "200ms"
expect = { verdict = "fail" }
"#;

#[test]
fn script_with_met_expectations_succeeds() {
    let (status, said) = script(&builtin("tcp"), GREETS);
    assert_eq!(status, Some(0), "{said}");
    for name in ["greets", "is down", "was not granted", "says nothing"] {
        assert!(said.lines().any(|line| line.starts_with(&format!("ok  {name} "))), "no ok for {name}:\n{said}");
    }
    assert!(said.contains("4 of 4 runs as expected"), "{said}");
}

#[test]
fn unexpected_run_exits_with_1_and_is_shown_in_full() {
    let (status, said) = script(&builtin("tcp"), &GREETS.replacen("\"pass\"", "\"warn\"", 1));
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("test.toml:2:1: greets: expected warn, found pass"), "{said}");
    assert!(said.contains("probe tcp 127.0.0.1:"), "{said}");
    assert!(said.contains("3 of 4 runs as expected"), "{said}");
}

#[test]
fn mistake_in_a_script_is_reported_with_its_place_and_nothing_runs() {
    let (status, said) = script(&builtin("tcp"), &GREETS.replacen("expect = \"220\"", "expect = 220 220", 1));
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("test.toml:5:"), "{said}");
    let (status, said) = script(&builtin("tcp"), &GREETS.replacen("verdict = \"fail\"", "verdikt = \"fail\"", 1));
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("test.toml:13:12: run[1].expect.verdikt: unknown key (did you mean `verdict`?)"), "{said}");
    assert!(!said.contains("as expected"), "{said}");
}

#[test]
fn memo_is_kept_between_the_runs_of_a_script() {
    let module = memo_plugin();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("memo.wasm");
    fs::write(&file, module).unwrap();
    let first = "[[run]]\nexpect = { verdict = \"pass\" }\n";
    let second = "[[run]]\nexpect = { verdict = \"fail\" }\n";
    let (status, said) = script(&file, &format!("{first}{second}{second}"));
    assert_eq!(status, Some(0), "{said}");
}

/// A plugin that passes in the first run, and fails once it has a memo.
fn memo_plugin() -> Vec<u8> {
    let imports = r#"(import "vouchd:check/memo@0.1.0" "get" (func $get (param i32)))
        (import "vouchd:check/memo@0.1.0" "set" (func $set (param i32 i32)))"#;
    // The memo's address and length are stored at 64 and 68; the verdict is at 1028.
    let body = "(call $get (i32.const 64))
        (if (i32.load (i32.const 68)) (then (i32.store8 (i32.const 1028) (i32.const 2))))
        (call $set (i32.const 512) (i32.const 4))";
    Guest::new(body).top(imports).module()
}

/// A running `plugin test --watch`, and the lines that it prints.
struct Watching {
    child: Child,
    lines: Receiver<String>,
}

impl Watching {
    fn start(plugin: &Path, script: &Path) -> Watching {
        let mut command = vouchd_plugin();
        command.arg("test").arg(plugin).arg("--watch").arg("--script").arg(script);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        let (say, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = say.send(line);
            }
        });
        Watching { child, lines }
    }

    /// Waits for a line, and ignores the lines before it.
    #[track_caller]
    fn prints(&self, part: &str) {
        let deadline = Instant::now() + Duration::from_secs(30);
        let mut said = Vec::new();
        while let Ok(line) = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            if line.contains(part) {
                return;
            }
            said.push(line);
        }
        panic!("expected a line with {part:?}, found:\n{}", said.join("\n"));
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn watch_runs_again_when_the_plugin_is_replaced_and_when_the_script_changes() {
    let dir = tempfile::tempdir().unwrap();
    let (plugin, other, script) = (dir.path().join("p.wasm"), dir.path().join("other"), dir.path().join("test.toml"));
    fs::copy(builtin("tcp"), &plugin).unwrap();
    let down = "[[run]]\nparams = { address = \"{closed}\" }\nallow = { tcp = [\"{closed}\"] }\n";
    fs::write(&script, format!("{down}expect = {{ verdict = \"fail\" }}\n")).unwrap();

    let mut watching = Watching::start(&plugin, &script);
    watching.prints("1 of 1 runs as expected");
    watching.prints("to change; press Ctrl-C to stop");
    fs::write(&other, memo_plugin()).unwrap();
    fs::rename(&other, &plugin).unwrap();
    watching.prints("expected fail, found pass");
    watching.prints("0 of 1 runs as expected");
    watching.prints("to change; press Ctrl-C to stop");
    fs::write(&script, "[[run]]\nexpect = { verdict = \"pass\" }\n").unwrap();
    watching.prints("1 of 1 runs as expected");
    watching.prints("to change; press Ctrl-C to stop");
    // A file that cannot be used is reported, and the command waits for the next change.
    fs::write(&plugin, "half a file").unwrap();
    watching.prints("to change; press Ctrl-C to stop");
    fs::copy(builtin("tcp"), &plugin).unwrap();
    watching.prints("0 of 1 runs as expected");
    assert!(watching.child.try_wait().unwrap().is_none(), "it ended by itself");
}

/// Runs `vouchd plugin` in a directory. Returns whether it succeeded, and its output.
fn in_project(dir: &Path, words: &[&str]) -> (bool, String) {
    let output = vouchd_plugin().args(words).current_dir(dir).output().unwrap();
    (output.status.success(), text(&output))
}

fn new_project(language: &str) -> (tempfile::TempDir, PathBuf) {
    let above = tempfile::tempdir().unwrap();
    let (made, said) = in_project(above.path(), &["new", "--lang", language, "my-port"]);
    assert!(made, "{said}");
    let dir = above.path().join("my-port");
    (above, dir)
}

/// The directory in which `cargo xtask languages` installs tools.
fn tools() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    root.join(std::env::var_os("VOUCHD_LANGUAGES_CACHE").map_or_else(|| "target/languages/tools".into(), PathBuf::from))
}

/// Links installed tools into the project, in the places where pip and npm would install them. Returns what is missing.
fn give_tools(dir: &Path, language: &str) -> Result<(), Missing> {
    let link = |from: PathBuf, to: &str| {
        if !from.exists() {
            return Err(Missing::new(format!("no tools for {language}"), "run `cargo xtask languages` first"));
        }
        std::os::unix::fs::symlink(from.canonicalize().unwrap(), dir.join(to)).unwrap();
        Ok(())
    };
    let on_path = |program: &str, package: &str| {
        let found = std::env::split_paths(&std::env::var_os("PATH").unwrap()).any(|place| place.join(program).exists());
        if found { Ok(()) } else { Err(Missing::package(format!("no command `{program}`"), package)) }
    };
    let package_there = |library: &str, package: &str| {
        if Path::new(library).exists() { Ok(()) } else { Err(Missing::package(format!("no {library}"), package)) }
    };
    let python = |program: &str| {
        link(tools().join("python/bin").join(program), ".found")?;
        link(tools().join("python"), "venv")
    };
    let node = |program: &str| {
        fs::create_dir_all(dir.join("node_modules")).unwrap();
        link(tools().join("node/node_modules/.bin").join(program), ".found")?;
        link(tools().join("node/node_modules/.bin"), "node_modules/.bin")
    };
    match language {
        "rust" => Ok(()),
        "c" => on_path("clang-19", "clang-19"),
        "cpp" => {
            on_path("clang++-19", "clang-19")?;
            package_there("/usr/share/doc/libc++-19-dev-wasm32", "libc++-19-dev-wasm32")
        }
        "wat" => on_path("wat2wasm", "wabt"),
        "zig" => python("python-zig"),
        "go" => python("go"),
        "python" => python("componentize-py"),
        "assemblyscript" => node("asc"),
        "javascript" | "typescript" => {
            node("componentize-qjs")?;
            link(dir.join("vouchd/javascript"), "node_modules/vouchd-check")
        }
        other => panic!("no language {other}"),
    }
}

/// A new project builds, passes its tests and declares its parameter without any change.
fn project_builds_and_passes_its_tests(language: &str) {
    let (_above, dir) = new_project(language);
    if let Err(missing) = give_tools(&dir, language) {
        return vouchd_skip::skip(&missing.what, &missing.cure);
    }
    let start = Instant::now();
    let (built, said) = in_project(&dir, &["build"]);
    println!("{language}: {:.1} s\n{said}", start.elapsed().as_secs_f64());
    assert!(built, "{said}");
    assert!(said.lines().any(|line| line.starts_with("my-port.wasm: ")), "{said}");
    let (passed, said) = in_project(&dir, &["test"]);
    println!("{said}");
    assert!(passed, "{said}");
    assert!(said.contains("4 of 4 runs as expected"), "{said}");
    let (good, said) = in_project(&dir, &["inspect", "my-port.wasm"]);
    assert!(good, "{said}");
    let declared = said.lines().any(|line| line.split_whitespace().take(3).eq(["address", "text", "required"]));
    assert!(declared, "the parameter is not declared:\n{said}");
}

macro_rules! projects {
    ($($test:ident: $language:literal)*) => {
        $(#[test]
        fn $test() {
            project_builds_and_passes_its_tests($language);
        })*
    };
}

projects! {
    project_in_rust: "rust"
    project_in_c: "c"
    project_in_cpp: "cpp"
    project_in_zig: "zig"
    project_in_go: "go"
    project_in_python: "python"
    project_in_javascript: "javascript"
    project_in_typescript: "typescript"
    project_in_assemblyscript: "assemblyscript"
    project_in_wat: "wat"
}

#[test]
fn new_overwrites_nothing_and_rejects_odd_names() {
    let (above, dir) = new_project("c");
    fs::write(dir.join("check.c"), "mine").unwrap();
    let (made, said) = in_project(above.path(), &["new", "--lang", "wat", "my-port"]);
    assert!(!made && said.contains("my-port"), "{said}");
    assert_eq!(fs::read_to_string(dir.join("check.c")).unwrap(), "mine");
    for name in ["../up", "My-Port", ""] {
        let output =
            vouchd_plugin().args(["new", "--lang", "c", "--", name]).current_dir(above.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{name}: {}", text(&output));
    }
    let entries = fs::read_dir(above.path()).unwrap().count();
    assert_eq!(entries, 1, "expected only the project");
}

#[test]
fn build_names_missing_tools_and_keeps_a_working_file() {
    let (_above, dir) = new_project("wat");
    let mut without_tools = vouchd_plugin();
    let output = without_tools.arg("build").current_dir(&dir).env("PATH", "/nowhere").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("wat2wasm") && text(&output).contains("apt-get install wabt"), "{}", text(&output));
    // A compiler in the project that makes a module that is no plugin.
    fs::create_dir_all(dir.join("venv/bin")).unwrap();
    let compiler = dir.join("venv/bin/wat2wasm");
    fs::write(&compiler, "#!/bin/sh\nprintf '\\000asm\\001\\000\\000\\000' > \"$3\"\n").unwrap();
    fs::set_permissions(&compiler, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    fs::write(dir.join("my-port.wasm"), "works").unwrap();
    let (built, said) = in_project(&dir, &["build"]);
    assert!(!built && said.contains("can't be used as a plugin"), "{said}");
    assert_eq!(fs::read_to_string(dir.join("my-port.wasm")).unwrap(), "works");
    let (built, said) = in_project(dir.parent().unwrap(), &["build"]);
    assert!(!built && said.contains("vouchd-plugin.toml"), "{said}");
}
