//! The commands in the manual, the README and the examples are ones that there are.

use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use clap::error::ErrorKind;

use crate::Cli;

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

/// The words of a command in a line of a shell or between backquotes, as far as they are its own. What stands for something
/// else (`[--json]`, `FILE`) is taken as it is.
fn words(command: &str) -> Vec<String> {
    let end = command.find(['#', '|', '>', '<', ';', '&', '`', '\'', '"']).unwrap_or(command.len());
    command[..end].split_whitespace().map(|word| word.replace(['[', ']'], "")).collect()
}

#[test]
fn every_command_in_the_manual_exists_with_its_options() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = vec![root.join("README.md"), root.join("CONTRIBUTING.md")];
    for directory in ["docs", "examples", "packaging"] {
        pages(&root.join(directory), &mut files);
    }
    let mut count = 0;
    let mut wrong = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let spans = text.split('`').skip(1).step_by(2).filter(|span| !span.contains('\n'));
        let starts = ["", "$ ", "sudo ", "watch -n 0.5 ", "ExecStart=/usr/bin/"];
        let lines = text.lines().filter_map(|line| {
            starts.iter().find_map(|start| line.trim_start().strip_prefix(start)?.strip_prefix("vouchd "))
        });
        for command in spans.filter_map(|span| span.strip_prefix("vouchd ")).chain(lines) {
            let words = words(command);
            // Not "vouchd 0.1.0, pid 4711" and other things that it prints.
            if !words
                .first()
                .is_some_and(|word| word.starts_with('-') || Cli::command().find_subcommand(word).is_some())
            {
                continue;
            }
            count += 1;
            let parsed = Cli::command().try_get_matches_from(std::iter::once("vouchd".to_owned()).chain(words));
            let kind = parsed.err().map(|error| error.kind());
            if matches!(kind, Some(ErrorKind::UnknownArgument | ErrorKind::InvalidSubcommand)) {
                wrong.push(format!("{}: vouchd {command}", file.display()));
            }
        }
    }
    assert!(count >= 30, "only {count} commands found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_help_names_only_commands_that_exist() {
    Cli::command().debug_assert();
    let help = Cli::command().render_long_help().to_string();
    for line in help.lines().filter_map(|line| line.trim_start().strip_prefix("vouchd ")) {
        let command = line.split("  ").next().unwrap_or_default();
        let words = std::iter::once("vouchd").chain(command.split_whitespace());
        assert!(Cli::command().try_get_matches_from(words).is_ok(), "{command}");
    }
    assert!(help.contains("Exit status: 0 done"), "{help}");
}
