//! `auth` of an instance.

use vouchd_wire::{Auth, Version};

use crate::reader::{Problems, Value};

pub(super) fn auth(value: &Value<'_>, version: Version, problems: &mut Problems) -> Option<Auth> {
    let mut table = value.table("a table, like { type = \"pass\", password = \"1234\" }", problems)?;
    let kind = table.require("type", "\"pass\", the only type", problems);
    kind.and_then(|v| v.choice(&[("pass", ())], problems));
    let password = table.require("password", "a password of 1 to 8 bytes", problems);
    let auth = password.and_then(|value| {
        let expected = "expected a password of 1 to 8 bytes; other routers use only the first 8 bytes of a longer one, so write \
                        those";
        let password = value.string("a password of 1 to 8 bytes", problems)?;
        let fits = (1..=8).contains(&password.len());
        if !fits {
            value.error(expected, problems);
        }
        fits.then(|| Auth::simple(password.as_bytes()))
    });
    table.finish(problems);
    match version {
        Version::V2 => auth,
        Version::V3 => {
            let message = "version 3 has no authentication; leave auth out, or set version = 2";
            problems.error(value.key_place(), value.path.clone(), message);
            None
        }
    }
}
