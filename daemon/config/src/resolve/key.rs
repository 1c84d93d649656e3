//! The keys of HMAC authentication: in the configuration or in a file of their own.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};
use vouchd_wire::hmac::HmacKey;

use super::KeyFiles;
use crate::reader::{Problems, Value};

/// As in keepalived. Fewer bytes weaken SHA-256; more than its block of 64 add nothing.
const LENGTH: RangeInclusive<usize> = 32..=64;

const HEX: &str = "a key of 32 to 64 bytes as hexadecimal digits, as `openssl rand -hex 32` prints it";

const FILE: &str = "the absolute path of a file with the key";

/// The keys of an instance that are valid, and the ids of all of them.
#[derive(Default)]
pub(super) struct Keys {
    pub(super) valid: Vec<HmacKey>,
    pub(super) ids: Vec<u8>,
}

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
pub(super) fn keys(value: &Value<'_>, files: &KeyFiles, problems: &mut Problems) -> Keys {
    let example = "a list of keys, like [{ id = 1, file = \"/etc/vouchd/vrrp.key\" }]";
    let items = value.list(example, problems).unwrap_or_default();
    if items.is_empty() && value.get().is_array() {
        value.error("expected at least one key", problems);
    }
    let mut keys = Keys::default();
    for item in items {
        let (id, secret) = one(&item, files, problems);
        let Some(id) = id else { continue };
        if keys.ids.contains(&id) {
            item.error(format!("there is another key with the id {id}; expected a different one"), problems);
        }
        keys.ids.push(id);
        let Some(secret) = secret else { continue };
        if let Some(other) = keys.valid.iter().find(|other| other.secret == secret && other.id != id) {
            item.warn(
                format!("this is the same key as that with the id {}: to rotate, make a new one", other.id),
                problems,
            );
        }
        keys.valid.push(HmacKey { id, secret });
    }
    keys
}

fn one(item: &Value<'_>, files: &KeyFiles, problems: &mut Problems) -> (Option<u8>, Option<Vec<u8>>) {
    let example = "a table, like { id = 1, file = \"/etc/vouchd/vrrp.key\" }";
    let Some(mut table) = item.table(example, problems) else { return (None, None) };
    let id = table.require("id", "the key's number, from 1 to 255, the same on all routers", problems);
    let id = id.and_then(|value| value.number(1..=255, problems));
    let (file, hex) = (table.take("file"), table.take("hex"));
    let secret = match (&file, &hex) {
        (Some(_), Some(hex)) => {
            problems.error(hex.key_place(), hex.path.clone(), "the key is in a file too; leave one of them out");
            None
        }
        (Some(file), None) => from_file(file, files, problems),
        (None, Some(hex)) => {
            let secret = hex.string(HEX, problems).map(|text| decode(text.trim()));
            if secret == Some(None) {
                hex.error(format!("expected {HEX}"), problems);
            }
            secret.flatten()
        }
        (None, None) => {
            let message = format!("`file` is missing; expected {FILE}, or the key itself in `hex`");
            problems.error(item.place(), item.path.clone(), message);
            None
        }
    };
    table.finish(problems);
    (id, secret)
}

fn from_file(value: &Value<'_>, files: &KeyFiles, problems: &mut Problems) -> Option<Vec<u8>> {
    let path = Path::new(value.string(FILE, problems)?);
    if !path.is_absolute() {
        // What it is instead may be the key.
        value.error(format!("expected {FILE}, beginning with /"), problems);
        return None;
    }
    let problem = match files.get(path) {
        None => "it could not be read yet: its file system does not answer".to_owned(),
        Some(Err(error)) => error.clone(),
        Some(Ok(bytes)) => match of_file(bytes) {
            Ok(secret) => return Some(secret),
            Err(problem) => problem,
        },
    };
    value.error(format!("{}: {problem}", path.display()), problems);
    None
}

/// The key in a file, in keepalived's form, so that the same file serves both: hexadecimal digits after `hex:`, or else a text
/// whose characters are the key.
fn of_file(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let what =
        "a key of 32 to 64 characters, as `openssl rand -hex 32` prints it, or `hex:` and 64 to 128 hexadecimal digits";
    let text = std::str::from_utf8(bytes).ok().map(|text| text.trim_ascii()).filter(|text| text.is_ascii());
    let Some(text) = text else {
        return Err(format!("it has bytes that are not ASCII; expected {what}"));
    };
    if let Some(digits) = text.strip_prefix("hex:") {
        return decode(digits)
            .ok_or_else(|| format!("after hex: there are {} characters; expected {what}", digits.len()));
    }
    if text.bytes().any(|byte| !byte.is_ascii_graphic()) {
        return Err(format!("it has spaces or several lines; expected {what}"));
    }
    let length = text.len();
    if !LENGTH.contains(&length) {
        return Err(format!("it has {length} characters; expected {what}"));
    }
    Ok(text.as_bytes().to_vec())
}

fn decode(digits: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    if !rest.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let pair = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let bytes: Vec<u8> = pairs.iter().map(pair).collect::<Option<_>>()?;
    LENGTH.contains(&bytes.len()).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_file_is_read_as_keepalived_reads_it() {
        let digits = "00ff".repeat(16);
        let bytes = [0x00, 0xff].repeat(16);
        assert_eq!(of_file(format!("hex:{digits}\n").as_bytes()), Ok(bytes.clone()));
        assert_eq!(of_file(format!("hex:{}", digits.to_uppercase()).as_bytes()), Ok(bytes));
        for text in [digits.clone(), "correct-horse-battery-staple-1234".to_owned(), "x".repeat(32), "x".repeat(64)] {
            assert_eq!(of_file(format!("{text}\r\n").as_bytes()), Ok(text.into_bytes()));
        }
    }

    #[test]
    fn key_file_with_anything_else_is_rejected_without_showing_it() {
        for (text, found) in [
            ("", "it has 0 characters"),
            ("secretsecretsecretsecretsecret1", "it has 31 characters"),
            (&"secret".repeat(11), "it has 66 characters"),
            ("secretsecretsecret secretsecretsecret", "it has spaces or several lines"),
            ("secretsecretsecretsecret\nsecretsecretsecret", "it has spaces or several lines"),
            ("hex:secret", "after hex: there are 6 characters"),
            (&format!("hex:{}", "0".repeat(65)), "after hex: there are 65 characters"),
            (&format!("hex: {}", "0".repeat(64)), "after hex: there are 65 characters"),
            ("secretsecretsecretsecretsecretsecr\u{e9}t", "it has bytes that are not ASCII"),
        ] {
            let problem = of_file(text.as_bytes()).expect_err("it is no key");
            assert!(problem.starts_with(found) && !problem.contains("secret"), "{text:?}: {problem}");
        }
        assert!(of_file(&[0; 32]).is_err() && of_file(&[0xff; 32]).is_err());
    }
}
