//! Name sections that can't be read. WebAssembly has a malformed custom section ignored; what makes components of modules
//! stumbles over it, so it is left out.

use std::borrow::Cow;

use wasmparser::{BinaryReaderError, KnownCustom, Name, NameSectionReader, Parser, Payload};

use crate::load::adapter_memory::number;

/// A core module without the name sections that can't be read; as it is if there are none, or it can't be read itself.
pub(crate) fn without_broken_names(bytes: &[u8]) -> Cow<'_, [u8]> {
    rebuilt(bytes).ok().flatten().map_or(Cow::Borrowed(bytes), Cow::Owned)
}

fn rebuilt(bytes: &[u8]) -> Result<Option<Vec<u8>>, BinaryReaderError> {
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    let mut is_broken = false;
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload?;
        if let Payload::CustomSection(section) = &payload
            && let KnownCustom::Name(names) = section.as_known()
            && read(names).is_err()
        {
            is_broken = true;
            continue;
        }
        let Some((id, range)) = payload.as_section() else { continue };
        // The code section comes with the length that it declares, of which not all may be there.
        let Some(content) = bytes.get(range) else { return Ok(None) };
        module.push(id);
        module.extend(number(content.len() as u64));
        module.extend(content);
    }
    Ok(is_broken.then_some(module))
}

/// Reads it all.
fn read(names: NameSectionReader<'_>) -> Result<(), BinaryReaderError> {
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
    fn only_names_that_can_not_be_read_are_left_out() {
        let good = wat::parse_str("(module $m (func $f (param $p i32)) (@custom \"other\" \"x\"))").unwrap();
        assert!(matches!(without_broken_names(&good), Cow::Borrowed(_)));
        let mut bad = good.clone();
        bad.extend(b"\0\x09\x04name\x01\xff\x7f\x2a");
        assert_eq!(without_broken_names(&bad), good);
        assert!(matches!(without_broken_names(b"\0asm\x01\0\0\0\x01"), Cow::Borrowed(_)));
        for length in 0..bad.len() {
            assert!(matches!(without_broken_names(&bad[..length]), Cow::Borrowed(_)), "{length} bytes");
        }
    }
}
