//! The keys of HMAC authentication: hexadecimal digits, in the configuration or in a file of their own.

use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};
use vouchd_wire::hmac::HmacKey;

use super::KeyFiles;
use crate::reader::{Problems, Value};

/// Fewer bytes can be guessed; more than a block of SHA-256 add nothing.
const LENGTH: std::ops::RangeInclusive<usize> = 16..=64;

const EXPECTED: &str = "a key of 16 to 64 bytes as hexadecimal digits, as `openssl rand -hex 32` prints it";

/// The files with keys that a configuration file names. A file that is not TOML names none.
pub(crate) fn key_files(text: &str) -> Vec<PathBuf> {
    let (document, _) = DeTable::parse_recoverable(text);
    let instances = document.get_ref().get("instance").and_then(|value| value.get_ref().as_table());
    let auths = instances.into_iter().flat_map(|table| table.values()).filter_map(|value| {
        let instance = value.get_ref().as_table()?;
        instance.get("auth")?.get_ref().as_table()?.get("keys")?.get_ref().as_array()
    });
    let files =
        auths.flat_map(|keys| keys.iter()).filter_map(|key| match key.get_ref().as_table()?.get("file")?.get_ref() {
            DeValue::String(path) => Some(PathBuf::from(path.as_ref())),
            _ => None,
        });
    files.filter(|path| path.is_absolute()).collect()
}

/// Reads the list of keys: `{ id = 1, file = "/etc/vouchd/vrrp.key" }` or `{ id = 1, hex = "..." }`.
pub(super) fn keys(value: &Value<'_>, files: &KeyFiles, problems: &mut Problems) -> Vec<HmacKey> {
    let example = "a list of keys, like [{ id = 1, file = \"/etc/vouchd/vrrp.key\" }]";
    let items = value.list(example, problems).unwrap_or_default();
    if items.is_empty() && value.get().is_array() {
        value.error("expected at least one key", problems);
    }
    let mut keys: Vec<HmacKey> = Vec::new();
    for item in items {
        let Some(key) = one(&item, files, problems) else { continue };
        if keys.iter().any(|other| other.id == key.id) {
            item.error(format!("there is another key with the id {}; expected a different one", key.id), problems);
        } else {
            keys.push(key);
        }
    }
    keys
}

fn one(item: &Value<'_>, files: &KeyFiles, problems: &mut Problems) -> Option<HmacKey> {
    let mut table = item.table("a table, like { id = 1, file = \"/etc/vouchd/vrrp.key\" }", problems)?;
    let id = table.require("id", "the key's number, from 0 to 255, the same on all routers", problems);
    let id = id.and_then(|value| value.number(0..=255, problems));
    let (file, hex) = (table.take("file"), table.take("hex"));
    let secret = match (&file, &hex) {
        (Some(_), Some(hex)) => {
            problems.error(hex.key_place(), hex.path.clone(), "the key is in a file too; leave one of them out");
            None
        }
        (Some(file), None) => from_file(file, files, problems),
        (None, Some(hex)) => {
            let secret = hex.string(EXPECTED, problems).map(decode);
            if secret == Some(None) {
                hex.error(format!("expected {EXPECTED}"), problems);
            }
            secret.flatten()
        }
        (None, None) => {
            problems.error(
                table.place(),
                item.path.clone(),
                "`file` is missing; expected the path of a file with the key",
            );
            None
        }
    };
    table.finish(problems);
    Some(HmacKey { id: id?, secret: secret? })
}

fn from_file(value: &Value<'_>, files: &KeyFiles, problems: &mut Problems) -> Option<Vec<u8>> {
    const PATH: &str = "the absolute path of a file with the key";
    let path = Path::new(value.string(PATH, problems)?);
    if !path.is_absolute() {
        value.error(format!("expected {PATH}, beginning with /"), problems);
        return None;
    }
    let problem = match files.get(path) {
        None => format!("{} was not read", path.display()),
        Some(Err(error)) => format!("{}: {error}", path.display()),
        Some(Ok(bytes)) => match std::str::from_utf8(bytes).ok().and_then(decode) {
            Some(secret) => return Some(secret),
            None => format!("{}: expected {EXPECTED}, and nothing else", path.display()),
        },
    };
    value.error(problem, problems);
    None
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim().as_bytes();
    if digits.len() % 2 != 0 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let bytes: Vec<u8> = digits.chunks(2).map(pair).collect::<Option<_>>()?;
    LENGTH.contains(&bytes.len()).then_some(bytes)
}
