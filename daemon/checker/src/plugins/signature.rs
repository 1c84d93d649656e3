//! Whose plugins may run: signatures by minisign, in `NAME.wasm.minisig` beside `NAME.wasm`.
//!
//! A signature shows who made a file, but not its name: anybody who can write to the directory can put one signed plugin in
//! the place of another. Where that matters, a check pins its file with `sha256`.

use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use minisign_verify::{Error, PublicKey, Signature};

use super::read_error::ReadError;

/// The largest size of a signature file, in bytes. Signatures have about 300.
const MAX_SIZE: u64 = 4096;

/// The public keys of `daemon.plugin_keys`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Keys(Arc<[PublicKey]>);

impl Keys {
    /// Parses keys in the form that `minisign -G` prints. `None` if there are none: every plugin may run.
    ///
    /// # Errors
    /// When a text is not a key.
    pub(crate) fn parse(texts: &[String]) -> anyhow::Result<Option<Self>> {
        let parse = |text: &String| {
            PublicKey::from_base64(text)
                .map_err(|error| anyhow::anyhow!("{text:?} is not a minisign public key: {error}"))
        };
        let keys: Vec<_> = texts.iter().map(parse).collect::<Result<_, _>>()?;
        Ok((!keys.is_empty()).then(|| Keys(keys.into())))
    }

    /// Checks that the plugin in `bytes`, read from `path`, was signed with one of these keys.
    ///
    /// # Errors
    /// Why it may not run, in words.
    pub(crate) fn check(&self, path: &Path, bytes: &[u8]) -> Result<(), ReadError> {
        let place = signature_path(path);
        let text = read(&place).map_err(|error| match ReadError::of(&error, &place) {
            ReadError::Unfit(words) => ReadError::Unfit(format!(
                "not signed: expected {} with a signature by one of daemon.plugin_keys: {words}",
                place.display()
            )),
            hindered => hindered.map(|words| format!("its signature can't be read: {words}")),
        })?;
        self.check_text(&place, &text, bytes).map_err(ReadError::Unfit)
    }

    fn check_text(&self, place: &Path, text: &str, bytes: &[u8]) -> Result<(), String> {
        let signature = Signature::decode(text)
            .map_err(|error| format!("{} is not a minisign signature: {error}", place.display()))?;
        let mut last = Error::UnexpectedKeyId;
        for key in self.0.iter() {
            match key.verify(bytes, &signature, false) {
                Ok(()) => return Ok(()),
                Err(Error::UnexpectedKeyId) => {}
                Err(error) => last = error,
            }
        }
        Err(match last {
            Error::UnexpectedKeyId => {
                format!("{} was made with a key that is not in daemon.plugin_keys", place.display())
            }
            Error::UnexpectedAlgorithm => format!(
                "{} was made in minisign's legacy mode; sign again with minisign 0.10 or newer, without -l",
                place.display()
            ),
            Error::InvalidSignature => {
                format!(
                    "{} is not a signature of this file: it was made for another file, or the file has changed since",
                    place.display()
                )
            }
            other => format!("{}: {other}", place.display()),
        })
    }
}

/// The path of a plugin file's signature.
pub(crate) fn signature_path(path: &Path) -> PathBuf {
    let mut place = path.as_os_str().to_owned();
    place.push(".minisig");
    place.into()
}

fn read(place: &Path) -> std::io::Result<String> {
    // A pipe in its place must not block the caller.
    let file = OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(place)?;
    let mut text = String::new();
    file.take(MAX_SIZE).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::fs;

    /// Keys, and signatures of the text `good 1`, made with minisign 0.11.
    pub(crate) const KEY: &str = "RWQPWdDO1o3mzp6LbizY/vhj9fzPOp/BqDEKcuwKkfD/1zfLFMiKqLLv";
    pub(crate) const OTHER_KEY: &str = "RWRdI9atuD4HaE8UXQ6SvK7muTAujI17U+2ZpPy/NP5D2r0Ijrr7ERcX";
    pub(crate) const SIGNATURE: &str = "untrusted comment: signature from minisign secret key
RUQPWdDO1o3mzrC1LIXEh3E30QCCn2QsIqnlqWea0HApwEZMC1GjYEo5aLhaagL9AMnq/rkZdU2TtauuGpc0WQiG5m3sS0hL1Ac=
trusted comment: release 1
ozuAld7hMEI4px1UYrMoT7S4EdtdXFG/tQZGEbnF3KT5DINNCxY5B1Pytbg9ZP/YhV6A5QoSkRo8SbVyykyUAw==
";
    const BY_OTHER: &str = "untrusted comment: signature from minisign secret key
RURdI9atuD4HaNu1oPMeWCEBssWMRzTiFIl7WJAGCpp2eJ0lTQP8oOLBTD0GScpIC3U9L4F4V9kxQS5Qp+AZf8FYTR7i+se0ywE=
trusted comment: timestamp:1795383407	file:p.wasm	hashed
JIes79dKNgXqCAUnZN9B4DRoXjtHTG5C1pZidJnGNdPcHH0/b+vhzQ7+67NBxqSi5Tm1VNC8pR0uW5WcqzIUBw==
";
    const LEGACY: &str = "untrusted comment: signature from minisign secret key
RWQPWdDO1o3mzjmIcmnPUUYtEfKNsorRwBcJdRgp35wSP26PYmzNAYvugOVgw80uCP7vPOwYQWMxFfMAtRR8RdgxDNcoS9urlAg=
trusted comment: timestamp:1795383407	file:p.wasm
fhb0bXkxpkhF2RGpwvN6WnUyw0Radm8L8PpJz+ra/88JN0Fo7EMRY5rUhEUlgslZMj0owGYUevmqADreoekHAg==
";

    fn keys(keys: &[&str]) -> Keys {
        Keys::parse(&keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>()).unwrap().unwrap()
    }

    #[test]
    fn plugin_signed_by_any_of_the_keys_may_run_and_others_are_rejected_with_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.wasm");
        let forged = SIGNATURE.replace("release 1", "release 2");
        let table = [
            (SIGNATURE, "good 1", &[KEY][..], None),
            (SIGNATURE, "good 1", &[OTHER_KEY, KEY], None),
            (BY_OTHER, "good 1", &[OTHER_KEY, KEY], None),
            (SIGNATURE, "good 2", &[KEY], Some("is not a signature of this file")),
            (SIGNATURE, "", &[KEY, OTHER_KEY], Some("is not a signature of this file")),
            (&forged, "good 1", &[KEY], Some("is not a signature of this file")),
            (BY_OTHER, "good 1", &[KEY], Some("a key that is not in daemon.plugin_keys")),
            (LEGACY, "good 1", &[KEY], Some("legacy mode")),
            ("RUQP", "good 1", &[KEY], Some("is not a minisign signature")),
            ("", "good 1", &[KEY], Some("is not a minisign signature")),
        ];
        for (signature, bytes, trusted, expected) in table {
            fs::write(dir.path().join("p.wasm.minisig"), signature).unwrap();
            let checked = keys(trusted).check(&path, bytes.as_bytes()).map_err(ReadError::into_words);
            match expected {
                None => assert_eq!(checked, Ok(()), "{signature}"),
                Some(words) => assert!(checked.as_ref().unwrap_err().contains(words), "{words}: {checked:?}"),
            }
        }
    }

    #[test]
    fn error_for_a_missing_or_unreadable_signature_names_the_expected_file() {
        let dir = tempfile::tempdir().unwrap();
        let (path, place) = (dir.path().join("p.wasm"), dir.path().join("p.wasm.minisig"));
        let error = keys(&[KEY]).check(&path, b"good 1").unwrap_err().into_words();
        assert!(error.starts_with(&format!("not signed: expected {}", place.display())), "{error}");
        nix::unistd::mkfifo(&place, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(keys(&[KEY]).check(&path, b"good 1").is_err());
    }

    #[test]
    fn without_keys_no_signature_is_needed_and_an_invalid_key_is_an_error() {
        assert_eq!(Keys::parse(&[]).unwrap(), None);
        assert!(Keys::parse(&[SIGNATURE.to_owned()]).is_err());
    }
}
