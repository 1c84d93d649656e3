//! The manual and the examples are valid configurations, and the manual knows every key.
#![expect(clippy::disallowed_methods, reason = "a test may read and write files")]

use std::fs;
use std::path::{Path, PathBuf};

use vouchd_config::{FileText, Files, resolve};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    let path = repository().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The fenced blocks of type `toml`.
fn toml_blocks(manual: &str) -> Vec<String> {
    let after_fences = manual.split("\n```toml\n").skip(1);
    after_fences.map(|rest| rest.split("\n```").next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn every_toml_block_of_the_manual_is_valid() {
    for (manual, blocks) in [("docs/configuration.md", 8), ("docs/checks.md", 2)] {
        let found = toml_blocks(&read(manual));
        assert_eq!(found.len(), blocks, "blocks in {manual}");
        for text in found {
            let file = |path: PathBuf, text: &str| FileText { path, text: Ok(text.into()), access: None };
            let mut files = Files::alone(file(manual.into(), &text));
            let key = "0123456789abcdef".repeat(4);
            files.keys = files.key_files().into_iter().map(|path| file(path, &key)).collect();
            if let Err(errors) = files.resolve() {
                panic!("{errors}\nin\n{text}");
            }
        }
    }
}

#[test]
fn every_plugin_in_the_manual_has_a_valid_example() {
    let manual = read("docs/plugins.md");
    let sections = manual.split("\n## ").skip(1).map(|section| (section.lines().next().unwrap_or_default(), section));
    // Other sections have headings of several words.
    for (plugin, section) in sections.filter(|(heading, _)| !heading.contains(' ')) {
        let blocks = toml_blocks(section);
        assert!(!blocks.is_empty(), "{plugin} has an example");
        for text in blocks {
            assert!(text.contains(&format!("plugin = \"{plugin}\"")), "an example of {plugin}:\n{text}");
            if let Err(errors) = resolve(vec![("docs/plugins.md".into(), text.clone())]) {
                panic!("{errors}\nin\n{text}");
            }
        }
    }
}

#[test]
fn manual_names_every_key() {
    let manual = read("docs/configuration.md");
    for table in [
        "[x]",
        "[daemon]\nx = 1",
        "[check.c]\nplugin = \"p\"\nx = 1",
        "[check.c]\nplugin = \"p\"\nallow = { x = 1 }",
        "[check.c]\nplugin = \"p\"\nlimits = { x = 1 }",
        "[instance.i]\nx = 1",
        "[instance.i]\nauth = { type = \"pass\", password = \"1\", x = 1 }",
        "[instance.i]\nauth = { type = \"hmac\", keys = [], x = 1 }",
        "[instance.i]\nauth = { type = \"hmac\", keys = [{ x = 1 }] }",
        "[instance.i]\ngarp = { x = 1 }",
        "[instance.i]\nunicast = { x = 1 }",
        "[instance.i]\nmulticast = { x = 1 }",
        "[instance.i]\nvirtual_mac = { x = 1 }",
        "[instance.i]\naddresses = [{ x = 1 }]",
        "[instance.i]\ntrack = [{ x = 1 }]",
        "[group.g]\nx = 1",
    ] {
        let errors = resolve(vec![("v.toml".into(), table.to_owned())]).expect_err("x is no key");
        let unknown = errors.problems().iter().find_map(|p| p.message.split("expected one of: ").nth(1));
        for key in unknown.expect("the keys that there are").split(", ") {
            let named = manual.contains(&format!("`{key}`"))
                || manual.contains(&format!("{key} = "))
                || manual.contains(&format!("`[{key}"));
            assert!(named, "docs/configuration.md does not name {key}");
        }
    }
}

/// A key in a table that does not have it gets a hint that names the right table.
#[test]
fn every_key_belongs_to_a_known_table() {
    for (table, belongs) in [
        ("[daemon]\nx = 1", "[daemon]"),
        ("[check.c]\nplugin = \"p\"\nx = 1", "a check"),
        ("[instance.i]\nx = 1", "an instance"),
    ] {
        let errors = resolve(vec![("v.toml".into(), table.to_owned())]).expect_err("x is no key");
        let known = errors.problems().iter().find_map(|p| p.message.split("expected one of: ").nth(1));
        // These have the same name in several tables, in keepalived, or are not available yet.
        let others = ["name", "user", "metrics", "startup_delay"];
        for key in known.expect("the keys that there are").split(", ").filter(|key| !others.contains(key)) {
            let text = format!("{key} = 1\n");
            let errors = resolve(vec![("v.toml".into(), text)]).expect_err("the root has none of them");
            assert!(errors.to_string().contains(&format!("it belongs to {belongs}")), "{errors}");
        }
    }
}

#[test]
fn examples_are_valid_and_give_no_warning() {
    let shipped = ["process", "http", "tcp"].map(str::to_owned);
    let mut seen = 0;
    for machine in ["nginx01", "nginx02"] {
        let dir = repository().join("examples/nginx-ha").join(machine);
        for entry in fs::read_dir(&dir).expect("the example's folder") {
            let path = entry.expect("an entry").path();
            if path.extension().is_none_or(|e| e != "toml") {
                continue;
            }
            let config = vouchd_config::load(&path).unwrap_or_else(|errors| panic!("{errors}"));
            assert!(config.warnings.is_empty(), "{:?}", config.warnings);
            config.check_plugins(&shipped).unwrap_or_else(|errors| panic!("{errors}"));
            assert_eq!(config.daemon.name.as_deref(), Some(machine));
            seen += 1;
        }
    }
    assert_eq!(seen, 6, "three set-ups on two machines");
}
