//! Authentication by HMAC: keys in the configuration and in files, modes, rotation.
#![expect(clippy::disallowed_methods, reason = "a test may read and write files")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use vouchd_config::{Config, FileText, Files, HmacMode, Host, resolve};
use vouchd_wire::Version;

use crate::errors;

fn instance(auth: &str) -> String {
    format!("[instance.web]\ninterface = \"eth0\"\nvirtual_router_id = 55\naddresses = [\"192.0.2.1\"]\n{auth}\n")
}

fn key() -> String {
    "0123456789abcdef".repeat(4)
}

fn with_key(rest: &str) -> String {
    instance(&format!("auth = {{ type = \"hmac\", keys = [{{ id = 1, hex = \"{}\" }}]{rest} }}", key()))
}

fn valid(text: &str) -> Config {
    resolve(vec![("v.toml".into(), text.to_owned())]).unwrap_or_else(|errors| panic!("{errors}"))
}

/// The files of a configuration that names `/etc/vouchd/vrrp.key` with these contents.
fn with_key_file(contents: Result<&str, &str>) -> Files {
    let text = instance("auth = { type = \"hmac\", keys = [{ id = 7, file = \"/etc/vouchd/vrrp.key\" }] }");
    let file = |path: &str, text: Result<Vec<u8>, String>| FileText { path: path.into(), text, access: None };
    let mut files = Files::alone(file("v.toml", Ok(text.into_bytes())));
    let contents = contents.map(|text| text.as_bytes().to_vec()).map_err(str::to_owned);
    files.keys = files.key_files().iter().map(|path| file(&path.to_string_lossy(), contents.clone())).collect();
    files
}

#[test]
fn keys_modes_and_times_are_read() {
    let config = valid(&with_key(""));
    let hmac = config.instances[0].hmac.as_ref().expect("HMAC");
    assert_eq!((hmac.keys[0].id, hmac.keys[0].secret.len(), hmac.active_key), (1, 32, 1));
    assert_eq!((hmac.mode, hmac.anti_replay, hmac.time_window), (HmacMode::Require, true, None));
    assert!(config.warnings.iter().all(|warning| !warning.to_string().contains("HMAC")) && config.notes.is_empty());

    let second = "fe".repeat(64);
    let text = instance(&format!(
        "version = 3\nauth = {{ type = \"hmac\", keys = [{{ id = 1, hex = \"{}\" }}, {{ id = 255, hex = \"{second}\" }}], \
         active_key = 255, mode = \"accept\", anti_replay = false, time_window = \"30s\" }}",
        key()
    ));
    let config = valid(&text);
    let instance = &config.instances[0];
    let hmac = instance.hmac.as_ref().expect("HMAC");
    assert_eq!(instance.version, Version::V3);
    assert_eq!((hmac.active_key, hmac.keys[1].secret.clone()), (255, vec![0xfe; 64]));
    assert_eq!((hmac.mode, hmac.anti_replay), (HmacMode::AcceptEither, false));
    assert_eq!(hmac.time_window, Some(Duration::from_secs(30)));
}

#[test]
fn mode_of_a_roll_out_gets_a_note_with_the_next_one() {
    for (mode, read, next) in [
        ("receive", HmacMode::ReceiveOnly, Some("The next mode is \"accept\"")),
        ("send", HmacMode::SendOnly, Some("The next mode is \"require\"")),
        ("accept", HmacMode::AcceptEither, Some("The next mode is \"require\"")),
        ("require", HmacMode::Require, None),
    ] {
        let config = valid(&with_key(&format!(", mode = \"{mode}\"")));
        assert_eq!(config.instances[0].hmac.as_ref().map(|hmac| hmac.mode), Some(read));
        let note = config.notes.first().map(|note| note.message.as_str());
        assert_eq!(note.is_some(), next.is_some(), "{mode}: {note:?}");
        assert!(note.zip(next).is_none_or(|(note, next)| note.contains(next)), "{mode}: {note:?}");
    }
}

#[test]
fn routed_peer_without_hmac_gets_a_note() {
    let unicast = "unicast = { source = \"192.0.2.11\", peers = [{ address = \"198.51.100.12\", hop_limit = 250 }] }";
    let noted = |text: &str| valid(text).notes.iter().any(|note| note.message.contains("hop_limit below 255"));
    assert!(noted(&instance(unicast)));
    assert!(!noted(&instance(&unicast.replace("250", "255"))));
    assert!(!noted(&format!("{}{unicast}\n", with_key(""))));
}

#[test]
fn mistake_in_auth_is_one_error_with_its_place() {
    let one = format!("type = \"hmac\", keys = [{{ id = 1, hex = \"{}\" }}]", key());
    let two = format!("keys = [{{ id = 1, hex = \"{0}\" }}, {{ id = 1, hex = \"{1}\" }}]", key(), "fe".repeat(32));
    for (auth, column, words) in [
        ("type = \"hmac\"".to_owned(), 1, "`keys` is missing"),
        ("type = \"hmac\", keys = []".to_owned(), 32, "at least one key"),
        ("type = \"hmac\", keys = [1]".to_owned(), 33, "a table, like { id = 1, file"),
        ("type = \"hmac\", keys = [{ id = 1 }]".to_owned(), 33, "`file` is missing"),
        (format!("type = \"hmac\", keys = [{{ hex = \"{}\" }}]", key()), 33, "`id` is missing"),
        (format!("type = \"hmac\", keys = [{{ id = 0, hex = \"{}\" }}]", key()), 40, "from 1 to 255"),
        (format!("type = \"hmac\", keys = [{{ id = 256, hex = \"{}\" }}]", key()), 40, "from 1 to 255"),
        ("type = \"hmac\", keys = [{ id = 1, hex = \"00ff\" }]".to_owned(), 49, "32 to 64 bytes as hexadecimal"),
        (format!("type = \"hmac\", keys = [{{ id = 1, hex = \"{}0\" }}]", key()), 49, "32 to 64 bytes"),
        (format!("type = \"hmac\", keys = [{{ id = 1, hex = \"{}\" }}]", "g".repeat(64)), 49, "32 to 64 bytes"),
        ("type = \"hmac\", keys = [{ id = 1, file = \"vrrp.key\" }]".to_owned(), 50, "absolute path"),
        ("type = \"hmac\", keys = [{ id = 1, fiel = \"/k\" }]".to_owned(), 33, "`file` is missing"),
        (
            format!("type = \"hmac\", keys = [{{ id = 1, file = \"/k\", hex = \"{}\" }}]", key()),
            56,
            "the key is in a file too",
        ),
        (format!("type = \"hmac\", {two}"), 119, "another key with the id 1"),
        (format!("{one}, active_key = 2"), 0, "no key has this id"),
        (format!("{one}, mode = \"enforce\""), 0, "\"receive\" or \"send\""),
        (format!("{one}, time_window = \"0s\""), 0, "from 1s to 5m"),
        (format!("{one}, time_window = 30"), 0, "a duration with its unit"),
        (format!("{one}, anti_replay = \"yes\""), 0, "expected true or false"),
        (format!("{one}, password = \"1\""), 0, "unknown key"),
        ("type = \"pass\", password = \"1\", keys = []".to_owned(), 0, "unknown key"),
    ] {
        let errors = errors(&[("v.toml", &instance(&format!("auth = {{ {auth} }}")))]);
        let shown = errors.to_string();
        // An unknown key may be the misspelt one that is missing.
        assert!(errors.problems().len() == 1 || auth.contains("fiel"), "{auth}\n{shown}");
        assert!(shown.contains(words), "{words:?} expected:\n{shown}");
        assert!(column == 0 || shown.starts_with(&format!("v.toml:5:{column}: ")), "{column} expected:\n{shown}");
        assert!(!shown.contains(&key()[..8]), "no message shows a key:\n{shown}");
    }
}

#[test]
fn key_is_read_from_a_file_and_a_file_without_one_is_an_error() {
    let hex = format!("hex:{}\n", key());
    for (contents, length) in [(hex.as_str(), 32), (&key(), 64), ("correct-horse-battery-staple-1234\n", 33)] {
        let config = with_key_file(Ok(contents)).resolve().unwrap_or_else(|errors| panic!("{errors}"));
        let hmac = config.instances[0].hmac.as_ref().expect("HMAC");
        assert_eq!((hmac.active_key, hmac.keys[0].secret.len()), (7, length));
        assert_eq!(format!("{:?}", hmac.keys), "[HmacKey { id: 7, .. }]", "no log shows a key");
    }
    for (contents, words) in [
        (Ok("geheim"), "/etc/vouchd/vrrp.key: it has 6 characters; expected a key of 32 to 64"),
        (Ok(""), "it has 0 characters"),
        (Err("there is no such file; create it, or name another one"), "/etc/vouchd/vrrp.key: there is no such file"),
    ] {
        let errors = with_key_file(contents).resolve().expect_err("it has no key");
        let shown = errors.to_string();
        assert_eq!(errors.problems().len(), 1, "{shown}");
        assert!(shown.starts_with("v.toml:5:50: ") && shown.contains(words) && !shown.contains("geheim"), "{shown}");
    }
}

#[test]
fn changed_key_file_is_another_configuration() {
    let (first, second) = ("a".repeat(32), "b".repeat(32));
    let read = |text: &str| with_key_file(Ok(text));
    assert!(read(&first) == read(&first) && read(&first) != read(&second));
    let instances = |text: &str| read(text).resolve().expect("valid").instances;
    assert_ne!(instances(&first), instances(&second), "a reload applies it");
}

#[test]
fn key_files_are_those_that_any_file_names() {
    let main =
        instance("auth = { type = \"hmac\", keys = [{ id = 1, file = \"/a\" }, { id = 2, file = \"relative\" }] }");
    let drop_in = instance("[instance.web.auth]\ntype = \"hmac\"\n[[instance.web.auth.keys]]\nfile = \"/b\"");
    let file = |path: &str, text: &str| FileText { path: path.into(), text: Ok(text.into()), access: None };
    let files = Files::alone(file("v.toml", &main));
    let files = files.with_drop_in(Path::new("b.toml"), file("b.toml", &drop_in));
    let files = files.with_drop_in(Path::new("c.toml"), file("c.toml", "not TOML = = /c"));
    assert_eq!(files.key_files(), [PathBuf::from("/a"), PathBuf::from("/b")]);
}

/// A pipe could keep the daemon waiting, and a device may have no end.
#[test]
fn key_file_has_to_be_a_regular_file_that_only_the_daemon_can_read() {
    let dir = tempfile::tempdir().expect("a directory");
    let (main, key_file) = (dir.path().join("vouchd.toml"), dir.path().join("vrrp.key"));
    let auth =
        |path: &Path| format!("auth = {{ type = \"hmac\", keys = [{{ id = 1, file = \"{}\" }}] }}", path.display());
    fs::write(&main, instance(&auth(&key_file))).expect("written");
    fs::write(&key_file, key()).expect("written");
    let warned = |mode| {
        fs::set_permissions(&key_file, fs::Permissions::from_mode(mode)).expect("changed");
        let config = vouchd_config::load(&main).unwrap_or_else(|errors| panic!("{errors}"));
        let found = config.check_host(&Host::default()).warnings;
        found.iter().map(ToString::to_string).any(|shown| shown.contains("every user of this host can read the key"))
    };
    assert!(warned(0o644) && !warned(0o640));
    // The configuration itself may be public, unless it has the key.
    fs::set_permissions(&main, fs::Permissions::from_mode(0o644)).expect("changed");
    let is_warned = || {
        let config = vouchd_config::load(&main).unwrap_or_else(|errors| panic!("{errors}"));
        let found = config.check_host(&Host::default()).warnings;
        found.iter().map(ToString::to_string).any(|shown| shown.contains("can read the password or key"))
    };
    assert!(!is_warned());
    fs::write(&main, with_key("")).expect("written");
    assert!(is_warned());
    for (path, words) in [
        ("/dev/zero", "it is not a regular file"),
        ("/dev", "it is not a regular file"),
        ("/no/such/file", "there is no such file"),
    ] {
        fs::write(&main, instance(&auth(Path::new(path)))).expect("written");
        let shown = vouchd_config::load(&main).expect_err("no key").to_string();
        assert!(shown.contains(words), "{path}: {shown}");
    }
}
