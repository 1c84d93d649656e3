//! A compiled plugin, as it goes from the process that compiles to the one that asked, and as the cache keeps it.

use serde::{Deserialize, Serialize};

use super::{Kind, LoadError, Metadata};

/// What the native code is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Form {
    Component,
    Module,
}

/// What is known of an artefact besides its code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    pub(crate) kind: Kind,
    pub(crate) form: Form,
    pub(crate) metadata: Metadata,
}

/// A compiled plugin.
#[derive(Debug)]
pub(crate) struct Artefact {
    pub(crate) head: Head,
    /// The length of the head in 4 bytes, the head as JSON, native code.
    bytes: Vec<u8>,
    code_at: usize,
}

impl Artefact {
    /// The native code, for an engine with the settings of the one that compiled it.
    pub(crate) fn code(&self) -> &[u8] {
        &self.bytes[self.code_at..]
    }

    /// What [`Artefact::decode`] reads.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Reads what [`encode`] wrote: an artefact, or the error in its place. `Err` says why it is neither.
    pub(super) fn decode(bytes: Vec<u8>) -> Result<Result<Self, LoadError>, String> {
        let length = bytes.first_chunk().map(|length| u32::from_le_bytes(*length)).ok_or("it is empty")?;
        let code_at = 4 + length as usize;
        let head = bytes.get(4..code_at).ok_or("it is cut off")?;
        let head: Result<Head, LoadError> = serde_json::from_slice(head).map_err(|e| e.to_string())?;
        Ok(head.map(|head| Artefact { head, bytes, code_at }))
    }
}

/// Writes a head and native code, or an error in their place.
pub(super) fn encode(answer: Result<(Head, Vec<u8>), LoadError>) -> Result<Vec<u8>, serde_json::Error> {
    let (head, code) = match answer {
        Ok((head, code)) => (Ok(head), code),
        Err(error) => (Err(error), Vec::new()),
    };
    let head = serde_json::to_vec::<Result<Head, LoadError>>(&head)?;
    let length = u32::try_from(head.len()).unwrap_or(u32::MAX);
    Ok([&length.to_le_bytes(), head.as_slice(), code.as_slice()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_is_read_as_it_was_written() {
        let head = Head { kind: Kind::Command, form: Form::Module, metadata: Metadata::default() };
        let bytes = encode(Ok((head.clone(), b"code".to_vec()))).unwrap();
        let artefact = Artefact::decode(bytes.clone()).unwrap().unwrap();
        assert_eq!((&artefact.head, artefact.code(), artefact.bytes()), (&head, b"code".as_slice(), bytes.as_slice()));
        let error = LoadError::NotWasm { found: "text".to_owned() };
        assert_eq!(Artefact::decode(encode(Err(error.clone())).unwrap()).unwrap().unwrap_err(), error);
    }

    #[test]
    fn other_bytes_are_no_answer() {
        for bytes in [b"".as_slice(), b"\x01", b"\xff\xff\xff\xff{}", b"\x02\0\0\0{}code"] {
            assert!(Artefact::decode(bytes.to_vec()).is_err(), "{bytes:?}");
        }
    }
}
