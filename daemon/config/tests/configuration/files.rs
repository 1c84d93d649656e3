//! The main file and its drop-ins on disk, and files that can't be read.
#![expect(clippy::disallowed_methods, reason = "a test may read and write files")]

use std::fs;

use vouchd_config::{Config, load};

#[test]
fn drop_ins_are_read_beside_the_main_file_in_order() {
    let dir = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).expect("written");
    let main = dir.path().join("vouchd.toml");
    write("vouchd.toml", "[check.main]\nplugin = \"p\"\n");
    let names = |config: Config| config.checks.into_iter().map(|c| c.name).collect::<Vec<_>>();
    assert_eq!(names(load(&main).expect("without conf.d")), ["main"]);

    fs::create_dir(dir.path().join("conf.d")).expect("created");
    write("conf.d/20.toml", "[check.b]\nplugin = \"p\"\n");
    write("conf.d/10.toml", "[check.a]\nplugin = \"p\"\n");
    write("conf.d/.10.toml.swp", "not toml");
    write("conf.d/.30.toml", "not toml");
    write("conf.d/40.toml.bak", "not toml");
    let config = load(&main).expect("with drop-ins");
    assert_eq!(config.files.len(), 3);
    assert_eq!(names(config), ["main", "a", "b"]);

    write("conf.d/30.toml", "not toml");
    let shown = load(&main).expect_err("a broken drop-in").to_string();
    assert!(shown.contains("conf.d/30.toml:1:"), "{shown}");
    fs::remove_file(dir.path().join("conf.d/30.toml")).expect("removed");

    std::os::unix::fs::symlink("/dev/zero", dir.path().join("conf.d/30.toml")).expect("linked");
    let shown = load(&main).expect_err("a drop-in without end").to_string();
    assert!(shown.ends_with("conf.d/30.toml: can't be read: it is not a regular file"), "{shown}");
}

#[test]
fn missing_or_binary_file_is_an_error_with_its_place() {
    let dir = tempfile::tempdir().expect("a directory");
    let main = dir.path().join("vouchd.toml");
    let shown = load(&main).expect_err("missing").to_string();
    assert_eq!(shown, format!("{}: there is no such file; create it, or name another one", main.display()));
    let shown = load(dir.path()).expect_err("a directory").to_string();
    assert!(shown.ends_with(&format!("it is a directory; expected a file, like {}", main.display())), "{shown}");
    std::os::unix::fs::symlink("nowhere", &main).expect("linked");
    let shown = load(&main).expect_err("a link to nothing").to_string();
    assert_eq!(
        shown,
        format!("{}: it is a link to nowhere, which does not exist; create that file, or fix the link", main.display())
    );
    fs::remove_file(&main).expect("removed");
    // With line and column, because an editor shows nothing there.
    for (bytes, place, words) in [
        (&b"\xff"[..], "1:1", "the byte 0xFF is not UTF-8; expected text in UTF-8"),
        (b"# a\n[check.\xe4]\n", "2:8", "the byte 0xE4 is not UTF-8"),
        (b"# \xc3\xbc\n\xc3\xbc = 1\x00\n", "2:6", "a NUL byte"),
        (b"\xff\xfe[\0a\0]\0", "1:1", "UTF-16"),
        (b"\xff\xfe\0\0[\0\0\0a\0\0\0]\0\0\0", "1:1", "UTF-32"),
        (b"[\0\0\0a\0\0\0]\0\0\0", "1:2", "UTF-32"),
        (b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0>\0", "1:1", "this is a program"),
        (b"\x1f\x8b\x08", "1:1", "compressed with gzip"),
        (b"\0\0\0\0\0\0", "1:1", "a NUL byte"),
        (b"[\0a\0]\0", "1:2", "UTF-16"),
        (b"\0asm\x0d\0\x01\0", "1:1", "this is a WebAssembly file"),
    ] {
        fs::write(&main, bytes).expect("written");
        let shown = load(&main).expect_err("not text").to_string();
        assert!(shown.starts_with(&format!("{}:{place}: ", main.display())), "{place} expected:\n{shown}");
        assert!(shown.contains(words), "{words:?} expected:\n{shown}");
    }
    // A byte order mark is ignored and moves no column.
    for marks in ["\u{feff}", "\u{feff}\u{feff}"] {
        fs::write(&main, format!("{marks}colour = 1\n")).expect("written");
        let shown = load(&main).expect_err("an unknown key").to_string();
        assert!(shown.starts_with(&format!("{}:1:1: colour: unknown key", main.display())), "{shown}");
    }
}
