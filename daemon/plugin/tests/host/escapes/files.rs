//! Attempts by path: files and sockets.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use vouchd_config::Grants;
use vouchd_health::{RunResult, Verdict};

use super::{UNLESS_OK, attempt, placed, said};
use crate::common::{host, reporting};

/// A granted directory `d` beside others that are not, with everything that could lead out of it.
struct Scene {
    _dir: tempfile::TempDir,
    root: PathBuf,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().to_owned();
        for below in ["d/sub", "d/%2e%2e", "other", "d2"] {
            fs::create_dir_all(root.join(below)).unwrap();
        }
        for (path, content) in [
            ("secret", "SECRET"),
            ("other/file", "SECRET"),
            ("d2/file", "SECRET"),
            ("d/ready", "open"),
            ("d/sub/deep", "open"),
        ] {
            fs::write(root.join(path), content).unwrap();
        }
        for (link, to) in [
            ("up", "../secret"),
            ("inside", "ready"),
            ("linked", "../other"),
            ("root", "/proc/self/root"),
            ("cwd", "/proc/self/cwd"),
            ("fds", "/proc/self/fd"),
            ("dev", "/dev"),
            ("circle", "circle"),
            ("dangling", "nowhere"),
            ("chain", "inside"),
        ] {
            symlink(to, root.join("d").join(link)).unwrap();
        }
        symlink(root.join("secret"), root.join("d/absolute")).unwrap();
        mkfifo(&root.join("d/pipe"), Mode::S_IRWXU).unwrap();
        Scene { _dir: dir, root }
    }

    /// Replaces `R` with the directory of the scene.
    fn path(&self, text: &str) -> String {
        text.replace('R', self.root.to_str().unwrap())
    }

    fn files(&self, pattern: &str) -> Grants {
        let files = [pattern].iter().filter(|p| !p.is_empty()).map(|p| self.path(p).parse().unwrap()).collect();
        Grants { files, ..Grants::default() }
    }

    fn unix(&self, pattern: &str) -> Grants {
        let Grants { files, .. } = self.files(pattern);
        Grants { unix: files, ..Grants::default() }
    }
}

/// Passes if the byte at this address is 1: something was found.
fn if_there(at: u32) -> String {
    format!(
        "(if (i32.eq (i32.load8_u (i32.const {at})) (i32.const 1)) (then (i32.store8 (i32.const 1028) (i32.const 0))))"
    )
}

/// Tries every file function on a path, and passes if one returned something.
fn look(path: &str) -> Vec<u8> {
    let (data, path) = placed(3000, path);
    let top = format!(
        r#"(import "vouchd:check/files@0.1.0" "read" (func $read (param i32 i32 i32 i32)))
        (import "vouchd:check/files@0.1.0" "stat" (func $stat (param i32 i32 i32)))
        (import "vouchd:check/files@0.1.0" "space" (func $space (param i32 i32 i32))) {data}"#
    );
    // 9 is neither an answer nor an error: nothing was written.
    let body = format!(
        "(i32.store8 (i32.const 60000) (i32.const 9)) (i32.store8 (i32.const 60104) (i32.const 9))
        (call $read {path} (i32.const 100) (i32.const 60000)) (call $stat {path} (i32.const 60104))
        (call $space {path} (i32.const 60208))
        (if (i32.eqz (i32.load8_u (i32.const 60000))) (then {}))
        (if (i32.eqz (i32.load8_u (i32.const 60104))) (then {}))
        (if (i32.eqz (i32.load8_u (i32.const 60208))) (then (i32.store8 (i32.const 1028) (i32.const 0))))",
        if_there(60004),
        if_there(60112),
    );
    reporting(2, "got in", &top, &body)
}

/// Reads a path many times, and passes if the data ever began with this byte.
fn read_often(path: &str, times: u32, first: u8) -> Vec<u8> {
    let (data, path) = placed(3000, path);
    let top = format!(
        r#"(import "vouchd:check/files@0.1.0" "read" (func $read (param i32 i32 i32 i32)))
        (global $left (mut i32) (i32.const {times})) {data}"#
    );
    let body = format!(
        "(loop $again
            (call $read {path} (i32.const 100) (i32.const 60000))
            (if (i32.eqz (i32.load8_u (i32.const 60000))) (then
                (if (i32.eq (i32.load8_u (i32.const 60004)) (i32.const 1)) (then
                    (if (i32.eq (i32.load8_u (i32.load (i32.const 60008))) (i32.const {first}))
                        (then (i32.store8 (i32.const 1028) (i32.const 0))))))))
            (global.set $left (i32.sub (global.get $left) (i32.const 1)))
            (br_if $again (global.get $left)))"
    );
    reporting(2, "seen", &top, &body)
}

fn connect(path: &str) -> Vec<u8> {
    let (data, path) = placed(3000, path);
    let top = format!(
        r#"(import "vouchd:check/stream@0.1.0" "connect-unix" (func $connect (param i32 i32 i32 i32))) {data}"#
    );
    let body = format!("(call $connect {path} (i32.const 400) (i32.const 60000)) {UNLESS_OK}");
    reporting(0, "got in", &top, &body)
}

const MISSING: &str = "files = [\"";
const LINK: &str = "leads through a symbolic link";
const BAD: &str = "expected an absolute path";
const ABSENT: &str = "no such file";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn path_never_leads_to_a_file_without_a_grant() {
    let scene = Scene::new();
    let deep = format!("R/d/{}", "a/".repeat(3000));
    let long = format!("R/d/{}", "a".repeat(5000));
    // Grant, path, and the text of the refusal; R is the directory of the scene.
    let table: Vec<(&str, &str, &str)> = vec![
        ("", "R/d/ready", MISSING),
        ("R/d/*", "R/secret", MISSING),
        ("R/d/*", "R/d", MISSING),
        ("R/d/*", "R/d/", MISSING),
        ("R/d/*", "R/d/sub/deep", MISSING),
        ("R/d/*", "R/d2/file", MISSING),
        ("R/d/*", "R/D/ready", MISSING),
        ("R/d/sub?deep", "R/d/sub/deep", MISSING),
        ("R/*/file", "R/d/sub/file", MISSING),
        ("R/d/**", "R/d", MISSING),
        ("R/d/ready", "R/d/ready2", MISSING),
        ("R/d/*", "/proc/self/rootR/secret", MISSING),
        ("R/d/*", "/proc/self/rootR/d/ready", MISSING),
        ("R/d/*", "/proc/1/root/etc/passwd", MISSING),
        ("R/d/*", "/proc/self/environ", MISSING),
        ("R/d/*", "/proc/self/fd/0", MISSING),
        ("R/d/*", "/dev/fd/0", MISSING),
        ("R/d/*", "/dev/stdin", MISSING),
        ("R/d/*", "/etc/passwd", MISSING),
        ("R/d/*", "R\\d\\ready", MISSING),
        // A grant of this name would cover more than the name.
        ("R/d/*", "R/*", "nothing could grant it"),
        ("R/d/*", "R/d/../secret", BAD),
        ("R/d/**", "R/d/sub/../../secret", BAD),
        ("R/d/**", "R/d/./../secret", BAD),
        ("R/d/**", "R/d//..//secret", BAD),
        ("R/d/**", "R/d/..", BAD),
        ("R/d/*", "R/d/ready/../../secret", BAD),
        ("R/d/*", "R/secret\0/d/ready", BAD),
        ("R/d/*", "R/d/ready\0../secret", BAD),
        ("R/d/*", "", BAD),
        ("R/d/*", "ready", BAD),
        ("R/d/*", "~/secret", BAD),
        ("R/d/*", "file:///etc/passwd", BAD),
        // Disguises of `..` are ordinary names.
        ("R/d/**", "R/d/%2e%2e/secret", ABSENT),
        ("R/d/**", "R/d/..%2fsecret", ABSENT),
        ("R/d/**", "R/d/\u{ff0e}\u{ff0e}/secret", ABSENT),
        ("R/d/**", "R/d/\u{2025}/secret", ABSENT),
        ("R/d/**", "R/d/.. /secret", ABSENT),
        ("R/d/**", "R/d/...", ABSENT),
        ("R/d/**", "R/d/ready/secret", ABSENT),
        ("R/d/**", &deep, ""),
        ("R/d/*", &long, "can't be read"),
        ("R/d/*", "R/d/up", LINK),
        ("R/d/*", "R/d/inside", LINK),
        ("R/d/*", "R/d/chain", LINK),
        ("R/d/*", "R/d/absolute", LINK),
        ("R/d/*", "R/d/circle", LINK),
        ("R/d/*", "R/d/dangling", LINK),
        ("R/d/up", "R/d/up", LINK),
        ("R/d/**", "R/d/linked/file", LINK),
        ("R/d/*/file", "R/d/linked/file", LINK),
        ("R/d/**", "R/d/rootR/secret", LINK),
        ("R/d/**", "R/d/cwd/Cargo.toml", LINK),
        ("R/d/**", "R/d/fds/0", LINK),
        ("R/d/**", "R/d/dev/null", LINK),
        ("/proc/**", "/proc/self/rootR/secret", LINK),
        ("/proc/*/environ", "/proc/self/environ", LINK),
        ("/proc/self/fd/*", "/proc/self/fd/0", LINK),
        ("/dev/fd/*", "/dev/fd/0", LINK),
        ("/dev/*", "/dev/stdin", LINK),
    ];
    let host = host();
    let open = attempt(&host, &scene.files("R/d/*"), &look(&scene.path("R/d/ready"))).await;
    assert_eq!(said(&open), "GOT IN");
    let mut complaints = Vec::new();
    for (grant, path, words) in &table {
        let path = scene.path(path);
        let outcome = attempt(&host, &scene.files(grant), &look(&path)).await;
        let said = said(&outcome);
        let shown: String = path.chars().take(80).collect();
        println!("{shown:?}: {}", said.chars().take(300).collect::<String>());
        let words_are_there = outcome.probes.iter().take(2).all(|probe| probe.answer.contains(words));
        if said == "GOT IN" || said == "timed out" || outcome.probes.len() != 3 || !words_are_there {
            complaints.push(format!("{shown:?}: {said}: {:?}", outcome.probes));
        }
    }
    println!("{} attempts by file, each to read, to stat and to ask for its file system", table.len());
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// Things that are granted but must not be opened: that could block, or have an effect.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_regular_files_are_ever_opened() {
    let scene = Scene::new();
    let socket = scene.root.join("d/s.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    listener.set_nonblocking(true).unwrap();
    let host = host();
    for (grant, path) in [
        ("R/d/*", "R/d/pipe"),
        ("R/d/*", "R/d/sub"),
        ("R/d/*", "R/d/s.sock"),
        ("/dev/*", "/dev/zero"),
        ("/dev/*", "/dev/tty"),
        ("/dev/*", "/dev/ptmx"),
        ("/", "/"),
    ] {
        let outcome = attempt(&host, &scene.files(grant), &read_often(&scene.path(path), 1, b'o')).await;
        assert!(said(&outcome).contains("is not a regular file"), "{path}: {}", said(&outcome));
    }
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
}

/// Keeps swapping what is at a path, until dropped.
struct Swapper {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Swapper {
    /// Renames `one` and `other` to `at` in turn, each newly made.
    fn start(at: &Path, one: impl Fn(&Path) + Send + 'static, other: impl Fn(&Path) + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (end, at) = (Arc::clone(&stop), at.to_owned());
        let prepared = at.with_extension("prepared");
        let thread = thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                for make in [&one as &dyn Fn(&Path), &other] {
                    make(&prepared);
                    if fs::rename(&prepared, &at).is_err() {
                        // A link can't be renamed over a directory.
                        fs::remove_dir_all(&at).or_else(|_| fs::remove_file(&at)).unwrap();
                        fs::rename(&prepared, &at).unwrap();
                    }
                }
            }
        });
        Swapper { stop, thread: Some(thread) }
    }
}

impl Drop for Swapper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Reads per run.
const READS: u32 = 60;

/// How long a busy machine may take until a run has met both versions.
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn link_swapped_in_for_a_file_leads_nowhere() {
    let scene = Scene::new();
    let open = |at: &Path| fs::write(at, "open").unwrap();
    let secret = |at: &Path| symlink("../secret", at).unwrap();
    let directory = |at: &Path| {
        fs::create_dir(at).unwrap();
        fs::write(at.join("file"), "open").unwrap();
    };
    let elsewhere = |at: &Path| symlink("../other", at).unwrap();
    let _files = Swapper::start(&scene.root.join("d/swapped"), open, secret);
    let _directories = Swapper::start(&scene.root.join("d/turned"), directory, elsewhere);
    let host = host();
    let grants = scene.files("R/d/**");
    for path in ["R/d/swapped", "R/d/turned/file"] {
        let mut answers = [0; 3];
        let read = read_often(&scene.path(path), READS, b'S');
        let end = Instant::now() + PATIENCE;
        while answers.iter().sum::<usize>() < 2000 || answers[0] == 0 || answers[1] == 0 {
            assert!(Instant::now() < end, "{path}: nothing was swapped: {answers:?}");
            let outcome = attempt(&host, &grants, &read).await;
            if let RunResult::Report(report) = &outcome.result {
                assert_ne!(report.verdict, Verdict::Pass, "{path}: the secret was read");
            }
            for probe in &outcome.probes {
                answers[0] += usize::from(probe.answer == "4 bytes" || probe.answer == "0 bytes");
                answers[1] += usize::from(probe.answer.contains(LINK));
                answers[2] += usize::from(probe.answer == "6 bytes");
            }
        }
        println!(
            "{path}: {} times the file, {} times a link, {} times what it leads to",
            answers[0], answers[1], answers[2]
        );
        assert_eq!(answers[2], 0, "{path}");
    }
}

const UNGRANTED: &str = "unix = [\"";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn path_never_leads_to_a_socket_without_a_grant() {
    use std::os::linux::net::SocketAddrExt;

    let scene = Scene::new();
    let name = format!("vouchd-test-{}", std::process::id());
    let hidden = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let listeners = [
        UnixListener::bind(scene.root.join("secret.sock")).unwrap(),
        UnixListener::bind(scene.root.join("other/s.sock")).unwrap(),
        UnixListener::bind_addr(&hidden).unwrap(),
    ];
    let open = UnixListener::bind(scene.root.join("d/s.sock")).unwrap();
    let datagrams = UnixDatagram::bind(scene.root.join("d/datagrams")).unwrap();
    for listener in listeners.iter().chain([&open]) {
        listener.set_nonblocking(true).unwrap();
    }
    symlink("../secret.sock", scene.root.join("d/l.sock")).unwrap();
    symlink("s.sock", scene.root.join("d/in.sock")).unwrap();
    let (at_name, zero_name) = (format!("@{name}"), format!("\0{name}"));
    let long = format!("R/d/{}.sock", "a".repeat(300));
    let table: Vec<(Grants, &str, &str)> = vec![
        (scene.unix(""), "R/d/s.sock", UNGRANTED),
        (scene.unix("R/d/*"), "R/secret.sock", UNGRANTED),
        (scene.unix("R/d/*"), "R/other/s.sock", UNGRANTED),
        (scene.unix("R/d/*"), "R/D/s.sock", UNGRANTED),
        (scene.unix("R/d/s?sock"), "R/d/s/sock", UNGRANTED),
        (scene.unix("R/d/*"), "/proc/self/rootR/secret.sock", UNGRANTED),
        (scene.unix("R/d/*"), "/run/systemd/private", UNGRANTED),
        (scene.unix("R/d/*"), "/dev/log", UNGRANTED),
        // A grant to read is no grant to connect, and the other way round.
        (scene.files("R/**"), "R/secret.sock", UNGRANTED),
        (scene.unix("R/d/*"), "R/d/../secret.sock", BAD),
        (scene.unix("R/**"), "R/d/../d/s.sock", BAD),
        (scene.unix("R/d/*"), "R/secret.sock\0/d/s.sock", BAD),
        (scene.unix("R/d/*"), "R/d/s.sock\0", BAD),
        (scene.unix("/**"), &at_name, BAD),
        (scene.unix("/**"), &zero_name, BAD),
        (scene.unix("/**"), "\0", BAD),
        (scene.unix("R/d/*"), "", BAD),
        (scene.unix("R/d/*"), "unix:R/d/s.sock", BAD),
        (scene.unix("R/d/*"), "unix:///secret.sock", BAD),
        (scene.unix("R/d/*"), "s.sock", BAD),
        (scene.unix("R/d/*"), "R/d/l.sock", LINK),
        (scene.unix("R/d/*"), "R/d/in.sock", LINK),
        (scene.unix("R/d/l.sock"), "R/d/l.sock", LINK),
        (scene.unix("R/d/**"), "R/d/linked/s.sock", LINK),
        (scene.unix("R/d/**"), "R/d/rootR/secret.sock", LINK),
        (scene.unix("/proc/self/fd/*"), "/proc/self/fd/0", LINK),
        (scene.unix("R/d/*"), "R/d/ready", "is not a socket"),
        (scene.unix("R/d/*"), "R/d/pipe", "is not a socket"),
        (scene.unix("R/d/*"), "R/d/sub", "is not a socket"),
        (scene.unix("/dev/*"), "/dev/null", "is not a socket"),
        (scene.unix("R/d/*"), "R/d/absent.sock", "there is no socket"),
        (scene.unix("R/d/*"), "R/d/%2e%2e/secret.sock", UNGRANTED),
        (scene.unix("R/d/*"), "R/d/datagrams", ""),
        (scene.unix("R/d/*"), &long, "can't be read"),
    ];
    let host = host();
    let outcome = attempt(&host, &scene.unix("R/d/*"), &connect(&scene.path("R/d//s.sock"))).await;
    assert_eq!(said(&outcome), "GOT IN");
    assert!(open.accept().is_ok());
    let mut complaints = Vec::new();
    for (grants, path, words) in &table {
        let path = scene.path(path);
        let said = said(&attempt(&host, grants, &connect(&path)).await);
        println!("{path:?}: {said}");
        if said == "GOT IN" || said == "timed out" || !said.contains(words) {
            complaints.push(format!("{path:?}: {said}"));
        }
    }
    println!("{} attempts by socket", table.len());
    for listener in listeners.iter().chain([&open]) {
        assert!(listener.accept().is_err(), "somebody came to {listener:?}");
    }
    datagrams.set_nonblocking(true).unwrap();
    assert!(datagrams.recv(&mut [0; 9]).is_err());
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn link_swapped_in_for_a_socket_leads_nowhere() {
    let scene = Scene::new();
    let secret = UnixListener::bind(scene.root.join("secret.sock")).unwrap();
    let open = UnixListener::bind(scene.root.join("open.sock")).unwrap();
    for listener in [&secret, &open] {
        listener.set_nonblocking(true).unwrap();
    }
    let target = scene.root.join("open.sock");
    // A hard link to the granted socket.
    let one = move |at: &Path| fs::hard_link(&target, at).unwrap();
    let _swapper = Swapper::start(&scene.root.join("d/s.sock"), one, |at| symlink("../secret.sock", at).unwrap());
    let host = host();
    let (grants, path) = (scene.unix("R/d/*"), scene.path("R/d/s.sock"));
    let plugin = connect(&path);
    let (mut came, mut refused) = (0, 0);
    let end = Instant::now() + PATIENCE;
    while came + refused < 400 || came == 0 || refused == 0 {
        assert!(Instant::now() < end, "nothing was swapped: {came} connections, {refused} refusals");
        let said = said(&attempt(&host, &grants, &plugin).await);
        refused += usize::from(said.contains(LINK));
        came += usize::from(open.accept().is_ok());
        assert!(secret.accept().is_err(), "connected to where the link leads");
    }
    println!("{came} connections to the socket, {refused} refusals of the link");
}
