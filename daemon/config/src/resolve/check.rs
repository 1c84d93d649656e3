//! `[check.NAME]`

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use toml::de::DeValue;
use vouchd_health::{Influence, OnError, Thresholds, Weight};

use crate::declared::ParamPlaces;
use crate::grants::{BadPattern, DnsGrant, Grants, ProcessGrant};
use crate::model::{Check, ExitCodes, Limits};
use crate::reader::{Problems, Table, Value};

use super::{name, needs};

const MIN_INTERVAL: Duration = Duration::from_millis(10);
const MAX_INTERVAL: Duration = Duration::from_secs(3600);
const MAX_TIMEOUT: Duration = Duration::from_secs(600);

pub(super) fn check(
    check_name: &str,
    mut table: Table<'_>,
    problems: &mut Problems,
) -> Option<(Check, Vec<ParamPlaces>)> {
    let plugin = table.require("plugin", "the plugin's file name without .wasm, like \"process\"", problems);
    let plugin = plugin.and_then(|value| plugin_name(&value, problems));
    let sha256 = table.take("sha256").and_then(|value| sha256(&value, problems));
    let params = table.take("params").map(|value| params(&value, problems)).unwrap_or_default();
    let (params, given) = params.into_iter().unzip();

    let interval = table.take("interval");
    let interval = interval.and_then(|v| v.duration(MIN_INTERVAL..=MAX_INTERVAL, problems));
    let interval = interval.unwrap_or(Duration::from_secs(1));
    let timeout = table.take("timeout");
    let timeout = timeout.and_then(|v| v.duration(MIN_INTERVAL..=MAX_TIMEOUT, problems));
    let timeout = timeout.unwrap_or(interval.clamp(Duration::from_millis(100), Duration::from_secs(1)));
    let fast = table.take("fast_interval");
    let fast = fast.and_then(|v| v.duration(MIN_INTERVAL..=interval, problems));
    let fast = fast.unwrap_or((interval / 10).max(Duration::from_millis(50)).min(interval));

    let thresholds =
        Thresholds { rise: count(table.take("rise"), problems), fall: count(table.take("fall"), problems) };
    let influence = influence(&mut table, Influence::default(), problems);
    let allow = table.take("allow");
    let grants = allow.as_ref().map(|value| grants(value, problems)).unwrap_or_default();
    let limits = table.take("limits").map(|value| limits(&value, problems)).unwrap_or_default();
    let exit_codes = exit_codes(&mut table, problems);
    let place = table.place();
    table.finish(problems);

    let check = Check {
        name: check_name.to_owned(),
        plugin: plugin?,
        sha256,
        params,
        interval,
        timeout,
        fast_interval: fast,
        thresholds,
        influence,
        grants,
        limits,
        exit_codes,
    };
    if let Some(line) = needs::missing_grants(&check) {
        let place = allow.map_or(place, |value| value.place());
        let message =
            format!("its parameters need access that is not granted, so every run would end in an error; write {line}");
        problems.warn(place, format!("check.{check_name}"), message);
    }
    Some((check, given))
}

/// Reads the check of a `[[run]]` in a test script: the keys that concern a single run. The rest has no meaning.
pub(super) fn scripted(table: &mut Table<'_>, problems: &mut Problems) -> Check {
    let params = table.take("params").map(|value| params(&value, problems)).unwrap_or_default();
    let timeout = table.take("timeout");
    let timeout = timeout.and_then(|v| v.duration(MIN_INTERVAL..=MAX_TIMEOUT, problems));
    let second = Duration::from_secs(1);
    Check {
        name: "test".to_owned(),
        plugin: "test".to_owned(),
        sha256: None,
        params: params.into_iter().map(|(param, _)| param).collect(),
        interval: second,
        timeout: timeout.unwrap_or(second),
        fast_interval: second,
        thresholds: Thresholds { rise: 1, fall: 1 },
        influence: Influence::default(),
        grants: table.take("allow").map(|value| grants(&value, problems)).unwrap_or_default(),
        limits: table.take("limits").map(|value| limits(&value, problems)).unwrap_or_default(),
        exit_codes: exit_codes(table, problems),
    }
}

fn exit_codes(table: &mut Table<'_>, problems: &mut Problems) -> ExitCodes {
    let words = [("plain", ExitCodes::Plain), ("nagios", ExitCodes::Nagios)];
    table.take("exit_codes").and_then(|value| value.choice(&words, problems)).unwrap_or_default()
}

fn plugin_name(value: &Value<'_>, problems: &mut Problems) -> Option<String> {
    let text = value.string("the name of a plugin, like \"process\"", problems)?;
    if let Some(stem) = text.strip_suffix(".wasm") {
        value.error(
            format!(
                "expected the plugin's name without directory and .wasm, like {:?}",
                stem.rsplit('/').next().unwrap_or_default()
            ),
            problems,
        );
        return None;
    }
    name(value, problems)
}

fn sha256(value: &Value<'_>, problems: &mut Problems) -> Option<String> {
    const EXPECTED: &str = "the SHA-256 of the plugin's file, 64 hex digits, as sha256sum prints it";
    let text = value.string(EXPECTED, problems)?;
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        value.error(format!("expected {EXPECTED}"), problems);
        return None;
    }
    Some(text.to_ascii_lowercase())
}

fn count(value: Option<Value<'_>>, problems: &mut Problems) -> u32 {
    value.and_then(|v| v.number(1..=100, problems)).unwrap_or(1)
}

/// Reads the keys that say what a check costs, in the check itself or as overrides in an instance.
pub(super) fn influence(table: &mut Table<'_>, inherited: Influence, problems: &mut Problems) -> Influence {
    let mut influence = inherited;
    if let Some(value) = table.take("weight") {
        let note = ", and not 0: leave weight out to make a failure a hard fault";
        let number = value.integer(-253..=253, note, problems).and_then(|n| i16::try_from(n).ok());
        if let Some(number) = number {
            match Weight::try_from(number) {
                Ok(weight) => influence.weight = Some(weight),
                Err(_) => value.error(format!("expected a whole number from -253 to 253{note}"), problems),
            }
        }
    }
    if let Some(value) = table.take("warn_weight") {
        influence.warn_weight = value.number(-253..=0, problems).unwrap_or(influence.warn_weight);
    }
    if let Some(value) = table.take("adjust") {
        influence.adjust = adjust(&value, problems);
    }
    if let Some(value) = table.take("on_error") {
        let words = [("last_resort", OnError::LastResort), ("fail", OnError::Fail), ("hold", OnError::Hold)];
        influence.on_error = value.choice(&words, problems).unwrap_or(influence.on_error);
    }
    influence
}

fn adjust(value: &Value<'_>, problems: &mut Problems) -> Option<(i16, i16)> {
    const EXPECTED: &str = "a list of two whole numbers from -253 to 253, the lower first, like [-50, 0]";
    let items = value.list(EXPECTED, problems)?;
    let [low, high] = items.as_slice() else {
        value.error(format!("expected {EXPECTED}"), problems);
        return None;
    };
    let (low, high) = (low.number(-253..=253, problems), high.number(-253..=253, problems));
    let range = (low?, high?);
    if range.0 > range.1 {
        value.error(format!("expected {EXPECTED}"), problems);
        return None;
    }
    Some(range)
}

/// A parameter's name and value as the plugin gets them, and their places.
type Flat = ((String, String), ParamPlaces);

/// Flattens the parameters: plugins of every language get pairs of strings.
fn params(value: &Value<'_>, problems: &mut Problems) -> Vec<Flat> {
    let mut flat = Vec::new();
    if let Some(table) = value.table("a table of parameters, like { name = \"nginx\" }", problems) {
        for (key, value) in table.into_entries() {
            param(key.to_owned(), &value, &mut flat, problems);
        }
    }
    flat
}

fn param(key: String, value: &Value<'_>, flat: &mut Vec<Flat>, problems: &mut Problems) {
    let mut push = |text: String| {
        flat.push((
            (key.clone(), text),
            ParamPlaces { key: value.key_place(), value: value.place(), subject: value.subject() },
        ));
    };
    match value.get() {
        DeValue::String(text) => push(text.to_string()),
        DeValue::Integer(_) => {
            if let Some(number) = value.integer(i64::MIN..=i64::MAX, "", problems) {
                push(number.to_string());
            }
        }
        DeValue::Float(number) => push(number.to_string()),
        DeValue::Boolean(value) => push(value.to_string()),
        DeValue::Datetime(date) => push(date.to_string()),
        DeValue::Array(_) => {
            for item in value.list("a list", problems).into_iter().flatten() {
                if item.get().is_array() {
                    item.error(
                        "expected a string, a number, true, false or a table; found a list in a list, which can't be passed to a plugin",
                        problems,
                    );
                } else {
                    param(key.clone(), &item, flat, problems);
                }
            }
        }
        DeValue::Table(_) => {
            if let Some(table) = value.table("a table", problems) {
                for (inner, value) in table.into_entries() {
                    param(format!("{key}.{inner}"), &value, flat, problems);
                }
            }
        }
    }
}

fn grants(value: &Value<'_>, problems: &mut Problems) -> Grants {
    let mut grants = Grants::default();
    let Some(mut table) = value.table("a table, like { process = [\"nginx\"] }", problems) else {
        return grants;
    };
    if let Some(value) = table.take("process") {
        grants.process = process_grant(&value, problems);
    }
    if let Some(value) = table.take("http") {
        grants.http = patterns(&value, "a list of URLs, like [\"http://127.0.0.1/\"]", problems);
    }
    if let Some(value) = table.take("tcp") {
        grants.tcp = patterns(&value, "a list of host:port, like [\"127.0.0.1:3306\"]", problems);
    }
    if let Some(value) = table.take("unix") {
        grants.unix = patterns(&value, "a list of socket paths, like [\"/run/haproxy/admin.sock\"]", problems);
    }
    if let Some(value) = table.take("files") {
        grants.files = patterns(&value, "a list of paths, like [\"/run/app/*.flag\"]", problems);
    }
    if let Some(value) = table.take("dns") {
        grants.dns = dns_grant(&value, problems);
    }
    if let Some(value) = table.take("env") {
        grants.env = environment(&value, problems);
    }
    table.finish(problems);
    grants
}

fn dns_grant(value: &Value<'_>, problems: &mut Problems) -> DnsGrant {
    match value.get() {
        DeValue::Boolean(true) => DnsGrant::All,
        DeValue::Boolean(false) => DnsGrant::None,
        DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Datetime(_)
        | DeValue::Array(_)
        | DeValue::Table(_) => {
            let names = patterns(value, "a list of names, like [\"db.example.com\"], or true for all", problems);
            if names.is_empty() { DnsGrant::None } else { DnsGrant::Names(names) }
        }
    }
}

fn environment(value: &Value<'_>, problems: &mut Problems) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    let Some(table) = value.table("a table of variables, like { LANG = \"C\" }", problems) else { return variables };
    for (name, value) in table.into_entries() {
        let Some(text) = value.string("the variable's value as a string", problems) else { continue };
        if name.is_empty() || name.contains(['=', '\0']) || text.contains('\0') {
            value.error("expected a variable's name without =, and no NUL in name and value", problems);
        } else {
            variables.insert(name.to_owned(), text.to_owned());
        }
    }
    variables
}

fn process_grant(value: &Value<'_>, problems: &mut Problems) -> ProcessGrant {
    match value.get() {
        DeValue::Boolean(true) => return ProcessGrant::All,
        DeValue::Boolean(false) => return ProcessGrant::None,
        DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Datetime(_)
        | DeValue::Array(_)
        | DeValue::Table(_) => {}
    }
    let expected = "a list of process names, like [\"nginx\"], or true for all";
    let mut names = Vec::new();
    for item in value.list(expected, problems).into_iter().flatten() {
        match item.string("the name of a process", problems) {
            Some("") => item.error("expected the name of a process", problems),
            Some(name) => names.push(name.to_owned()),
            None => {}
        }
    }
    if names.is_empty() { ProcessGrant::None } else { ProcessGrant::Names(names) }
}

fn patterns<T: FromStr<Err = BadPattern>>(value: &Value<'_>, expected: &str, problems: &mut Problems) -> Vec<T> {
    let mut patterns = Vec::new();
    for item in value.list(expected, problems).into_iter().flatten() {
        match item.string(expected, problems).map(str::parse) {
            Some(Ok(pattern)) => patterns.push(pattern),
            Some(Err(BadPattern { expected, .. })) => item.error(format!("expected {expected}"), problems),
            None => {}
        }
    }
    patterns
}

fn limits(value: &Value<'_>, problems: &mut Problems) -> Limits {
    let mut limits = Limits::default();
    let Some(mut table) = value.table("a table, like { memory = \"32MiB\" }", problems) else {
        return limits;
    };
    if let Some(value) = table.take("memory") {
        limits.memory = value.size(1 << 20..=1 << 30, problems).unwrap_or(limits.memory);
    }
    if let Some(value) = table.take("cpu") {
        limits.cpu = value.duration(MIN_INTERVAL..=Duration::from_secs(60), problems).unwrap_or(limits.cpu);
    }
    if let Some(value) = table.take("table_elements") {
        limits.table_elements = value.number(100..=1_000_000, problems).unwrap_or(limits.table_elements);
    }
    if let Some(value) = table.take("output") {
        limits.output = value.size(1 << 10..=16 << 20, problems).unwrap_or(limits.output);
    }
    if let Some(value) = table.take("log_lines") {
        limits.log_lines = value.number(0..=10_000, problems).unwrap_or(limits.log_lines);
    }
    if let Some(value) = table.take("connections") {
        limits.connections = value.number(0..=64, problems).unwrap_or(limits.connections);
    }
    if let Some(value) = table.take("probes") {
        limits.probes = value.number(0..=10_000, problems).unwrap_or(limits.probes);
    }
    if let Some(value) = table.take("probe_bytes") {
        limits.probe_bytes = value.size(1 << 10..=16 << 20, problems).unwrap_or(limits.probe_bytes);
    }
    table.finish(problems);
    limits
}
