//! Files of any kind given to the commands and the daemon: no command panics, all agree, and whatever lies in the place of
//! a plugin is named.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use anyhow::{Context, ensure};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use vouchd_tests::corpus;
use vouchd_tests::corpus::peers::Peers;
use vouchd_tests::guest::Guest;
use vouchd_tests::pair::VRID;
use vouchd_tests::site::INTERFACE;
use vouchd_tests::vouchd::{Files, Vouchd, binary};
use vouchd_tests::wait::until;
use vouchd_tests::{Need, Node, VIP, requirements, system_test};

/// A plugin that passes, with these module fields.
fn guest(fields: &str) -> Vec<u8> {
    Guest::new("").top(fields).module()
}

/// A section that declares parameters.
fn params(json: &str) -> String {
    format!("(@custom \"vouchd:params\" \"{}\")", json.replace('"', "\\\""))
}

/// Runs a command on a file, and checks that it ends with a documented exit status and without a panic.
fn command(words: &[&str], file: &Path) -> Output {
    let output =
        Command::new(binary()).args(words).arg(file).env("VOUCHD_LOG", "error").stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(0..=2)), "{words:?} {}: {}: {said}", file.display(), output.status);
    assert!(!said.contains("panicked at"), "{words:?} {}: {said}", file.display());
    output
}

/// Plugins with bad declarations, or a start function that traps.
fn declared() -> Vec<(String, Vec<u8>)> {
    let long = format!(r#"[{{"name": "a", "type": "text", "doc": "{}"}}]"#, "x".repeat(5 << 20));
    let one = r#"[{"name": "a", "type": "text"}]"#;
    let declared = [
        ("a doc of 5 MB", guest(&params(&long))),
        ("parameters that are no JSON", guest(&params("x"))),
        ("parameters of another type", guest(&params("{}"))),
        ("parameters twice", guest(&format!("{}{}", params(one), params(one)))),
        ("parameters twice, the first unreadable", guest(&format!("{}{}", params("x"), params(one)))),
        ("a start that traps", guest("(func $trap unreachable) (start $trap)")),
    ];
    declared.into_iter().map(|(name, bytes)| (name.replace([' ', ','], "-"), bytes)).collect()
}

/// Files of every kind, by a name for each.
fn all_files() -> BTreeMap<String, Vec<u8>> {
    // Large files take seconds to compile. The host's own tests cover them.
    let corpus = corpus::all(&Peers::nobody()).into_iter().filter(|file| file.bytes.len() < 50_000);
    corpus.map(|file| (file.slug(), file.bytes)).collect()
}

/// Does `work` for every file, two at a time.
fn for_each(files: &BTreeMap<String, PathBuf>, work: impl Fn(&str, &Path) + Sync) {
    let files: Vec<_> = files.iter().collect();
    thread::scope(|scope| {
        for part in files.chunks(files.len().div_ceil(2)) {
            scope.spawn(|| part.iter().for_each(|(name, file)| work(name, file)));
        }
    });
}

/// Writes every `step`th file to a new directory.
fn written(dir: &Path, step: usize) -> BTreeMap<String, PathBuf> {
    fs::create_dir(dir).unwrap();
    let write = |(name, bytes): (String, Vec<u8>)| {
        let file = dir.join(&name).with_extension("wasm");
        fs::write(&file, bytes).unwrap();
        (name, file)
    };
    all_files().into_iter().step_by(step).chain(declared()).map(write).collect()
}

#[test]
fn inspect_judges_every_file_as_the_daemon_does() {
    assert_eq!(requirements::not_built(&[Need::Vouchd]), None);
    let dir = tempfile::tempdir().unwrap();
    let files = written(&dir.path().join("plugins"), 3);
    let config = dir.path().join("vouchd.toml");
    let text = format!(
        "[daemon]\ncontrol = \"{0}/none.sock\"\nplugin_dir = \"{0}/plugins\"\nbuiltin_plugin_dir = \"{0}/none\"\n",
        dir.path().display()
    );
    fs::write(&config, text).unwrap();
    let listed = command(&["plugin", "list", "--json", "--config"], &config);
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    let daemon: BTreeMap<_, _> =
        listed.as_array().unwrap().iter().map(|plugin| (plugin["name"].as_str().unwrap(), plugin)).collect();
    let wrong = Mutex::new(Vec::new());
    for_each(&files, |name, file| {
        let inspected = command(&["plugin", "inspect", "--json"], file);
        let found: serde_json::Value = serde_json::from_slice(&inspected.stdout).unwrap();
        let usable = inspected.status.success();
        let daemon = daemon.get(name).unwrap_or_else(|| panic!("{name} is not listed"));
        if daemon["error"].is_null() != usable || usable != found["error"].is_null() {
            let text = format!("{name}: the daemon reports {}, inspect {}", daemon["error"], found["error"]);
            wrong.lock().unwrap().push(text);
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{wrong:#?}");
    for (name, usable) in [("parameters-twice", true), ("a-doc-of-5-MB", true), ("a-start-that-traps", false)] {
        assert_eq!(daemon[name]["error"].is_null(), usable, "{}", daemon[name]);
    }
}

#[test]
fn no_file_makes_a_command_panic() {
    assert_eq!(requirements::not_built(&[Need::Vouchd]), None);
    let dir = tempfile::tempdir().unwrap();
    for_each(&written(&dir.path().join("plugins"), 1), |name, file| {
        command(&["plugin", "inspect"], file);
        if name.len() % 3 == 0 {
            command(&["plugin", "test", "--timeout", "50ms"], file);
        }
    });
}

#[test]
fn anything_but_a_regular_file_is_named_and_never_blocks() {
    assert_eq!(requirements::not_built(&[Need::Vouchd]), None);
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe.wasm");
    mkfifo(&pipe, Mode::S_IRWXU).unwrap();
    let socket = dir.path().join("socket.wasm");
    let _listener = UnixListener::bind(&socket).unwrap();
    let folder = dir.path().join("folder.wasm");
    fs::create_dir(&folder).unwrap();
    for (file, words) in [
        (pipe.as_path(), "is a named pipe, not a file"),
        (&socket, "is a socket, not a file"),
        (&folder, "is a directory, not a file"),
        (Path::new("/dev/zero"), "is a device, not a file"),
        (&dir.path().join("absent.wasm"), "No such file"),
    ] {
        let inspected = command(&["plugin", "inspect"], file);
        let said = String::from_utf8_lossy(&inspected.stderr).into_owned();
        assert!(said.contains(words) && !inspected.status.success(), "{}: {said}", file.display());
        if file != folder {
            let said = String::from_utf8_lossy(&command(&["plugin", "test"], file).stderr).into_owned();
            assert!(said.contains(words), "{}: {said}", file.display());
        }
    }
}

#[test]
fn status_names_what_lies_in_a_plugins_place_until_it_is_gone() {
    system_test("no regular file in a plugin's place", &[Need::Vouchd], |site| {
        let files = Files::without_builtins(site, Node::Nginx01)?;
        let place = files.plugin_dir().join("own.wasm");
        fs::write(&place, guest(""))?;
        let config = format!(
            "[check.own]\nplugin = \"own\"\n\n[instance.web]\ninterface = \"{INTERFACE}\"\nvirtual_router_id = {VRID}\n\
             addresses = [\"{VIP}\"]\nchecks = [\"own\"]\n"
        );
        let vouchd = Vouchd::start_with(site, Node::Nginx01, files.clone(), &config)?;
        let shows = |verdict: &str, words: &str| {
            until(&format!("{verdict} with the words `{words}`"), Duration::from_secs(15), || {
                vouchd.check("own").is_ok_and(|check| {
                    check["verdict"] == verdict && check["message"].as_str().is_some_and(|text| text.contains(words))
                })
            })
            .with_context(|| format!("{:?}", vouchd.check("own")))
        };
        shows("pass", "")?;
        fs::remove_file(&place)?;
        shows("error", "own.wasm was removed")?;
        mkfifo(&place, Mode::from_bits_truncate(0o644))?;
        shows("error", "it is a named pipe, not a file")?;
        fs::remove_file(&place)?;
        shows("error", "no plugin own: expected own.wasm in ")?;
        fs::create_dir(&place)?;
        shows("error", "it is a directory, not a file")?;
        fs::remove_dir(&place)?;
        std::os::unix::fs::symlink("own.wasm", &place)?;
        shows("error", "it is a link that leads back to itself")?;
        fs::remove_file(&place)?;
        std::os::unix::fs::symlink("/nowhere/own", &place)?;
        shows("error", "it is a link to /nowhere/own, which does not exist")?;
        fs::remove_file(&place)?;
        fs::write(&place, guest(""))?;
        shows("pass", "")?;
        let moved = files.plugin_dir().with_extension("moved");
        fs::rename(files.plugin_dir(), &moved)?;
        shows("error", &format!("the plugin directory {} does not exist any more", files.plugin_dir().display()))?;
        fs::rename(&moved, files.plugin_dir())?;
        shows("pass", "")?;
        ensure!(vouchd.plugin("own")?["error"].is_null(), "{:?}", vouchd.plugin("own"));
        Ok(())
    });
}
