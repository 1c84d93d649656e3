//! WASI programs as checks: what they are started with, what they print, and the contract's plain-number functions as
//! imports of a core module.
//!
//! A core module runs as it is, since an adapter to a component would lose its exit status.

pub(crate) mod report;

use std::sync::{Mutex, PoisonError};

use wasmtime::{Caller, Extern, Linker, Module};
use wasmtime_wasi::{I32Exit, WasiCtxBuilder};

use crate::contract::{log, parse_name, simple};
use crate::load::LoadError;
use crate::run::output::Keep;
use crate::run::state::RunState;
use crate::text::cut;

/// Where a program exports its memory, by convention of every toolchain.
const MEMORY: &str = "memory";

/// What an argument that is no text, or too long to be an address, answers: `simple`'s "invalid argument".
const INVALID: i32 = -7;

/// Longest text that a program may hand over, in bytes.
const MAX_TEXT: u32 = 64 << 10;

/// The preview 1 functions, for every core program.
pub(crate) fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<RunState>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p1::add_to_linker_async(&mut linker, RunState::preview1)?;
    linker.allow_shadowing(true);
    // Wasmtime's own takes 126 and above for a crash.
    linker.func_wrap("wasi_snapshot_preview1", "proc_exit", |status: i32| -> wasmtime::Result<()> {
        Err(I32Exit(status).into())
    })?;
    Ok(linker)
}

/// Adds what this module imports of the contract, by the version that it names. The interfaces that it imports.
pub(crate) fn link(linker: &mut Linker<RunState>, module: &Module) -> Result<Vec<String>, LoadError> {
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

/// A text in the program's memory; none if it is not UTF-8 or too long.
fn text(caller: &mut Caller<'_, RunState>, at: u32, len: u32) -> wasmtime::Result<Option<String>> {
    let Some(Extern::Memory(memory)) = caller.get_export(MEMORY) else {
        return Err(wasmtime::Error::msg("the program exports no memory called `memory`"));
    };
    let (at, len) = (usize::try_from(at)?, usize::try_from(len)?);
    let Some(bytes) = memory.data(&*caller).get(at..).and_then(|rest| rest.get(..len)) else {
        return Err(wasmtime::Error::msg(format!("a text of {len} bytes at {at} is outside of the program's memory")));
    };
    if len > MAX_TEXT as usize {
        return Ok(None);
    }
    Ok(std::str::from_utf8(bytes).ok().map(str::to_owned))
}

/// Arguments and environment of a program: the check's name, and every parameter as `NAME=VALUE`.
pub(crate) fn start_with(builder: &mut WasiCtxBuilder, check: &str, params: &[(String, String)]) {
    // Neither can hold a zero byte, which ends a C string.
    let clean = |text: &str| text.replace('\0', "");
    builder.arg(clean(check));
    for (name, value) in params {
        builder.arg(clean(&format!("{name}={value}")));
        builder.env(clean(name), clean(value));
    }
}

/// The standard output of a program: kept up to a limit.
pub(crate) struct Printed(Mutex<Kept>);

struct Kept {
    data: Vec<u8>,
    limit: usize,
    too_much: bool,
}

impl Printed {
    pub(crate) fn new(limit: usize) -> Self {
        Printed(Mutex::new(Kept { data: Vec::new(), limit, too_much: false }))
    }

    /// What was printed, or the limit that it passed.
    pub(crate) fn text(&self) -> Result<String, usize> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.too_much { Err(kept.limit) } else { Ok(String::from_utf8_lossy(&kept.data).into_owned()) }
    }
}

impl Keep for Printed {
    fn keep(&self, data: &[u8]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = kept.limit.saturating_sub(kept.data.len());
        kept.too_much |= data.len() > room;
        kept.data.extend_from_slice(&data[..data.len().min(room)]);
    }
}
