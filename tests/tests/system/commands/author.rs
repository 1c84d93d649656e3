//! The author's loop, with the built binary as an author uses it. Needs no root and no network but loopback.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

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

/// `plugin test FILE --script` with this script.
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
fn a_script_of_what_is_expected_is_met() {
    let (status, said) = script(&builtin("tcp"), GREETS);
    assert_eq!(status, Some(0), "{said}");
    for name in ["greets", "is down", "was not granted", "says nothing"] {
        assert!(said.lines().any(|line| line.starts_with(&format!("ok  {name} "))), "no ok for {name}:\n{said}");
    }
    assert!(said.contains("4 of 4 runs as expected"), "{said}");
}

#[test]
fn a_run_that_is_not_as_expected_makes_the_status_1_and_is_shown_whole() {
    let (status, said) = script(&builtin("tcp"), &GREETS.replacen("\"pass\"", "\"warn\"", 1));
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("test.toml:2:1: greets: expected warn, found pass"), "{said}");
    assert!(said.contains("probe tcp 127.0.0.1:"), "{said}");
    assert!(said.contains("3 of 4 runs as expected"), "{said}");
}

#[test]
fn a_mistake_in_a_script_is_told_with_its_place_and_nothing_runs() {
    let (status, said) = script(&builtin("tcp"), &GREETS.replacen("expect = \"220\"", "expect = 220 220", 1));
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("test.toml:5:"), "{said}");
    let (status, said) = script(&builtin("tcp"), &GREETS.replacen("verdict = \"fail\"", "verdikt = \"fail\"", 1));
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("test.toml:13:12: run[1].expect.verdikt: unknown key (did you mean `verdict`?)"), "{said}");
    assert!(!said.contains("as expected"), "{said}");
}

#[test]
fn the_memo_goes_from_run_to_run_of_a_script() {
    let module = memo_plugin();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("memo.wasm");
    fs::write(&file, module).unwrap();
    let first = "[[run]]\nexpect = { verdict = \"pass\" }\n";
    let second = "[[run]]\nexpect = { verdict = \"fail\" }\n";
    let (status, said) = script(&file, &format!("{first}{second}{second}"));
    assert_eq!(status, Some(0), "{said}");
}

/// Passes until it remembers something, which it does from the first run on.
fn memo_plugin() -> Vec<u8> {
    let text = r#"(module
        (import "vouchd:check/memo@0.1.0" "get" (func $get (param i32)))
        (import "vouchd:check/memo@0.1.0" "set" (func $set (param i32 i32)))
        (memory (export "memory") 1)
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 4096))
        (func (export "vouchd:check/checker@0.1.0#check") (param i32 i32 i32 i32 i32) (result i32)
            (call $get (i32.const 64))
            (if (i32.load (i32.const 68)) (then (i32.store8 (i32.const 1028) (i32.const 2))))
            (call $set (i32.const 512) (i32.const 4))
            (i32.const 1024)))"#;
    wat::parse_str(text).expect("a test's own text")
}

/// A `--watch` that is under way, and what it says.
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

    /// Waits for a line; what was said before it is passed over.
    #[track_caller]
    fn says(&self, part: &str) {
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
    watching.says("1 of 1 runs as expected");
    watching.says("waiting for a change");
    fs::write(&other, memo_plugin()).unwrap();
    fs::rename(&other, &plugin).unwrap();
    watching.says("expected fail, found pass");
    watching.says("0 of 1 runs as expected");
    watching.says("waiting for a change");
    fs::write(&script, "[[run]]\nexpect = { verdict = \"pass\" }\n").unwrap();
    watching.says("1 of 1 runs as expected");
    watching.says("waiting for a change");
    // What can't be used is told, and waited for.
    fs::write(&plugin, "half a file").unwrap();
    watching.says("waiting for a change");
    fs::copy(builtin("tcp"), &plugin).unwrap();
    watching.says("0 of 1 runs as expected");
    assert!(watching.child.try_wait().unwrap().is_none(), "it ends only when it is told to");
}

/// Runs in a project's directory; the output, and whether it succeeded.
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

/// Where `cargo xtask languages` keeps what it has installed.
fn tools() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    root.join(std::env::var_os("VOUCHD_LANGUAGES_CACHE").map_or_else(|| "target/languages/tools".into(), PathBuf::from))
}

/// Gives the project the tools that are there already, as pip and npm would install them. What is missing, if some are.
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

/// `new`, `build`, `test` and a look at the parameters: all as it stands.
fn a_project_builds_and_passes_its_tests(language: &str) {
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
    let declared = said.lines().any(|line| line.split_whitespace().take(3).eq(["address", "text", "needed"]));
    assert!(declared, "the parameter is declared:\n{said}");
}

macro_rules! projects {
    ($($test:ident: $language:literal)*) => {
        $(#[test]
        fn $test() {
            a_project_builds_and_passes_its_tests($language);
        })*
    };
}

projects! {
    a_project_in_rust: "rust"
    a_project_in_c: "c"
    a_project_in_cpp: "cpp"
    a_project_in_zig: "zig"
    a_project_in_go: "go"
    a_project_in_python: "python"
    a_project_in_javascript: "javascript"
    a_project_in_typescript: "typescript"
    a_project_in_assemblyscript: "assemblyscript"
    a_project_in_wat: "wat"
}

#[test]
fn new_overwrites_nothing_and_takes_no_odd_name() {
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
    assert_eq!(entries, 1, "nothing but the project");
}

#[test]
fn build_tells_what_is_missing_and_never_replaces_what_works_by_what_does_not() {
    let (_above, dir) = new_project("wat");
    let mut without_tools = vouchd_plugin();
    let output = without_tools.arg("build").current_dir(&dir).env("PATH", "/nowhere").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("wat2wasm") && text(&output).contains("apt-get install wabt"), "{}", text(&output));
    // A compiler of the project's own, which makes a module that is no plugin.
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
