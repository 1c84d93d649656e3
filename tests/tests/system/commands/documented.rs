//! The commands in the manual, the README and the examples exist, with their options.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, iter};

use vouchd_tests::vouchd::binary;

fn pages(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if path.is_dir() && name != "target" && name != "node_modules" {
            pages(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "md" || extension == "service") {
            found.push(path);
        }
    }
}

/// The words of a command in a line of a shell or between backquotes. Most placeholders (`[--json]`, `FILE`) stay as they
/// are. A quoted value ends the command, and is replaced by a word.
fn words(command: &str) -> Vec<String> {
    let end = command.find(['#', '|', '>', '<', ';', '&', '`', '\'', '"']).unwrap_or(command.len());
    let value = command[end..].starts_with(['\'', '"']).then_some("VALUE");
    let words = command[..end].split_whitespace().chain(value).map(|word| word.replace(['[', ']'], ""));
    // The placeholder of `--lang L`, which accepts only known languages.
    words.map(|word| if word == "L" { "rust".to_owned() } else { word }).collect()
}

/// What the help of a command is, and whether it has one: clap rejects an unknown option or command before it.
fn help(words: &[String]) -> (bool, String) {
    let command = Command::new(binary()).args(words).arg("--help").output().expect("vouchd starts");
    (command.status.success(), String::from_utf8_lossy(&command.stdout).into_owned())
}

fn commands_of(text: &str) -> Vec<Vec<String>> {
    let spans = text.split('`').skip(1).step_by(2).filter(|span| !span.contains('\n'));
    let starts = ["", "$ ", "sudo ", "watch -n 0.5 ", "ExecStart=/usr/bin/"];
    let lines = text.lines().filter_map(|line| {
        starts.iter().find_map(|start| line.trim_start().strip_prefix(start)?.strip_prefix("vouchd "))
    });
    spans.filter_map(|span| span.strip_prefix("vouchd ")).chain(lines).map(words).collect()
}

#[test]
fn documented_commands_exist_with_their_options() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut files = vec![root.join("README.md"), root.join("CONTRIBUTING.md")];
    for directory in ["docs", "examples", "packaging"] {
        pages(&root.join(directory), &mut files);
    }
    let (_, overview) = help(&[]);
    let known: Vec<&str> = overview
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(known.contains(&"run") && known.contains(&"plugin"), "{overview}");
    let mut checked = 0;
    let mut wrong = Vec::new();
    for file in files {
        for words in commands_of(&fs::read_to_string(&file).unwrap()) {
            // Not "vouchd 0.1.0, pid 4711" and other things that it prints.
            if words.first().is_some_and(|word| known.contains(&word.as_str())) {
                checked += 1;
                if !help(&words).0 {
                    wrong.push(format!("{}: vouchd {}", file.display(), words.join(" ")));
                }
            }
        }
    }
    assert!(checked >= 30, "only {checked} commands found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn help_names_only_commands_that_exist() {
    let (_, overview) = help(&[]);
    let examples: Vec<_> = overview.lines().filter_map(|line| line.trim_start().strip_prefix("vouchd ")).collect();
    assert!(examples.len() >= 5 && overview.contains("Exit status: 0 done"), "{overview}");
    for example in examples {
        let words: Vec<_> = example.split("  ").next().into_iter().flat_map(words).collect();
        assert!(help(&words).0, "vouchd {example}");
    }
    let unknown: Vec<String> = iter::once("no-such-command".to_owned()).collect();
    assert!(!help(&unknown).0, "an unknown command has no help");
}
