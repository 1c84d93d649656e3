//! The imports of a WASI command that is a core module: WASI preview 1, and of the contract the functions that take and
//! return plain numbers.

use wasmtime::{Caller, Engine, Extern, Linker, Module};
use wasmtime_wasi::I32Exit;

use crate::contract::{log, parse_name, simple};
use crate::load::LoadError;
use crate::run::state::RunState;
use crate::text::cut;

/// The export by which every toolchain shares the module's memory.
const MEMORY: &str = "memory";

/// The answer to an argument that is not UTF-8 or too long: "invalid argument" of `simple`.
const INVALID: i32 = -7;

/// Longest text that a command may pass, in bytes.
const MAX_TEXT: u32 = 64 << 10;

/// A linker with WASI preview 1, for every core module.
pub(super) fn linker(engine: &Engine) -> wasmtime::Result<Linker<RunState>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p1::add_to_linker_async(&mut linker, RunState::preview1)?;
    linker.allow_shadowing(true);
    // Wasmtime's own takes exit status 126 and above for a crash.
    linker.func_wrap("wasi_snapshot_preview1", "proc_exit", |status: i32| -> wasmtime::Result<()> {
        Err(I32Exit(status).into())
    })?;
    Ok(linker)
}

/// Adds the functions of the contract that the module imports, under the version that it names. Returns their interfaces.
pub(super) fn add_contract(linker: &mut Linker<RunState>, module: &Module) -> Result<Vec<String>, LoadError> {
    let mut imported = Vec::new();
    for import in module.imports() {
        let Some((interface, _)) = parse_name(import.module()) else { continue };
        define(linker, import.module(), interface, import.name())?;
        if !imported.iter().any(|known| known == interface) {
            imported.push(interface.to_owned());
        }
    }
    Ok(imported)
}

fn define(linker: &mut Linker<RunState>, module: &str, interface: &str, name: &str) -> Result<(), LoadError> {
    let defined = match (interface, name) {
        ("simple", "process-count") => linker.func_wrap_async(module, name, |mut caller, (at, len): (u32, u32)| {
            Box::new(async move {
                let Some(name) = text(&mut caller, at, len)? else { return Ok(INVALID) };
                Ok(simple::Host::process_count(caller.data_mut(), name).await)
            })
        }),
        ("simple", "tcp-connect") => {
            linker.func_wrap_async(module, name, |mut caller, (at, len, ms): (u32, u32, u32)| {
                Box::new(async move {
                    let Some(addr) = text(&mut caller, at, len)? else { return Ok(INVALID) };
                    Ok(simple::Host::tcp_connect(caller.data_mut(), addr, ms).await)
                })
            })
        }
        ("simple", "http-get") => linker.func_wrap_async(module, name, |mut caller, (at, len, ms): (u32, u32, u32)| {
            Box::new(async move {
                let Some(url) = text(&mut caller, at, len)? else { return Ok(INVALID) };
                Ok(simple::Host::http_get(caller.data_mut(), url, ms).await)
            })
        }),
        ("log", "log") => linker.func_wrap_async(module, name, |mut caller, (level, at, len): (u32, u32, u32)| {
            Box::new(async move {
                let level = match level {
                    0 => log::Level::Debug,
                    1 => log::Level::Info,
                    2 => log::Level::Warn,
                    _ => log::Level::Error,
                };
                let Some(message) = text(&mut caller, at, len.min(MAX_TEXT))? else { return Ok(()) };
                log::Host::log(caller.data_mut(), level, message).await;
                Ok(())
            })
        }),
        _ => return Err(LoadError::UnknownImport { name: cut(&format!("{module}#{name}"), 200) }),
    };
    defined.map(|_| ()).map_err(|e| LoadError::Contract(format!("{e:#}")))
}

/// Reads a text in the command's memory. `None` if it is not UTF-8 or too long.
fn text(caller: &mut Caller<'_, RunState>, at: u32, len: u32) -> wasmtime::Result<Option<String>> {
    let Some(Extern::Memory(memory)) = caller.get_export(MEMORY) else {
        return Err(wasmtime::Error::msg("the command exports no memory called `memory`"));
    };
    let (at, len) = (usize::try_from(at)?, usize::try_from(len)?);
    let Some(bytes) = memory.data(&*caller).get(at..).and_then(|rest| rest.get(..len)) else {
        return Err(wasmtime::Error::msg(format!("a text of {len} bytes at {at} is outside of the command's memory")));
    };
    if len > MAX_TEXT as usize {
        return Ok(None);
    }
    Ok(std::str::from_utf8(bytes).ok().map(str::to_owned))
}
