//! Plugins compiled by a child process of the real binary. The result is the same as without a child, and a hostile file
//! cannot exceed its limits or use up those of others.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use vouchd_plugin::{CompileLimits, Compiler, Host, HostSettings, LoadError};

fn host(limits: CompileLimits) -> Host {
    let compiler = Compiler::Child { program: PathBuf::from(env!("CARGO_BIN_EXE_vouchd-checker")), limits };
    Host::new(HostSettings { compiler, slots: 2, ..HostSettings::default() }).unwrap()
}

fn number(mut number: usize, out: &mut Vec<u8>) {
    loop {
        let byte = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            return out.push(byte);
        }
        out.push(byte | 0x80);
    }
}

fn section(id: u8, content: &[u8], out: &mut Vec<u8>) {
    out.push(id);
    number(content.len(), out);
    out.extend(content);
}

/// A WASI command with this number of functions, each with this number of additions.
fn program(functions: usize, additions: usize) -> Vec<u8> {
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    // One type, without parameters and results.
    section(1, &[1, 0x60, 0, 0], &mut module);
    let mut types = Vec::new();
    number(functions, &mut types);
    types.resize(types.len() + functions, 0);
    section(3, &types, &mut module);
    section(7, b"\x01\x06_start\0\0", &mut module);
    let mut body = vec![1, 1, 0x7f];
    for _ in 0..additions {
        // local.get 0, i32.const 7, i32.add, local.get 0, i32.mul, local.set 0
        body.extend([0x20, 0, 0x41, 7, 0x6a, 0x20, 0, 0x6c, 0x21, 0]);
    }
    body.push(0x0b);
    let mut code = Vec::new();
    number(functions, &mut code);
    for _ in 0..functions {
        number(body.len(), &mut code);
        code.extend(&body);
    }
    section(10, &code, &mut module);
    module
}

/// A file that takes minutes and gigabytes to compile.
fn bomb() -> Vec<u8> {
    program(100_000, 50)
}

/// The living child processes of this one.
fn children(of: u32) -> Vec<u32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{of}/task")) else { return Vec::new() };
    let lists = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect()
}

fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        match look() {
            Some(found) => return found,
            None if Instant::now() > until => panic!("timed out after 30 s waiting for {what}"),
            None => thread::sleep(Duration::from_millis(5)),
        }
    }
}

#[test]
fn child_compiles_the_same_plugin_as_this_process() {
    let bytes = program(2, 3);
    let here = Host::new(HostSettings { slots: 2, ..HostSettings::default() }).unwrap();
    let child = host(CompileLimits::default());
    let (one, other) = (here.load(&bytes).unwrap(), child.load(&bytes).unwrap());
    assert_eq!((one.kind(), one.sha256(), one.metadata()), (other.kind(), other.sha256(), other.metadata()));
    for bytes in [b"#!/bin/sh".as_slice(), b"", b"\0asm\x01\0\0\0", &bytes[..bytes.len() - 3]] {
        assert_eq!(here.load(bytes).unwrap_err(), child.load(bytes).unwrap_err());
    }
}

#[test]
fn memory_and_time_for_compiling_are_limited_and_the_exceeded_limit_is_named() {
    let bytes = bomb();
    let limits = CompileLimits::default();
    let table = [
        (CompileLimits { memory: 32 << 20, ..limits }, "needs more than 32 MiB to compile"),
        (CompileLimits { memory: 200 << 20, ..limits }, "needs more than 200 MiB to compile"),
        (CompileLimits { cpu: Duration::from_secs(1), ..limits }, "compiling took more than 1 s of CPU time"),
        (CompileLimits { wall: Duration::from_secs(1), ..limits }, "compiling took more than 1 s:"),
    ];
    for (limits, expected) in table {
        let error = host(limits).load(&bytes).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{expected}: {error}");
    }
    assert_eq!(children(std::process::id()), [0; 0]);
}

#[test]
fn child_is_confined_to_what_compiling_needs_and_ends_at_once_when_given_up() {
    let (host, bytes, abandon) = (host(CompileLimits::default()), bomb(), AtomicBool::new(false));
    thread::scope(|scope| {
        let loading = scope.spawn(|| host.load_unless(&bytes, &abandon));
        let of_child = |file: &str, pid: u32| fs::read_to_string(format!("/proc/{pid}/{file}")).ok();
        let nice = |task: &str, pid: u32| {
            let stat = of_child(&format!("{task}stat"), pid)?;
            stat.rsplit(')').next()?.split_whitespace().nth(16).map(str::to_owned)
        };
        let child = wait_for("a child that has limited itself", || {
            let is_limited = |pid: &u32| of_child("limits", *pid).is_some_and(|text| text.contains(" 2147483648 "));
            let quiet = |pid: &u32| of_child("oom_score_adj", *pid).is_some_and(|score| score.trim() == "1000");
            children(std::process::id()).into_iter().find(|pid| is_limited(pid) && quiet(pid))
        });
        let limits = of_child("limits", child).unwrap();
        for (name, limit) in [
            ("Max cpu time", "60 "),
            ("Max core file size", "0 "),
            ("Max file size", "536870912 "),
            ("Max open files", "16 "),
            ("Max data size", "1073741824 "),
            ("Max address space", "2147483648 "),
        ] {
            let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
            assert!(line[name.len()..].trim_start().starts_with(limit), "{line}");
        }
        let status = of_child("status", child).unwrap();
        assert!(status.contains("NoNewPrivs:\t1"), "{status}");
        assert_eq!(of_child("oom_score_adj", child).unwrap().trim(), "1000");
        let _task = wait_for("the lowest priority", || {
            let mut tasks = fs::read_dir(format!("/proc/{child}/task")).unwrap();
            tasks.find(|task| {
                let task = task.as_ref().unwrap().file_name().into_string().unwrap();
                nice(&format!("task/{task}/"), child).as_deref() == Some("19")
            })
        });
        abandon.store(true, Ordering::Relaxed);
        let before = Instant::now();
        assert_eq!(loading.join().unwrap().unwrap_err(), LoadError::Abandoned);
        assert!(before.elapsed() < Duration::from_secs(20), "{:?}", before.elapsed());
        assert!(!Path::new(&format!("/proc/{child}")).exists());
    });
}

#[test]
fn killed_compiler_is_no_fault_of_the_file() {
    use nix::sys::signal::{Signal, kill};
    let (host, bytes) = (host(CompileLimits::default()), bomb());
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        thread::scope(|scope| {
            let loading = scope.spawn(|| host.load(&bytes));
            let child = wait_for("a child that compiles", || children(std::process::id()).into_iter().next());
            kill(nix::unistd::Pid::from_raw(child.cast_signed()), signal).unwrap();
            let error = loading.join().unwrap().unwrap_err();
            assert!(matches!(&error, LoadError::Hindered(why) if why.contains(signal.as_str())), "{error:?}");
        });
    }
}

/// The interfaces of the plugin belong to two packages that need each other.
#[test]
fn circular_description_is_an_invalid_file_rather_than_a_fault_of_the_compiler() {
    let plugin = std::env::var_os("VOUCHD_PLUGINS")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/plugins")), PathBuf::from)
        .join("http.wasm");
    let Ok(mut bytes) = fs::read(&plugin) else {
        return vouchd_skip::skip(&format!("no {}", plugin.display()), "run `cargo xtask build`");
    };
    let name = b"vouchd:check/stream@0.1.0\x05";
    let at = bytes.windows(name.len()).position(|window| window == name).expect("the plugin imports streams");
    bytes[at + 1] = b'x';
    let error = host(CompileLimits::default()).load(&bytes).unwrap_err();
    assert!(matches!(&error, LoadError::Invalid(why) if why.contains("needs itself")), "{error:?}");
}

#[test]
fn with_few_descriptors_a_plugin_is_compiled_or_the_error_names_the_lack() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("p.wasm");
    fs::write(&file, program(2, 3)).unwrap();
    let mut loaded = 0;
    for limit in 4..20 {
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -n $0; exec \"$1\" plugin inspect \"$2\"", &limit.to_string()]);
        let output = command.arg(env!("CARGO_BIN_EXE_vouchd-checker")).arg(&file).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let lack = format!("no file descriptor left, limit {limit}");
        assert!(output.status.success() || said.contains(&lack), "{limit}: {said}");
        loaded += usize::from(output.status.success());
    }
    assert!(loaded > 0, "fewer descriptors than the compiler allows itself are enough");
}

/// Killed when the test fails.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn child_dies_with_its_parent() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("bomb.wasm");
    fs::write(&file, bomb()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_vouchd-checker"));
    command.args(["plugin", "inspect"]).arg(&file).stdout(Stdio::null()).stderr(Stdio::null());
    let mut inspect = Killed(command.spawn().unwrap());
    let child = wait_for("a child that compiles", || children(inspect.0.id()).into_iter().next());
    inspect.0.kill().unwrap();
    inspect.0.wait().unwrap();
    wait_for("the child's end", || {
        let stat = fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        // A process whose parent is gone may stay as a zombie.
        (stat.is_empty() || stat.contains(") Z ")).then_some(())
    });
}
