//! Malformed name sections. WebAssembly requires that a malformed custom section is ignored, but `wit-component` fails on it,
//! so the section is removed.

use std::borrow::Cow;

use wasm_encoder::{Module, RawSection};
use wasmparser::{BinaryReaderError, KnownCustom, Name, NameSectionReader, Parser, Payload};

/// Removes malformed name sections from a core module. Returns it unchanged if it has none or is malformed itself.
pub(super) fn without_malformed_names(bytes: &[u8]) -> Cow<'_, [u8]> {
    rebuild(bytes).ok().flatten().map_or(Cow::Borrowed(bytes), Cow::Owned)
}

fn rebuild(bytes: &[u8]) -> Result<Option<Vec<u8>>, BinaryReaderError> {
    let mut module = Module::new();
    let mut is_malformed = false;
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload?;
        if let Payload::CustomSection(section) = &payload
            && let KnownCustom::Name(names) = section.as_known()
            && read_all(names).is_err()
        {
            is_malformed = true;
            continue;
        }
        let Some((id, range)) = payload.as_section() else { continue };
        // The range of a code section has the length that the section declares: the file may end before.
        let Some(data) = bytes.get(range) else { return Ok(None) };
        module.section(&RawSection { id, data });
    }
    Ok(is_malformed.then(|| module.finish()))
}

fn read_all(names: NameSectionReader<'_>) -> Result<(), BinaryReaderError> {
    for part in names {
        match part? {
            Name::Module { .. } | Name::Unknown { .. } => {}
            Name::Local(map) | Name::Label(map) | Name::Field(map) => {
                for inner in map {
                    inner?.names.into_iter().try_for_each(|name| name.map(drop))?;
                }
            }
            Name::Function(map)
            | Name::Type(map)
            | Name::Table(map)
            | Name::Memory(map)
            | Name::Global(map)
            | Name::Element(map)
            | Name::Data(map)
            | Name::Tag(map) => map.into_iter().try_for_each(|name| name.map(drop))?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_malformed_name_sections_are_removed() {
        let good = wat::parse_str("(module $m (func $f (param $p i32)) (@custom \"other\" \"x\"))").unwrap();
        assert!(matches!(without_malformed_names(&good), Cow::Borrowed(_)));
        let mut bad = good.clone();
        bad.extend(b"\0\x09\x04name\x01\xff\x7f\x2a");
        assert_eq!(without_malformed_names(&bad), good);
        assert!(matches!(without_malformed_names(b"\0asm\x01\0\0\0\x01"), Cow::Borrowed(_)));
        for length in 0..bad.len() {
            assert!(matches!(without_malformed_names(&bad[..length]), Cow::Borrowed(_)), "{length} bytes");
        }
    }
}
