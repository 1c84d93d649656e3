//! Plugins for tests, built from WebAssembly text.

use std::path::Path;

use wit_component::{StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// Addresses of the report and of its message.
const REPORT: usize = 1024;
const MESSAGE: usize = 1100;

/// A plugin that passes, with the message "all is well", unless it is built otherwise.
///
/// It has 8 pages of memory. The report, a `result<report, string>` in the canonical ABI, is at address 1024: the
/// verdict (a byte) at offset 4, the message's address and length at 8 and 12, adjust at 16 and 18, the metrics' address and
/// length at 20 and 24.
#[derive(Debug, Clone)]
pub struct Guest {
    top: String,
    body: String,
    realloc: String,
    answer: String,
    verdict: u8,
    text: &'static str,
}

impl Guest {
    /// A plugin whose `check` runs `body` before it reports. Locals 0 to 4 are the context: address and length of the name,
    /// address and length of the parameters, and the budget.
    pub fn new(body: &str) -> Self {
        Guest {
            top: String::new(),
            body: body.to_owned(),
            realloc: String::new(),
            answer: format!("(i32.const {REPORT})"),
            verdict: 0,
            text: "all is well",
        }
    }

    /// With these module fields, imports first.
    pub fn top(self, top: impl Into<String>) -> Self {
        Guest { top: top.into(), ..self }
    }

    /// With an allocator that runs this first.
    pub fn realloc(self, realloc: &str) -> Self {
        Guest { realloc: realloc.to_owned(), ..self }
    }

    /// With an expression for the report's address.
    pub fn answer(self, answer: &str) -> Self {
        Guest { answer: answer.to_owned(), ..self }
    }

    /// With the report "fail", message "done".
    pub fn fails(self) -> Self {
        Guest { verdict: 2, text: "done", ..self }
    }

    /// The module as WebAssembly text.
    pub fn wat(&self) -> String {
        let Guest { top, body, realloc, answer, verdict, text } = self;
        let mut report = [0u8; 28];
        report[4] = *verdict;
        report[8..12].copy_from_slice(&(MESSAGE as u32).to_le_bytes());
        report[12..16].copy_from_slice(&(text.len() as u32).to_le_bytes());
        let report: String = report.iter().map(|byte| format!("\\{byte:02x}")).collect();
        format!(
            r#"(module {top}
                (memory (export "memory") 8)
                (data (i32.const {REPORT}) "{report}") (data (i32.const {MESSAGE}) "{text}")
                (global $free (mut i32) (i32.const 65536))
                (func $realloc (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                    (local $at i32)
                    {realloc}
                    (local.set $at (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
                    (global.set $free (i32.add (local.get $at) (local.get 3)))
                    (local.get $at))
                (func (export "vouchd:check/checker@0.1.0#check") (param i32 i32 i32 i32 i32) (result i32)
                    {body}
                    {answer}))"#
        )
    }

    /// The module with the contract's metadata, as bindings generate it.
    pub fn module(&self) -> Vec<u8> {
        with_metadata(&self.wat())
    }
}

/// Assembles a core module and embeds the contract's metadata, as bindings do.
///
/// # Panics
/// If the text is not WebAssembly.
pub fn with_metadata(wat: &str) -> Vec<u8> {
    let contract = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sdk/wit/check.wit");
    let mut bytes = assemble(wat);
    let mut resolve = Resolve::default();
    let package = resolve.push_path(contract).expect("the contract").0;
    let world = resolve.select_world(&[package], Some("plugin")).expect("its world");
    embed_component_metadata(&mut bytes, &resolve, world, StringEncoding::UTF8).expect("metadata");
    bytes
}

/// Assembles a module or component.
///
/// # Panics
/// If the text is not WebAssembly.
pub fn assemble(wat: &str) -> Vec<u8> {
    wat::parse_str(wat).unwrap_or_else(|error| panic!("{error}"))
}
