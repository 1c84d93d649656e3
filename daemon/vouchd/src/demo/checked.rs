//! The plugin that checks the web server, with its parameters and grants.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use toml::Value;

use super::node_init::config;
use super::topology::{NodeId, SERVICE};

/// The plugin of the check `web` on both nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Checked {
    /// The plugin file.
    pub(crate) file: PathBuf,
    /// The keys `plugin`, `params` and `allow` of `[check.web]`, as TOML.
    pub(crate) keys: String,
}

impl Checked {
    /// The built-in plugin `process`, which looks for the process of the web server.
    pub(crate) fn built_in(file: PathBuf) -> Checked {
        let keys = format!(
            "plugin = \"process\"\nparams = {{ name = \"{SERVICE}\" }}\nallow = {{ process = [\"{SERVICE}\"] }}\n"
        );
        Checked { file, keys }
    }

    /// An author's plugin.
    ///
    /// # Errors
    /// When the file does not exist, or the configuration rejects its parameters or grants.
    pub(crate) fn own(file: &Path, params: &[(String, String)], allow: Option<&str>) -> anyhow::Result<Checked> {
        let file = file.canonicalize().with_context(|| format!("the plugin {}", file.display()))?;
        anyhow::ensure!(file.is_file(), "{}: expected a .wasm file", file.display());
        let name = file.file_stem().and_then(|stem| stem.to_str()).context("a plugin without a name")?;
        let mut table: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
        for (key, value) in params {
            table.entry(key).or_default().push(Value::from(value.as_str()));
        }
        let params = table.into_iter().map(|(key, values)| (key.to_owned(), Value::Array(values))).collect();
        let keys = format!(
            "plugin = {}\nparams = {}\nallow = {}\n",
            Value::from(name),
            Value::Table(params),
            allow.unwrap_or("{}")
        );
        let files = vec![(PathBuf::from("arguments"), config(NodeId::A, &keys))];
        vouchd_config::resolve(files).map_err(|errors| anyhow::anyhow!("{errors}"))?;
        Ok(Checked { file, keys })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authors_plugin_gets_the_parameters_and_grants_of_the_arguments() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("port.wasm");
        std::fs::write(&file, "").unwrap();
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let params =
            [pair("address", "127.0.0.1:80"), pair("tls.name", "a \"b\""), pair("code", "1"), pair("code", "2")];
        let checked = Checked::own(&file, &params, Some("{ tcp = [\"127.0.0.1:80\"] }")).unwrap();
        let files = vec![(PathBuf::from("x"), config(NodeId::B, &checked.keys))];
        let check = &vouchd_config::resolve(files).unwrap().checks[0];
        assert_eq!(check.plugin, "port");
        let expected =
            [pair("address", "127.0.0.1:80"), pair("code", "1"), pair("code", "2"), pair("tls.name", "a \"b\"")];
        assert_eq!(check.params, expected);
        assert_eq!(check.grants.to_string(), "allow = { tcp = [\"127.0.0.1:80\"] }");

        let error = Checked::own(&file, &[], Some("{ tpc = [] }")).unwrap_err().to_string();
        assert!(error.contains("check.web.allow.tpc: unknown key (did you mean `tcp`?)"), "{error}");
        assert!(Checked::own(&dir.path().join("other.wasm"), &[], None).is_err());
    }
}
