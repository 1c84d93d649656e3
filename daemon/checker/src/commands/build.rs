//! `vouchd plugin build`: builds the `.wasm` of a project by the recipe of its language.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use clap::Args;
use vouchd_config::{Limits, Param};
use vouchd_plugin::declared_params;

use super::inspect::examine;
use super::project::{MANIFEST, Project};
use super::recipe;
use vouchd_console::output::print;

#[derive(Debug, Args)]
pub(crate) struct BuildArgs {
    /// The project's directory, as created by `vouchd plugin new`
    #[arg(default_value = ".")]
    dir: PathBuf,
}

pub(crate) fn build(args: &BuildArgs) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let project = Project::open(&args.dir)?;
    let out = Path::new("build").join(&project.manifest.name).with_extension("wasm");
    let built = project.dir.join(&out);
    fs::create_dir_all(project.dir.join("build"))?;
    recipe::make(&project, &out)?;

    let bytes = fs::read(&built).with_context(|| format!("the build made no {}", out.display()))?;
    let bytes = with_params(bytes, &project.manifest.params)?;
    fs::write(&built, bytes)?;
    let found = examine(&built, &Limits::default(), Some(&project.cache()))?;
    if let Some(why) = found.unusable_because() {
        bail!("{} was built, but can't be used as a plugin: {why}", out.display());
    }
    if let Some(why) = found.params_error() {
        bail!("{} was built, but the declaration of its parameters can't be read: {why}", out.display());
    }
    // Renamed rather than written, since a test or a daemon may be watching the file. An unusable build does not replace it.
    fs::rename(&built, project.plugin())?;
    let took = started.elapsed().as_secs_f64();
    print(format!("{}.wasm: {}, built in {took:.1} s\n", project.manifest.name, found.summary()))?;
    Ok(ExitCode::SUCCESS)
}

/// Adds the declaration of these parameters to the file.
fn with_params(mut file: Vec<u8>, params: &[Param]) -> anyhow::Result<Vec<u8>> {
    if params.is_empty() {
        return Ok(file);
    }
    ensure!(file.starts_with(b"\0asm"), "the build is not a WebAssembly file");
    if declared_params(&file)?.is_some() {
        bail!("the code declares its parameters itself: remove [[param]] from {MANIFEST}");
    }
    const SECTION: &str = "vouchd:params";
    let mut section = Vec::new();
    leb128(SECTION.len(), &mut section);
    section.extend(SECTION.as_bytes());
    section.extend(serde_json::to_vec(params)?);
    // The id of a custom section, in modules and in components.
    file.push(0);
    leb128(section.len(), &mut file);
    file.extend(section);
    Ok(file)
}

fn leb128(mut number: usize, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push((number & 0x7f | 0x80) as u8);
        number >>= 7;
    }
    out.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_of_the_project_can_be_read_from_the_built_file() {
        let doc = "x".repeat(300);
        let json = format!(r#"[{{"name": "address", "type": "text", "required": true, "doc": "{doc}"}}]"#);
        let params: Vec<Param> = serde_json::from_str(&json).unwrap();
        for header in [b"\0asm\x01\0\0\0", b"\0asm\x0d\0\x01\0"] {
            let file = with_params(header.to_vec(), &params).unwrap();
            assert_eq!(declared_params(&file).unwrap().as_ref(), Some(&params));
            let error = with_params(file, &params).unwrap_err().to_string();
            assert!(error.contains("remove [[param]]"), "{error}");
        }
        assert_eq!(with_params(vec![1], &[]).unwrap(), [1]);
        assert!(with_params(vec![1], &params).is_err());
    }
}
