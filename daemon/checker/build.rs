//! Embeds the SDKs and the templates of `vouchd plugin new` into the binary, so that an author needs no other files.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Files of `sdk/` that are copied into projects: directory and file name extensions.
const PARTS: [(&str, &[&str]); 10] = [
    ("wit", &["wit"]),
    ("rust", &["toml"]),
    ("rust/src", &["rs"]),
    ("c", &["h", "hpp"]),
    ("zig", &["zig"]),
    ("go", &["go", "mod"]),
    ("go/checktest", &["go"]),
    ("python", &["py"]),
    ("javascript", &["js", "ts", "json"]),
    ("assemblyscript", &["ts", "mjs"]),
];

fn main() {
    let sdk = Path::new(&std::env::var("CARGO_MANIFEST_DIR").expect("set by cargo")).join("../../sdk");
    let mut files = Vec::new();
    for (directory, endings) in PARTS {
        println!("cargo::rerun-if-changed={}", sdk.join(directory).display());
        let mut listed = list(&sdk.join(directory));
        // Modules may be in subdirectories.
        if directory == "rust/src" {
            listed.clear();
            walk(&sdk.join(directory), &mut listed);
        }
        files.extend(listed.into_iter().filter(|file| file.is_file() && ends(file, endings) && !is_test(file)));
    }
    let templates = sdk.join("templates");
    println!("cargo::rerun-if-changed={}", templates.display());
    for language in list(&templates) {
        walk(&language, &mut files);
    }
    let mut table = "&[\n".to_owned();
    for file in files {
        let file = file.canonicalize().expect("a file that was listed");
        let name = file.strip_prefix(sdk.canonicalize().expect("sdk")).expect("a file of the SDK");
        writeln!(table, "    ({:?}, include_str!({:?})),", name, file).expect("a text");
    }
    table.push_str("]\n");
    let out = PathBuf::from(std::env::var("OUT_DIR").expect("set by cargo"));
    fs::write(out.join("sdk.rs"), table).expect("writing to OUT_DIR");
}

fn list(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths
}

fn walk(path: &Path, files: &mut Vec<PathBuf>) {
    if path.is_dir() {
        list(path).iter().for_each(|path| walk(path, files));
    } else {
        files.push(path.to_owned());
    }
}

fn ends(file: &Path, endings: &[&str]) -> bool {
    file.extension().is_some_and(|ending| endings.iter().any(|known| ending == *known))
}

/// Whether the file is a test of the SDK, or is used only for its development.
fn is_test(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with("test_")
        || name.ends_with("_test.go")
        || name.contains(".test.")
        || name.starts_with("tsconfig")
        || name == "package-lock.json"
}
