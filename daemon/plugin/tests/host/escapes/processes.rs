//! Attempts by looking for processes.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use vouchd_config::Grants;
use vouchd_config::grants::ProcessGrant;

use super::{UNLESS_OK, attempt, placed, said};
use crate::common::{host, reporting};

/// A search for processes that passes only if it found one.
fn find(name: Option<&str>, cmdline: Option<&str>, pid_file: Option<&str>) -> Vec<u8> {
    let mut data = String::new();
    let mut arguments = String::new();
    for (at, text) in [(3000, name), (20000, cmdline), (21000, pid_file), (22000, None)] {
        let (placed, text_arguments) = placed(at, text.unwrap_or_default());
        data += &placed;
        let _ = write!(arguments, "(i32.const {}) {text_arguments} ", u8::from(text.is_some()));
    }
    let top = format!(
        r#"(import "vouchd:check/process@0.1.0" "find" (func $find (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32))) {data}"#
    );
    let none = "(if (i32.eqz (i32.load (i32.const 60008))) (then (i32.store8 (i32.const 1028) (i32.const 2))))";
    reporting(0, "got in", &top, &format!("(call $find {arguments} (i32.const 60000)) {none} {UNLESS_OK}"))
}

/// Ends its process when dropped.
struct Ending(Child);

impl Drop for Ending {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn query_never_finds_a_process_without_a_grant() {
    // Not a process of the daemon, which no query finds.
    let target = Ending(Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap());
    let comm = || std::fs::read_to_string(format!("/proc/{}/comm", target.0.id())).unwrap().trim().to_owned();
    while comm() != "sleep" {
        std::thread::yield_now();
    }
    let own = comm();
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let pid = target.0.id().to_string();
    std::fs::write(path("pid"), &pid).unwrap();
    std::os::unix::fs::symlink(path("pid"), path("link")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", path("zero")).unwrap();
    std::os::unix::fs::symlink(path("circle"), path("circle")).unwrap();
    nix::unistd::mkfifo(&path("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let names = |names: &[&str]| Grants {
        process: ProcessGrant::Names(names.iter().map(|n| (*n).to_owned()).collect()),
        ..Grants::default()
    };
    // A pid file needs the grant of any file.
    let here: Vec<vouchd_config::grants::PathPattern> =
        vec![text(&path("*")).parse().unwrap(), "/**".parse().unwrap(), "/".parse().unwrap()];
    let (nothing, bare) = (Grants::default(), names(&["no-such-process"]));
    let other = Grants { files: here.clone(), ..bare.clone() };
    let host = host();
    let all = Grants { process: ProcessGrant::All, files: here, ..Grants::default() };
    assert_eq!(said(&attempt(&host, &all, &find(Some(&own), None, None)).await), "GOT IN");
    assert_eq!(said(&attempt(&host, &all, &find(None, None, Some(&text(&path("pid"))))).await), "GOT IN");
    std::fs::write(path("itself"), std::process::id().to_string()).unwrap();
    let itself = said(&attempt(&host, &all, &find(None, None, Some(&text(&path("itself"))))).await);
    assert!(itself.contains("0 found"), "the daemon is no service: {itself}");
    // Query, and the text of the refusal; "0 found" where the answer is empty.
    type Query = (Option<String>, Option<String>, Option<String>);
    let some = |text: &str| Some(text.to_owned());
    let table: Vec<(&Grants, Query, &str)> = vec![
        (&nothing, (some(&own), None, None), "process = ["),
        (&nothing, (None, some("."), None), "process = true"),
        (&nothing, (None, None, some(&text(&path("pid")))), "process = true"),
        (&other, (some(&own), None, None), "process = ["),
        (&other, (some(&own.to_uppercase()), None, None), "process = ["),
        (&other, (some("NO-SUCH-PROCESS"), None, None), "process = ["),
        (&other, (some("no-such-process\0"), None, None), "process = ["),
        (&other, (some("no-such-process/"), None, None), "process = ["),
        (&other, (some(" no-such-process"), None, None), "process = ["),
        (&other, (some("*"), None, None), "process = ["),
        (&other, (some(".*"), None, None), "process = ["),
        (&other, (some(""), None, None), "process = ["),
        (&other, (some("a\"] } # "), None, None), "process = ["),
        (&other, (some("a\nb"), None, None), "process = ["),
        (&other, (None, some(".*"), None), "0 found"),
        (&other, (None, some(&own), None), "0 found"),
        (&other, (some("no-such-process"), some(".*"), None), "0 found"),
        (&other, (None, some("("), None), "not a regular expression"),
        (&other, (None, some("(a{1000}){1000}{1000}"), None), "not a regular expression"),
        (&other, (None, None, some(&text(&path("pid")))), "0 found"),
        (&other, (None, None, some(&text(&path("link")))), "symbolic link"),
        (&bare, (None, None, some(&text(&path("pid")))), "files = ["),
        (&bare, (None, None, some("/etc/shadow")), "files = ["),
        (&bare, (some("no-such-process"), None, some("pid")), "absolute path"),
        (&other, (some("no-such-process"), None, some("/proc/self/stat")), "symbolic link"),
        (&all, (None, None, some(&text(&path("fifo")))), "not a regular file"),
        (&all, (None, None, some(&text(&path("zero")))), "symbolic link"),
        (&all, (None, None, some("/dev/zero")), "not a regular file"),
        (&all, (None, None, some("/dev/stdin")), ""),
        (&all, (None, None, some("/")), "not a regular file"),
        (&all, (None, None, some(&text(&path("circle")))), "symbolic link"),
        (&all, (None, None, some("/etc/passwd")), "0 found"),
        (&all, (None, None, some("/proc/self/environ")), "symbolic link"),
        (&all, (None, None, some(&"../".repeat(3000))), "absolute path"),
        (&all, (None, None, None), "expected a name"),
    ];
    let mut complaints = Vec::new();
    for (grants, (name, cmdline, pid_file), words) in &table {
        let module = find(name.as_deref(), cmdline.as_deref(), pid_file.as_deref());
        let said = said(&attempt(&host, grants, &module).await);
        println!("{name:?} {cmdline:?}: {said}");
        if said == "GOT IN" || said == "timed out" || !said.contains(words) {
            complaints.push(format!("{name:?} {cmdline:?} {pid_file:?}: {said}"));
        }
    }
    println!("{} attempts by process", table.len());
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}
