//! The documentation's links: every relative link, `#anchor` and path of a repository file leads somewhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

/// Directories without documentation of ours.
const SKIPPED: [&str; 4] = ["target", "node_modules", "venv", ".git"];
/// A code span that begins like this names a file or directory of the repository.
const ROOTS: [&str; 8] = ["daemon/", "docs/", "examples/", "packaging/", "plugins/", "sdk/", "tests/", "xtask/"];

/// # Errors
/// Lists every dead link of the repository's Markdown files.
pub fn check(root: &Path) -> anyhow::Result<()> {
    let mut pages = Vec::new();
    find_pages(root, &mut pages)?;
    let mut dead = Vec::new();
    for page in &pages {
        let text = fs::read_to_string(page).with_context(|| page.display().to_string())?;
        let shown = page.strip_prefix(root).unwrap_or(page).display();
        for (number, line) in prose(&text) {
            let links = links(line).into_iter().filter(|link| !leads_somewhere(page, link));
            let paths = paths(line).into_iter().filter(|path| !root.join(path).exists());
            dead.extend(links.chain(paths).map(|target| format!("{shown}:{number}: {target}")));
        }
    }
    ensure!(dead.is_empty(), "these links and paths lead nowhere:\n{}", dead.join("\n"));
    Ok(())
}

fn find_pages(directory: &Path, pages: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            if !SKIPPED.iter().any(|skipped| entry.file_name() == *skipped) {
                find_pages(&path, pages)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "md") {
            pages.push(path);
        }
    }
    Ok(())
}

/// The lines outside of fenced blocks, with their numbers.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    (1..).zip(text.lines()).filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

/// The targets of the links in a line of Markdown.
fn links(line: &str) -> Vec<&str> {
    line.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0)).collect()
}

/// The code spans of a line that name one file or directory of the repository.
fn paths(line: &str) -> Vec<&str> {
    let spans = line.split('`').skip(1).step_by(2);
    // A span with a placeholder, such as `plugins/NAME/` or `tests/*.pcap`, names no single file.
    let names_one = |span: &&str| {
        ROOTS.iter().any(|root| span.starts_with(root))
            && !span.contains(|c: char| c.is_whitespace() || c.is_uppercase() || "*{<…".contains(c))
    };
    spans.filter(names_one).collect()
}

fn leads_somewhere(page: &Path, link: &str) -> bool {
    if link.contains("://") || link.starts_with("mailto:") {
        return true;
    }
    let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = match file {
        "" => page.to_owned(),
        file => page.with_file_name(file),
    };
    if anchor.is_empty() {
        return target.exists();
    }
    fs::read_to_string(target).is_ok_and(|text| anchors(&text).contains(anchor))
}

/// The anchors that GitHub gives to the headings of a page.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for (_, heading) in prose(text).filter(|(_, line)| line.starts_with('#')) {
        let heading = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        let mut unique = anchor.clone();
        let mut repeated = 0;
        while !anchors.insert(unique.clone()) {
            repeated += 1;
            unique = format!("{anchor}-{repeated}");
        }
    }
    anchors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anchors_are_those_of_github() {
        let text = "# `[check.NAME]`\n```\n# no heading\n```\n## Counting: `rise`, `fall_x`\n## Again\n## Again\n";
        let expected = ["again", "again-1", "checkname", "counting-rise-fall_x"];
        assert_eq!(anchors(text).into_iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn links_and_paths_are_found_in_prose_only() {
        let text =
            "See [a](a.md#b) and [c](../c), `docs/a.md`, `plugins/NAME/` and `cargo test`.\n```sh\n[x](y)\n```\n";
        let lines: Vec<_> = prose(text).map(|(_, line)| line).collect();
        assert_eq!(lines.len(), 1);
        assert_eq!(links(lines[0]), ["a.md#b", "../c"]);
        assert_eq!(paths(lines[0]), ["docs/a.md"]);
    }

    #[test]
    fn dead_links_are_reported_with_their_place() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        fs::create_dir_all(root.join("docs")).unwrap();
        fs::write(root.join("README.md"), "# Top\n[good](docs/a.md#part) [dead](docs/a.md#other)\n`docs/b.md`\n")
            .unwrap();
        fs::write(root.join("docs/a.md"), "## Part\n[up](../README.md) [far](https://example.com) [gone](b.md)\n")
            .unwrap();
        let error = check(root).unwrap_err().to_string();
        for line in ["README.md:2: docs/a.md#other", "README.md:3: docs/b.md", "docs/a.md:2: b.md"] {
            assert!(error.contains(line), "{error}");
        }
        assert_eq!(error.lines().count(), 4, "{error}");
    }
}
