//! `vouchd-smith SEED COUNT` writes random plugin files to standard output, the same ones for the same seed.
//!
//! Each file follows its number (8 bytes) and its length (4 bytes), both little-endian. The number decides what it is: a module
//! in the shape of a plugin, with imports of the contract; a program; any module with the exports of a plugin; any module; or a
//! component.

use std::io::{self, Write};
use std::panic;

use arbitrary::Unstructured;
use wasm_smith::{Component, Config, Module};

type Error = Box<dyn std::error::Error>;

/// The number of random bytes that a file is made from.
const NOISE: usize = 2048;

const PLUGIN: &str = r#"(module
    (import "vouchd:check/log@0.1.0" "log" (func (param i32 i32 i32)))
    (import "vouchd:check/memo@0.1.0" "set" (func (param i32 i32)))
    (import "vouchd:check/simple@0.1.0" "process-count" (func (param i32 i32) (result i32)))
    (import "vouchd:check/stream@0.1.0" "[resource-drop]connection" (func (param i32)))
    (memory (export "memory") 1 300)
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
    (func (export "vouchd:check/checker@0.1.0#check") (param i32 i32 i32 i32 i32) (result i32) unreachable))"#;

const PROGRAM: &str = r#"(module
    (import "wasi_snapshot_preview1" "proc_exit" (func (param i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_read" (func (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "poll_oneoff" (func (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "random_get" (func (param i32 i32) (result i32)))
    (import "vouchd:check/simple@0.1.0" "tcp-connect" (func (param i32 i32 i32) (result i32)))
    (import "vouchd:check/log@0.1.0" "log" (func (param i32 i32 i32)))
    (memory (export "memory") 1 300)
    (func (export "_start") unreachable))"#;

const EXPORTS: &str = r#"(module
    (memory (export "memory") 1 300)
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
    (func (export "vouchd:check/checker@0.1.0#check") (param i32 i32 i32 i32 i32) (result i32) unreachable))"#;

fn main() -> Result<(), Error> {
    let numbers: Vec<u64> = std::env::args().skip(1).map(|text| text.parse()).collect::<Result<_, _>>()?;
    let [seed, count] = numbers[..] else { return Err("expected SEED and COUNT".into()) };
    let shapes = [wat::parse_str(PLUGIN)?, wat::parse_str(PROGRAM)?, wat::parse_str(EXPORTS)?];
    // wasm-smith gives up by a panic. There is no file for such a number.
    panic::set_hook(Box::new(|_| {}));
    let mut out = io::BufWriter::new(io::stdout().lock());
    let (mut made, mut number) = (0, 0u64);
    while made < count {
        number += 1;
        let noise = noise(seed.wrapping_mul(1_000_003).wrapping_add(number));
        let Ok(Some(bytes)) = panic::catch_unwind(|| file(number, &noise, &shapes)) else { continue };
        out.write_all(&number.to_le_bytes())?;
        out.write_all(&u32::try_from(bytes.len())?.to_le_bytes())?;
        out.write_all(&bytes)?;
        made += 1;
    }
    Ok(out.flush()?)
}

/// Makes the file with this number; `None` if the noise does not suffice.
fn file(number: u64, noise: &[u8], [plugin, program, exports]: &[Vec<u8>; 3]) -> Option<Vec<u8>> {
    let mut source = Unstructured::new(noise);
    let modest = Config { min_funcs: 1, max_funcs: 12, max_instructions: 200, ..Config::default() };
    let config = match number % 8 {
        0..3 => Config { module_shape: Some(plugin.clone()), ..plain(number, modest) },
        3..5 => Config { module_shape: Some(program.clone()), ..plain(number, modest) },
        5 => Config { exports: Some(exports.clone()), ..source.arbitrary().ok()? },
        6 => source.arbitrary().ok()?,
        _ => return Some(Component::new(modest, &mut source).ok()?.to_bytes()),
    };
    Some(Module::new(config, &mut source).ok()?.to_bytes())
}

/// Turns off what no plugin may use. Otherwise most files would be rejected for that reason alone.
fn plain(number: u64, config: Config) -> Config {
    Config {
        gc_enabled: false,
        exceptions_enabled: false,
        memory64_enabled: false,
        threads_enabled: false,
        custom_page_sizes_enabled: false,
        max_memories: 1,
        // Many start functions never end, and the test waits for each.
        allow_start_export: number.is_multiple_of(185),
        reference_types_enabled: false,
        ..config
    }
}

/// The splitmix64 generator.
fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut bytes = Vec::with_capacity(NOISE);
    while bytes.len() < NOISE {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend_from_slice(&(z ^ (z >> 31)).to_le_bytes());
    }
    bytes
}
