//! `vouchd plugin inspect`: what a file is and what it needs. Loads and instantiates the file as the daemon does, without
//! running its check.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Args;
use serde::Serialize;
use vouchd_config::{Limits, Param};
use vouchd_plugin::{Host, HostSettings, Plugin, declared_params};

use vouchd_printable::printable;

use super::shared::{open_cache, resolve};
use crate::plugins::read::{read_named, sha256};
use vouchd_console::output::{print, print_json};
use vouchd_console::table::Table;

#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// The .wasm file
    file: PathBuf,
    /// Prints JSON
    #[arg(long)]
    json: bool,
    /// What the plugin may use, as in the configuration: '{ memory = "32MiB" }' [default: the defaults of a check]
    #[arg(long, value_name = "TOML")]
    limits: Option<String>,
}

/// What is known about a file.
#[derive(Debug, Serialize)]
pub(crate) struct Inspection {
    file: PathBuf,
    /// In bytes.
    size: usize,
    sha256: String,
    /// `None` if the daemon cannot use the file; `error` says why.
    plugin: Option<About>,
    error: Option<String>,
    /// `None` if the file declares nothing.
    params: Option<Vec<Param>>,
    /// Why the declaration can't be read. The daemon then accepts any parameters.
    params_error: Option<String>,
}

#[derive(Debug, Serialize)]
struct About {
    kind: String,
    name: Option<String>,
    version: Option<String>,
    description: Option<String>,
    /// The version of the contract.
    contract: Option<String>,
    imports: Vec<String>,
    /// The grants that a check needs, with words in capitals to replace.
    allow: String,
    compile_ms: u128,
}

pub(crate) fn inspect(args: &InspectArgs) -> anyhow::Result<ExitCode> {
    let limits = match &args.limits {
        Some(text) => {
            let config = resolve(&format!("[check.inspect]\nplugin = \"inspect\"\nlimits = {text}\n"))?;
            config.checks.into_iter().next().map(|check| check.limits).unwrap_or_default()
        }
        None => Limits::default(),
    };
    let found = examine(&args.file, &limits, None)?;
    if args.json {
        print_json(&found)?;
    } else {
        print(found.to_string())?;
    }
    Ok(if found.unusable_because().is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Reads a file and loads it as the daemon does, with compiled code from `cache` if given.
///
/// # Errors
/// When the file cannot be read, or the plugin host cannot start.
pub(crate) fn examine(file: &Path, limits: &Limits, cache: Option<&Path>) -> anyhow::Result<Inspection> {
    let bytes = read_named(file)?;
    let host = Host::new(HostSettings { cache: open_cache(cache)?, ..HostSettings::fitting([limits]).isolated() })?;
    let started = Instant::now();
    let (plugin, error) = match host.load(&bytes) {
        Ok(plugin) => (Some(about(&plugin, started.elapsed().as_millis())), None),
        Err(error) => (None, Some(error.to_string())),
    };
    let (params, params_error) = match declared_params(&bytes) {
        Ok(params) => (params, None),
        Err(error) => (None, Some(error.to_string())),
    };
    let file = file.to_owned();
    Ok(Inspection { file, size: bytes.len(), sha256: sha256(&bytes), plugin, error, params, params_error })
}

impl Inspection {
    /// Why the daemon can't use the file.
    pub(crate) fn unusable_because(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// Why the declaration of its parameters can't be read.
    pub(crate) fn params_error(&self) -> Option<&str> {
        self.params_error.as_deref()
    }

    /// Size, kind and imports in one line.
    pub(crate) fn summary(&self) -> String {
        let kind = self.plugin.as_ref().map_or("no plugin", |plugin| plugin.kind.as_str());
        let imports = self.plugin.as_ref().map_or(String::new(), |plugin| plugin.imports.join(", "));
        let imports = if imports.is_empty() { "nothing".to_owned() } else { imports };
        format!("{} bytes, {kind}, imports {}", self.size, printable(&imports))
    }
}

fn about(plugin: &Plugin, compile_ms: u128) -> About {
    let metadata = plugin.metadata();
    About {
        kind: plugin.kind().to_string(),
        name: metadata.name.clone(),
        version: metadata.version.clone(),
        description: metadata.description.clone(),
        contract: plugin.contract().map(str::to_owned),
        imports: plugin.imports().to_vec(),
        allow: skeleton(plugin.imports()),
        compile_ms,
    }
}

/// The `allow` that a plugin with these imports needs.
fn skeleton(imports: &[String]) -> String {
    let mut grants: Vec<&str> = Vec::new();
    for import in imports {
        let needed: &[&str] = match import.as_str() {
            "process" => &["process = [\"NAME\"]"],
            "http" => &["http = [\"http://HOST/PATH\"]"],
            "tcp" => &["tcp = [\"HOST:PORT\"]"],
            // It offers all three probes, and only the source shows which ones the plugin uses.
            "simple" => &["process = [\"NAME\"]", "http = [\"http://HOST/PATH\"]", "tcp = [\"HOST:PORT\"]"],
            "stream" => &["tcp = [\"HOST:PORT\"]", "unix = [\"/PATH/OF/SOCKET\"]"],
            "files" => &["files = [\"/PATH\"]"],
            "dns" => &["dns = [\"NAME\"]"],
            _ => &[],
        };
        grants.extend(needed);
    }
    grants.sort_unstable();
    grants.dedup();
    if grants.is_empty() { "allow = {}".to_owned() } else { format!("allow = {{ {} }}", grants.join(", ")) }
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {} bytes", printable(&self.file.display().to_string()), self.size)?;
        writeln!(f, "  sha256    {}", self.sha256)?;
        if let Some(plugin) = &self.plugin {
            let texts = [("name", &plugin.name), ("version", &plugin.version), ("about", &plugin.description)];
            for (label, text) in texts {
                if let Some(text) = text {
                    writeln!(f, "  {label:9} {}", printable(text))?;
                }
            }
            writeln!(f, "  kind      {}", plugin.kind)?;
            if let Some(contract) = &plugin.contract {
                writeln!(f, "  contract  vouchd:check {}", printable(contract))?;
            }
            let imports = if plugin.imports.is_empty() { "nothing".to_owned() } else { plugin.imports.join(", ") };
            writeln!(f, "  imports   {}", printable(&imports))?;
            writeln!(f, "  needs     {}", printable(&plugin.allow))?;
            writeln!(f, "  compiled  in {} ms", plugin.compile_ms)?;
        }
        match &self.params {
            None if self.params_error.is_none() => writeln!(f, "  params    none declared")?,
            None => {}
            Some(params) if params.is_empty() => writeln!(f, "  params    takes none")?,
            Some(params) => {
                writeln!(f)?;
                for line in table(params).to_string().lines() {
                    writeln!(f, "  {line}")?;
                }
            }
        }
        if let Some(error) = &self.params_error {
            writeln!(f, "\n  accepts any parameters, since its declaration can't be read: {}", printable(error))?;
        }
        if let Some(error) = &self.error {
            writeln!(f, "\n  can't be used as a plugin: {}", printable(error))?;
        }
        Ok(())
    }
}

fn table(params: &[Param]) -> Table<4> {
    let mut table = Table::new(["PARAMETER", "TYPE", "DEFAULT", "MEANING"]);
    for param in params {
        let kind = param.kind.as_str();
        let kind = if param.list { format!("{kind}, list") } else { kind.to_owned() };
        let default = match &param.default {
            Some(default) => default.clone(),
            None if param.required => "required".to_owned(),
            None => "-".to_owned(),
        };
        table.row([param.name.clone(), kind, default, param.doc.clone()]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skeleton_has_one_grant_of_each_imported_kind() {
        let of = |imports: &[&str]| skeleton(&imports.iter().map(|i| (*i).to_owned()).collect::<Vec<_>>());
        assert_eq!(of(&["log", "memo"]), "allow = {}");
        assert_eq!(of(&["process", "log"]), "allow = { process = [\"NAME\"] }");
        let both = "allow = { http = [\"http://HOST/PATH\"], process = [\"NAME\"], tcp = [\"HOST:PORT\"] }";
        assert_eq!(of(&["tcp", "simple"]), both);
    }

    #[test]
    fn unusable_file_is_shown_with_size_hash_and_reason() {
        let found = Inspection {
            file: "x.wasm".into(),
            size: 3,
            sha256: sha256(b"abc"),
            plugin: None,
            error: Some("not a WebAssembly file\u{1b}".to_owned()),
            params: None,
            params_error: None,
        };
        let expected = "\
x.wasm: 3 bytes
  sha256    ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad
  params    none declared

  can't be used as a plugin: not a WebAssembly file\u{20}
";
        assert_eq!(found.to_string(), expected);
    }

    #[test]
    fn declared_parameters_are_shown_as_a_table() {
        let json = r#"[{"name": "url", "type": "text", "required": true, "doc": "Where"},
            {"name": "status", "type": "integer", "list": true, "default": "200"}]"#;
        let params: Vec<Param> = serde_json::from_str(json).unwrap();
        let expected = "\
PARAMETER  TYPE           DEFAULT   MEANING
url        text           required  Where
status     integer, list  200
";
        assert_eq!(table(&params).to_string(), expected);
    }
}
