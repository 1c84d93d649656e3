//! Memory for the preview 1 adapter in modules whose runtime takes all linear memory for itself.
//!
//! The adapter needs a page for its stack and a page for its state. `wit-component` gets them from the module's
//! `cabi_realloc`, or adds pages to the module's memory. Go's runtime assumes that nobody else adds pages: its heap would
//! overlap the adapter's. It can't be asked for memory either, since it calls the adapter before any of its functions may be
//! called. So a module may contain an array that begins with [`MARK`]; this file adds a function that hands out parts of it.

use std::borrow::Cow;

use wasm_encoder::{BlockType, Encode, ExportKind, Function, MemArg, Module, RawSection, SectionId};
use wasmparser::{
    BinaryReader, BinaryReaderError, CompositeInnerType, DataKind, ExternalKind, FuncType, Operator, Parser, Payload,
    TypeRef, ValType,
};

/// The beginning of the array. Two little-endian `u32` follow: the bytes in use, and the size of the whole array.
const MARK: &[u8; 16] = b"vouchd:wasi-room";
const USED_AT: u64 = 16;
const SIZE_AT: usize = 20;

/// The export that `wit-component` prefers for the adapter's memory.
const EXPORT: &str = "cabi_realloc_adapter";

/// Adds that function to the module. A module without such an array is returned unchanged.
pub(super) fn with_adapter_memory(bytes: &[u8]) -> Result<Cow<'_, [u8]>, BinaryReaderError> {
    let mut outline = Outline::default();
    for payload in Parser::new(0).parse_all(bytes) {
        outline.add(&payload?)?;
    }
    let (Some(array), Some(type_index), false) = (outline.array, outline.realloc_type, outline.has_function) else {
        return Ok(Cow::Borrowed(bytes));
    };
    let mut export = Vec::new();
    EXPORT.encode(&mut export);
    ExportKind::Func.encode(&mut export);
    outline.functions.encode(&mut export);
    let (mut function, mut code) = (Vec::new(), Vec::new());
    type_index.encode(&mut function);
    array.realloc().encode(&mut code);
    let additions = [(SectionId::Function, function), (SectionId::Export, export), (SectionId::Code, code)];

    let mut module = Module::new();
    for payload in Parser::new(0).parse_all(bytes) {
        let Some((id, range)) = payload?.as_section() else { continue };
        let Some(data) = bytes.get(range) else { return Ok(Cow::Borrowed(bytes)) };
        match additions.iter().find(|(added, _)| u8::from(*added) == id) {
            Some((_, entry)) => module.section(&RawSection { id, data: &with_entry(data, entry)? }),
            None => module.section(&RawSection { id, data }),
        };
    }
    Ok(Cow::Owned(module.finish()))
}

/// The array in the module's memory, in bytes.
#[derive(Debug, Clone, Copy)]
struct Array {
    address: u32,
    size: u32,
}

/// What the new function depends on.
#[derive(Default)]
struct Outline {
    array: Option<Array>,
    /// The index of a type that takes four `i32` and returns one.
    realloc_type: Option<u32>,
    functions: u32,
    has_function: bool,
}

impl Outline {
    fn add(&mut self, payload: &Payload<'_>) -> Result<(), BinaryReaderError> {
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
                        self.array = self.array.or_else(|| Array::find(segment.data, value.cast_unsigned()));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl Array {
    /// Finds the array in a data segment that begins at `begin`.
    fn find(data: &[u8], begin: u32) -> Option<Self> {
        let at = data.windows(MARK.len()).position(|window| window == MARK)?;
        let size = data.get(at + SIZE_AT..)?.first_chunk()?;
        Some(Array { address: begin.checked_add(u32::try_from(at).ok()?)?, size: u32::from_le_bytes(*size) })
    }

    /// The function `realloc(old, old_size, align, size)`. The adapter only asks for new memory, so it ignores `old`. It traps
    /// when the array is used up.
    fn realloc(self) -> Function {
        const END: u32 = 1; // reuses the parameter `old_size`
        const ALIGN: u32 = 2;
        const SIZE: u32 = 3;
        const RESULT: u32 = 4;
        let used = MemArg { offset: USED_AT, align: 2, memory_index: 0 };
        let address = self.address.cast_signed();
        let mut function = Function::new([(1, wasm_encoder::ValType::I32)]);
        function
            .instructions()
            // result = (address + used + align - 1) & -align
            .i32_const(address)
            .i32_const(address)
            .i32_load(used)
            .i32_add()
            .local_get(ALIGN)
            .i32_add()
            .i32_const(1)
            .i32_sub()
            .i32_const(0)
            .local_get(ALIGN)
            .i32_sub()
            .i32_and()
            .local_tee(RESULT)
            // end = result + size - address
            .local_get(SIZE)
            .i32_add()
            .i32_const(address)
            .i32_sub()
            .local_tee(END)
            .i32_const(self.size.cast_signed())
            .i32_gt_u()
            .if_(BlockType::Empty)
            .unreachable()
            .end()
            // used = end
            .i32_const(address)
            .local_get(END)
            .i32_store(used)
            .local_get(RESULT)
            .end();
        function
    }
}

/// A section's content with one more entry at its end.
fn with_entry(section: &[u8], entry: &[u8]) -> Result<Vec<u8>, BinaryReaderError> {
    let mut reader = BinaryReader::new(section, 0);
    let count = reader.read_var_u32()?;
    let mut content = Vec::with_capacity(section.len() + entry.len() + 1);
    count.saturating_add(1).encode(&mut content);
    content.extend_from_slice(&section[reader.current_position()..]);
    content.extend_from_slice(entry);
    Ok(content)
}

#[cfg(test)]
mod tests {
    use wasmtime::{Engine, Instance, Module, Store};

    use super::*;

    fn module(array_size: u32) -> Vec<u8> {
        let size: String = array_size.to_le_bytes().iter().map(|byte| format!("\\{byte:02x}")).collect();
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
    fn array_is_handed_out_up_to_its_size() {
        let (mut store, instance) = instance(&with_adapter_memory(&module(24 + (2 << 16))).unwrap());
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
    fn module_without_the_array_stays_unchanged() {
        let bytes = wat::parse_str("(module (memory 1) (data (i32.const 8) \"vouchd:wasi-roo\"))").unwrap();
        assert!(matches!(with_adapter_memory(&bytes).unwrap(), Cow::Borrowed(_)));
    }
}
