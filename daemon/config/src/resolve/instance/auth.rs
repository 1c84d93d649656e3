//! `auth` of an instance: a password, or HMAC keys.

use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;
use vouchd_wire::{Auth, Version};

use super::super::{KeyFiles, key};
use crate::model::{Hmac, HmacMode};
use crate::reader::{Problems, Table, Value};

/// What `auth` asks for.
pub(super) enum Authentication {
    Password(Auth),
    Hmac(Hmac),
}

pub(super) fn auth(
    value: &Value<'_>,
    version: Version,
    files: &KeyFiles,
    problems: &mut Problems,
) -> Option<Authentication> {
    let example = "a table, like { type = \"pass\", password = \"1234\" } or \
                   { type = \"hmac\", keys = [{ id = 1, file = \"/etc/vouchd/vrrp.key\" }] }";
    let mut table = value.table(example, problems)?;
    let kind = table.require("type", "\"pass\" or \"hmac\"", problems);
    let is_hmac = kind.and_then(|v| v.choice(&[("pass", false), ("hmac", true)], problems));
    let read = match is_hmac {
        Some(true) => hmac(&mut table, files, problems).map(Authentication::Hmac),
        Some(false) | None => password(&mut table, problems).map(Authentication::Password),
    };
    table.finish(problems);
    if is_hmac == Some(false) && version == Version::V3 {
        let message = "version 3 has no passwords; leave auth out, set type = \"hmac\", or set version = 2";
        problems.error(value.key_place(), value.path.clone(), message);
        return None;
    }
    read
}

/// Whether the configuration itself has a password or a key, not only the names of files with keys.
pub(super) fn has_secret(value: &Value<'_>) -> bool {
    let Some(table) = value.get().as_table() else { return true };
    let keys = table.get("keys").and_then(|keys| keys.get_ref().as_array());
    let is_hex = |key: &Spanned<DeValue<'_>>| key.get_ref().as_table().is_some_and(|key| key.contains_key("hex"));
    keys.is_none_or(|keys| keys.iter().any(is_hex))
}

fn password(table: &mut Table<'_>, problems: &mut Problems) -> Option<Auth> {
    let value = table.require("password", "a password of 1 to 8 bytes", problems)?;
    let expected = "expected a password of 1 to 8 bytes; other routers use only the first 8 bytes of a longer one, so write \
                    those";
    let password = value.string("a password of 1 to 8 bytes", problems)?;
    let fits = (1..=8).contains(&password.len());
    if !fits {
        value.error(expected, problems);
    }
    fits.then(|| Auth::simple(password.as_bytes()))
}

fn hmac(table: &mut Table<'_>, files: &KeyFiles, problems: &mut Problems) -> Option<Hmac> {
    let meaning = "the keys, like [{ id = 1, file = \"/etc/vouchd/vrrp.key\" }]";
    let keys = table.require("keys", meaning, problems);
    let keys = keys.map(|value| key::keys(&value, files, problems)).unwrap_or_default();
    let active = table.take("active_key");
    let number = active.as_ref().and_then(|value| value.number(1..=255, problems));
    let words = [
        ("receive", HmacMode::ReceiveOnly),
        ("send", HmacMode::SendOnly),
        ("accept", HmacMode::AcceptEither),
        ("require", HmacMode::Require),
    ];
    let mode = table.take("mode").and_then(|value| value.choice(&words, problems));
    let anti_replay = table.take("anti_replay").and_then(|value| value.boolean(problems));
    let window = table.take("time_window");
    let window = window.and_then(|v| v.duration(Duration::from_secs(1)..=Duration::from_secs(300), problems));
    let first = *keys.ids.first()?;
    if let (Some(value), Some(number)) = (&active, number)
        && !keys.ids.contains(&number)
    {
        value.error("no key has this id; expected one of those in keys", problems);
        return None;
    }
    Some(Hmac {
        active_key: number.unwrap_or(first),
        keys: keys.valid,
        mode: mode.unwrap_or_default(),
        anti_replay: anti_replay.unwrap_or(true),
        time_window: window,
    })
}
