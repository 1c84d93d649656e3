//! The plugins that ship read the parameters that they declare: each declared name, type and bound is given to the compiled
//! plugin, and its answer compared with that of `vouchd config check`.

use std::collections::{BTreeMap, BTreeSet};

use crate::common::{built, builtin_names, host, reason, run};
use vouchd_config::{Grants, Param, ParamType};
use vouchd_health::RunResult;
use vouchd_plugin::{Host, Plugin, declared_params};

/// The complaints of `config check` about `params`.
fn checked(declared: &[Param], params: &[(&str, String)]) -> String {
    let lines: String = params.iter().map(|(name, value)| format!("params.{name} = {value:?}\n")).collect();
    let text = format!("[check.c]\nplugin = \"p\"\n{lines}");
    let config = vouchd_config::resolve(vec![("v.toml".into(), text)]).expect("valid in itself");
    let declared = BTreeMap::from([("p".to_owned(), declared.to_vec())]);
    let Err(errors) = config.check_params(&declared) else { return String::new() };
    errors.problems().iter().map(|problem| problem.headline() + "\n").collect()
}

/// The plugin's own error, if it returns one.
async fn ran(host: &Host, plugin: &Plugin, params: &[(&str, String)]) -> String {
    let params: Vec<_> = params.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let outcome = run(host, plugin, &params, &Grants::default()).await;
    match &outcome.result {
        RunResult::Error { reason } => reason.clone(),
        RunResult::Report(_) | RunResult::TimedOut { .. } => String::new(),
    }
}

/// Values that do not fit.
fn misfits(param: &Param) -> Vec<String> {
    let outside = [param.min.map(|min| i128::from(min) - 1), param.max.map(|max| i128::from(max) + 1)];
    let outside = outside.into_iter().flatten().map(|number| number.to_string());
    match param.kind {
        ParamType::Integer => outside.chain(["1.5".to_owned(), "many".to_owned(), String::new()]).collect(),
        ParamType::Number => vec!["much".to_owned(), String::new()],
        ParamType::Boolean => vec!["yes".to_owned(), "1".to_owned(), String::new()],
        ParamType::Duration => ["5", "1.5s", "1w", "s", ""].map(str::to_owned).to_vec(),
        ParamType::Table => vec!["x".to_owned()],
        ParamType::Text | ParamType::Any => Vec::new(),
    }
}

/// Values that fit.
fn fits(param: &Param) -> Vec<String> {
    let bounds = [param.min, param.max].into_iter().flatten().map(|number| number.to_string());
    match param.kind {
        ParamType::Integer => bounds.chain(param.default.clone()).collect(),
        ParamType::Number => ["1", "0.5", "-2"].map(str::to_owned).to_vec(),
        ParamType::Boolean => ["true", "false"].map(str::to_owned).to_vec(),
        ParamType::Duration => ["5ms", "2s", "3 m", "12h", "7d"].map(str::to_owned).to_vec(),
        ParamType::Text | ParamType::Table | ParamType::Any => Vec::new(),
    }
}

#[tokio::test]
async fn declared_parameters_are_those_that_a_plugin_reads() {
    let host = host();
    assert!(builtin_names().len() >= 9, "{:?}", builtin_names());
    for name in builtin_names() {
        let Some(bytes) = built(&name) else { return };
        let declared = declared_params(&bytes).unwrap().unwrap_or_else(|| panic!("{name} declares its parameters"));
        let plugin = host.load(&bytes).unwrap();
        let tables: BTreeSet<_> =
            declared.iter().filter_map(|param| param.name.rsplit_once('.')).map(|p| p.0).collect();
        for table in tables.into_iter().map(Some).chain([None]) {
            let inner = |param: &Param| param.name.rsplit_once('.').map(|(table, _)| table.to_owned());
            let names: Vec<_> = declared
                .iter()
                .filter(|param| inner(param).as_deref() == table)
                .map(|param| format!("`{}`", param.name.rsplit('.').next().unwrap_or_default()))
                .collect();
            let unknown = table.map_or_else(|| "colour".to_owned(), |table| format!("{table}.colour"));
            let given = [(unknown.as_str(), "blue".to_owned())];
            let said = ran(&host, &plugin, &given).await;
            let expected = format!("unknown parameter `colour`: this plugin has {}", names.join(", "));
            assert!(said.ends_with(&expected), "{name}: declared {names:?}, but the plugin says: {said}");
            let said = checked(&declared, &given);
            assert!(said.contains(&format!("{unknown} = ")) && said.contains("no such parameter"), "{name}: {said}");
        }
        for param in &declared {
            assert!(!param.doc.is_empty(), "{name}: `{}` says what it means", param.name);
            for value in misfits(param) {
                let given = [(param.name.as_str(), value)];
                let (said, found) = (ran(&host, &plugin, &given).await, checked(&declared, &given));
                let named = format!("parameter `{}`: expected ", param.name);
                assert!(said.starts_with(&named), "{name}: {given:?}: the plugin says {said:?}");
                let named = format!("{} = ", param.name);
                assert!(found.contains(&named), "{name}: {given:?}: config check says {found:?}");
            }
            for value in fits(param) {
                let given = [(param.name.as_str(), value)];
                let (said, found) = (ran(&host, &plugin, &given).await, checked(&declared, &given));
                // The value may be useless to this plugin, or not fit the others; but its type is right.
                let named = format!("parameter `{}`: expected a ", param.name);
                assert!(
                    !said.starts_with(&named) || said.contains("less"),
                    "{name}: {given:?}: the plugin says {said:?}"
                );
                assert!(!found.contains(" = "), "{name}: {given:?}: config check says {found:?}");
            }
            if let Some(default) = &param.default {
                let found = checked(&declared, &[(param.name.as_str(), default.clone())]);
                assert!(!found.contains(" = "), "{name}: its default: {found}");
            }
        }
    }
}

#[tokio::test]
async fn plugin_misses_each_required_parameter() {
    let host = host();
    let mut needed = 0;
    for name in builtin_names() {
        let Some(bytes) = built(&name) else { return };
        let declared = declared_params(&bytes).unwrap().unwrap_or_default();
        let plugin = host.load(&bytes).unwrap();
        let first = declared.iter().find(|param| param.required && !param.name.contains('.'));
        let outcome = run(&host, &plugin, &[], &Grants::default()).await;
        let found = checked(&declared, &[]);
        let Some(first) = first else {
            assert!(!found.contains("is missing"), "{name}: {found}");
            if let RunResult::Error { reason } = &outcome.result {
                assert!(!reason.contains("is missing"), "{name}: {reason}");
            }
            continue;
        };
        needed += 1;
        assert_eq!(reason(&outcome), format!("parameter `{}` is missing", first.name), "{name}");
        assert!(found.contains(&format!("`{}` is missing; plugin p needs it", first.name)), "{name}: {found}");
    }
    assert!(needed >= 5, "plugins with a needed parameter: {needed}");
}
