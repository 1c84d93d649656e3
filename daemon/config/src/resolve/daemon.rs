//! `[daemon]`

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::model::Daemon;
use crate::reader::{Problems, Table, Value};

use super::name;

impl Default for Daemon {
    fn default() -> Self {
        Daemon {
            name: None,
            plugin_dir: "/etc/vouchd/plugins".into(),
            builtin_plugin_dir: "/usr/lib/vouchd/plugins".into(),
            plugin_keys: Vec::new(),
            control: crate::model::DEFAULT_CONTROL.into(),
            cache_dir: Some("/var/cache/vouchd".into()),
            user: None,
            error_grace: Duration::from_secs(3),
            realtime: true,
            startup_delay: Duration::ZERO,
            delay_after_boot: Duration::ZERO,
        }
    }
}

pub(super) fn daemon(mut table: Table<'_>, problems: &mut Problems) -> Daemon {
    let mut daemon = Daemon::default();
    if let Some(value) = table.take("name") {
        daemon.name = name(&value, problems);
    }
    if let Some(dir) = path(table.take("plugin_dir"), problems) {
        daemon.plugin_dir = dir;
    }
    if let Some(dir) = path(table.take("builtin_plugin_dir"), problems) {
        daemon.builtin_plugin_dir = dir;
    }
    if let Some(value) = table.take("plugin_keys") {
        daemon.plugin_keys = keys(&value, problems);
    }
    if let Some(socket) = path(table.take("control"), problems) {
        daemon.control = socket;
    }
    match table.take("cache_dir") {
        Some(value) if value.get().as_str() == Some("off") => daemon.cache_dir = None,
        Some(value) => daemon.cache_dir = path(Some(value), problems),
        None => {}
    }
    if let Some(value) = table.take("user") {
        daemon.user = name(&value, problems);
    }
    if let Some(value) = table.take("error_grace") {
        let range = Duration::ZERO..=Duration::from_secs(3600);
        daemon.error_grace = value.duration(range, problems).unwrap_or(daemon.error_grace);
    }
    if let Some(value) = table.take("realtime") {
        daemon.realtime = value.boolean(problems).unwrap_or(daemon.realtime);
    }
    for (key, delay) in
        [("startup_delay", &mut daemon.startup_delay), ("delay_after_boot", &mut daemon.delay_after_boot)]
    {
        let range = Duration::ZERO..=Duration::from_secs(1000);
        *delay = table.take(key).and_then(|value| value.duration(range, problems)).unwrap_or_default();
    }
    if let Some(value) = table.take("metrics") {
        value.error("not available in this version; leave it out", problems);
    }
    table.finish(problems);
    daemon
}

/// Reads the public keys. An invalid key is an error, because without keys no signature would be needed.
fn keys(value: &Value<'_>, problems: &mut Problems) -> Vec<String> {
    const EXPECTED: &str = "a public key of 56 characters that begins with RW, as minisign -G prints it";
    let Some(items) = value.list("a list of public keys of minisign", problems) else { return Vec::new() };
    if items.is_empty() {
        value.error("expected at least one key; leave it out to run plugins without a signature", problems);
    }
    let key = |item: Value<'_>| {
        let text = item.string(EXPECTED, problems)?;
        if minisign_verify::PublicKey::from_base64(text).is_err() {
            item.error(format!("expected {EXPECTED}"), problems);
            return None;
        }
        Some(text.to_owned())
    };
    items.into_iter().filter_map(key).collect()
}

fn path(value: Option<Value<'_>>, problems: &mut Problems) -> Option<PathBuf> {
    let value = value?;
    let path = Path::new(value.string("an absolute path", problems)?);
    if !path.is_absolute() {
        value.error("expected an absolute path, beginning with /", problems);
        return None;
    }
    Some(path.to_owned())
}
