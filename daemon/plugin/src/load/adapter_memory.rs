//! Room for the preview 1 adapter in modules whose runtime takes all memory for its own.
//!
//! The adapter has a stack and a state, a page each. They lie where the module's `cabi_realloc` says, or else in pages that
//! are added to its memory. Go's runtime counts on nobody else adding pages: its heap would come to lie over the adapter's.
//! Nor can it be asked for room, for it calls the adapter before any of its functions may be called. So a module may bring an
//! array that begins with [`MARK`], and is given a function here that hands that out.

use wasmparser::{
    BinaryReaderError, CompositeInnerType, DataKind, ExternalKind, FuncType, Operator, Parser, Payload, TypeRef,
    ValType,
};

/// What the array begins with, followed by two little-endian `u32`: how much of it is used so far, and its size, in bytes.
const MARK: &[u8; 16] = b"vouchd:wasi-room";
const USED_AT: u8 = 16;
const SIZE_AT: usize = 20;

/// By this name `wit-component` lets the adapter have a function of its own to ask.
const EXPORT: &str = "cabi_realloc_adapter";

/// The module with that function; as it is if it has no such array.
pub(crate) fn with_room(bytes: &[u8]) -> Result<Vec<u8>, BinaryReaderError> {
    let mut found = Found::default();
    for payload in Parser::new(0).parse_all(bytes) {
        found.look(&payload?)?;
    }
    let (Some((address, size)), Some(type_index), false) = (found.room, found.realloc_type, found.has_function) else {
        return Ok(bytes.to_vec());
    };
    let mut export = number(EXPORT.len() as u64);
    export.extend_from_slice(EXPORT.as_bytes());
    export.push(0);
    export.extend(number(u64::from(found.functions)));
    let body = hand_out(address, size);
    let mut code = number(body.len() as u64);
    code.extend(body);
    let additions = [(3, number(u64::from(type_index))), (7, export), (10, code)];

    let mut module = b"\0asm\x01\0\0\0".to_vec();
    for payload in Parser::new(0).parse_all(bytes) {
        let Some((id, range)) = payload?.as_section() else { continue };
        let Some(section) = bytes.get(range) else { return Ok(bytes.to_vec()) };
        let content = match additions.iter().find(|(added, _)| *added == id) {
            Some((_, addition)) => one_more(section, addition)?,
            None => section.to_vec(),
        };
        module.push(id);
        module.extend(number(content.len() as u64));
        module.extend(content);
    }
    Ok(module)
}

/// What has to be known of a module.
#[derive(Default)]
struct Found {
    /// Address and size of the array.
    room: Option<(u32, u32)>,
    /// Which type takes four numbers and gives one.
    realloc_type: Option<u32>,
    functions: u32,
    has_function: bool,
}

impl Found {
    fn look(&mut self, payload: &Payload<'_>) -> Result<(), BinaryReaderError> {
        match payload {
            Payload::TypeSection(types) => {
                let wanted = FuncType::new([ValType::I32; 4], [ValType::I32]);
                let mut index = 0;
                for group in types.clone() {
                    for ty in group?.into_types() {
                        let is_plain = ty.is_final && ty.supertype_idx.is_none() && !ty.composite_type.shared;
                        if is_plain && matches!(&ty.composite_type.inner, CompositeInnerType::Func(ty) if *ty == wanted)
                        {
                            self.realloc_type.get_or_insert(index);
                        }
                        index += 1;
                    }
                }
            }
            Payload::ImportSection(imports) => {
                for import in imports.clone().into_imports() {
                    let is_function = matches!(import?.ty, TypeRef::Func(_));
                    self.functions = self.functions.saturating_add(u32::from(is_function));
                }
            }
            Payload::FunctionSection(functions) => {
                self.functions = self.functions.saturating_add(functions.count());
            }
            Payload::ExportSection(exports) => {
                for export in exports.clone() {
                    let export = export?;
                    self.has_function |= export.kind == ExternalKind::Func && export.name == EXPORT;
                }
            }
            Payload::DataSection(segments) => {
                for segment in segments.clone() {
                    let segment = segment?;
                    let DataKind::Active { memory_index: 0, offset_expr } = segment.kind else { continue };
                    if let Operator::I32Const { value } = offset_expr.get_operators_reader().read()? {
                        self.room = self.room.or_else(|| room(segment.data, value.cast_unsigned()));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}

fn room(data: &[u8], begin: u32) -> Option<(u32, u32)> {
    let at = data.windows(MARK.len()).position(|window| window == MARK)?;
    let size = data.get(at + SIZE_AT..)?.first_chunk()?;
    Some((begin.checked_add(u32::try_from(at).ok()?)?, u32::from_le_bytes(*size)))
}

/// A section of entries with one more at its end.
fn one_more(section: &[u8], entry: &[u8]) -> Result<Vec<u8>, BinaryReaderError> {
    let mut reader = wasmparser::BinaryReader::new(section, 0);
    let count = reader.read_var_u32()?;
    let mut content = number(u64::from(count) + 1);
    content.extend_from_slice(&section[reader.current_position()..]);
    content.extend_from_slice(entry);
    Ok(content)
}

/// The body of `realloc(old, old_size, align, size)`, which is asked for new room only. Traps when there is none left.
fn hand_out(address: u32, size: u32) -> Vec<u8> {
    let (base, most) = (constant(address), constant(size));
    [
        [1, 1, 0x7f].as_slice(), // a local, 4
        &base,
        &base,
        &base,
        &[0x28, 2, USED_AT, 0x6a],       // base + used
        &[0x20, 2, 0x6a, 0x41, 1, 0x6b], // + align - 1
        &[0x41, 0, 0x20, 2, 0x6b, 0x71], // & -align
        &[0x22, 4, 0x20, 3, 0x6a],       // is the answer, 4; + size
        &base,
        &[0x6b, 0x22, 1], // - base: what is used then, 1
        &most,
        &[0x4b, 0x04, 0x40, 0x00, 0x0b], // if that is more than there is: unreachable
        &[0x20, 1, 0x36, 2, USED_AT],    // at the base that was left on the stack
        &[0x20, 4, 0x0b],
    ]
    .concat()
}

/// `i32.const`
fn constant(value: u32) -> Vec<u8> {
    let mut left = i64::from(value.cast_signed());
    let mut code = vec![0x41];
    loop {
        let digit = u8::try_from(left & 0x7f).unwrap_or(0);
        left >>= 7;
        let is_last = (left == 0 && digit & 0x40 == 0) || (left == -1 && digit & 0x40 != 0);
        code.push(if is_last { digit } else { digit | 0x80 });
        if is_last {
            return code;
        }
    }
}

/// LEB128.
pub(crate) fn number(mut value: u64) -> Vec<u8> {
    let mut code = Vec::new();
    loop {
        let digit = u8::try_from(value & 0x7f).unwrap_or(0);
        value >>= 7;
        code.push(if value == 0 { digit } else { digit | 0x80 });
        if value == 0 {
            return code;
        }
    }
}

#[cfg(test)]
mod tests {
    use wasmtime::{Engine, Instance, Module, Store};

    use super::*;

    fn module(room_size: u32) -> Vec<u8> {
        let size: String = room_size.to_le_bytes().iter().map(|byte| format!("\\{byte:02x}")).collect();
        let text = format!(
            r#"(module
                (type (func)) (type (func (param i32 i32 i32 i32) (result i32)))
                (memory (export "memory") 4)
                (func (export "other") (type 0))
                (data (i32.const 70000) "before vouchd:wasi-room\18\00\00\00{size}"))"#
        );
        wat::parse_str(text).unwrap()
    }

    fn instance(bytes: &[u8]) -> (Store<()>, Instance) {
        let engine = Engine::default();
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &Module::new(&engine, bytes).unwrap(), &[]).unwrap();
        (store, instance)
    }

    #[test]
    fn what_the_array_has_is_handed_out_and_no_more() {
        let (mut store, instance) = instance(&with_room(&module(24 + (2 << 16))).unwrap());
        assert!(instance.get_func(&mut store, "other").is_some());
        let realloc = instance.get_typed_func::<(i32, i32, i32, i32), i32>(&mut store, EXPORT).unwrap();
        let mut ask = |align| realloc.call(&mut store, (0, 0, align, 65_528)).map_err(|e| e.to_string());
        // 7 for what stands before the mark, 24 for the mark and the numbers.
        assert_eq!(ask(1).unwrap(), 70_000 + 7 + 24);
        // The first is at 70031 and ends at 135559.
        assert_eq!(ask(8).unwrap(), 135_560);
        assert!(ask(8).is_err());
    }

    #[test]
    fn a_module_without_such_an_array_stays_as_it_is() {
        let bytes = wat::parse_str("(module (memory 1) (data (i32.const 8) \"vouchd:wasi-roo\"))").unwrap();
        assert_eq!(with_room(&bytes).unwrap(), bytes);
    }

    #[test]
    fn numbers_are_encoded_as_webassembly_has_them() {
        let table: [(u32, &[u8]); 4] =
            [(0, &[0x41, 0]), (63, &[0x41, 63]), (64, &[0x41, 0xc0, 0]), (u32::MAX, &[0x41, 0x7f])];
        for (value, expected) in table {
            assert_eq!(constant(value), expected, "{value}");
        }
        assert_eq!(number(300), [0xac, 2]);
    }
}
