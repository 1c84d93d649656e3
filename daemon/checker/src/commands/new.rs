//! `vouchd plugin new`: creates a project that builds and passes its tests. The SDK and the templates are in this binary, and
//! are copied into the project.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use super::project::{MANIFEST, check_name};
use vouchd_console::output::{complain_about, print};
use vouchd_languages::Language;

/// The files of the SDK and the templates: path below `sdk/`, and text.
static SDK: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/sdk.rs"));

#[derive(Debug, Args)]
pub(crate) struct NewArgs {
    /// The plugin's name: lower-case letters, digits, - and _
    name: String,
    /// The language of the check
    #[arg(long, value_enum)]
    lang: Language,
    /// The directory to create; must not exist yet [default: NAME]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(crate) fn new(args: &NewArgs) -> anyhow::Result<ExitCode> {
    if let Err(error) = check_name(&args.name) {
        complain_about(&error);
        return Ok(ExitCode::from(2));
    }
    let dir = args.dir.clone().unwrap_or_else(|| PathBuf::from(&args.name));
    // Fails if the directory exists, since it may hold somebody's work.
    fs::create_dir(&dir).with_context(|| format!("creating the directory {}", dir.display()))?;
    for (path, text) in files(args.lang, &args.name) {
        let file = dir.join(path);
        let parent = file.parent().unwrap_or(&dir);
        fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
        fs::write(&file, text).with_context(|| file.display().to_string())?;
    }
    let source = dir.join(args.lang.source());
    let (dir, source) = (dir.display(), source.display());
    print(format!(
        "created {dir}: a check in {}, {source}. Next steps, from its README.md:\n\n  cd {dir}\n  {}\n  vouchd plugin build\n  \
         vouchd plugin test\n",
        args.lang,
        args.lang.install(),
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// All files of a project.
fn files(language: Language, name: &str) -> Vec<(PathBuf, String)> {
    let fill = |text: &str| {
        let words = [
            ("{{name}}", name),
            ("{{language}}", &language.to_string()),
            ("{{word}}", language.word()),
            ("{{source}}", language.source()),
            ("{{install}}", &language.install()),
        ];
        words.iter().fold(text.to_owned(), |text, (word, meaning)| text.replace(word, meaning))
    };
    let templates = Path::new("templates").join(language.word());
    let mut files = Vec::new();
    for (path, text) in SDK {
        let path = Path::new(path);
        if let Ok(rest) = path.strip_prefix(&templates) {
            files.push((rest.to_owned(), fill(text)));
        } else if language.sdk().iter().any(|part| path.starts_with(part)) {
            let text = if path == Path::new("rust/Cargo.toml") { without_workspace(text) } else { (*text).to_owned() };
            files.push((Path::new("vouchd").join(path), text));
        }
    }
    let common = |name: &str| {
        let path = Path::new("templates/common").join(name);
        fill(SDK.iter().find(|(known, _)| Path::new(known) == path).map_or("", |(_, text)| text))
    };
    let params = if language.declares_params() { String::new() } else { common("params.toml") };
    files.push((MANIFEST.into(), common(MANIFEST) + &params));
    files.push(("test.toml".into(), common("test.toml")));
    files.push(("README.md".into(), common("README.md")));
    files.push((".gitignore".into(), "*.wasm\nbuild/\ntarget/\nvenv/\nnode_modules/\n".to_owned()));
    files
}

/// The manifest of the SDK's crate without its workspace, which a project does not have.
fn without_workspace(manifest: &str) -> String {
    let manifest = manifest.lines().filter(|line| !line.starts_with("workspace = "));
    let mut text = String::new();
    let mut in_lints = false;
    for line in manifest {
        in_lints = if line.starts_with('[') { line == "[lints]" } else { in_lints };
        if !in_lints {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    /// A `{{word}}` that was not replaced. C uses double braces too, but around other things.
    fn placeholder(text: &str) -> Option<&str> {
        let words = text.split("{{").skip(1).filter_map(|rest| Some(rest.split_once("}}")?.0));
        words.into_iter().find(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase()))
    }

    #[test]
    fn every_project_has_its_source_a_test_a_readme_and_no_placeholder() {
        for language in Language::value_variants() {
            let files = files(*language, "my-port");
            let text = |name: &str| {
                let file = files.iter().find(|(path, _)| path == Path::new(name));
                file.unwrap_or_else(|| {
                    panic!("{language}: no {name} in {:?}", files.iter().map(|f| &f.0).collect::<Vec<_>>())
                })
            };
            for name in [language.source(), MANIFEST, "test.toml", "README.md", ".gitignore"] {
                assert!(!text(name).1.is_empty(), "{language}: {name}");
            }
            assert!(text("README.md").1.contains(&language.install()), "{language}");
            for (path, text) in files.iter().filter(|(path, _)| !path.starts_with("vouchd")) {
                assert_eq!(placeholder(text), None, "{language}: {}", path.display());
            }
            assert!(files.iter().any(|(path, _)| path.starts_with("vouchd")), "{language}: no SDK");
            assert!(files.iter().all(|(path, _)| !path.starts_with("vouchd/templates")), "{language}");
        }
    }

    #[test]
    fn test_of_a_project_is_a_valid_script() {
        let (_, text) =
            files(Language::C, "port").into_iter().find(|(path, _)| path == Path::new("test.toml")).unwrap();
        let words = [("peer", "127.0.0.1:1".to_owned()), ("closed", "127.0.0.1:2".to_owned())];
        let script = vouchd_config::script::script("test.toml".into(), text, &words);
        assert_eq!(script.unwrap_or_else(|errors| panic!("{errors}")).runs.len(), 4);
    }

    #[test]
    fn crate_of_the_sdk_needs_no_workspace() {
        let manifest =
            "[package]\nname = \"a\"\nworkspace = \"..\"\n\n[dependencies]\nb = \"1\"\n\n[lints]\nworkspace = true\n";
        assert_eq!(without_workspace(manifest), "[package]\nname = \"a\"\n\n[dependencies]\nb = \"1\"\n\n");
    }
}
