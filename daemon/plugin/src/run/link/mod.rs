//! From native code to something that can be instantiated and called.

mod command;

use wasmtime::component::{Component, HasSelf, Linker};
use wasmtime::{Engine, Module};
use wasmtime_wasi::p2::bindings::CommandPre;

use super::failure;
use super::ready::Ready;
use super::state::RunState;
use crate::contract::{Plugin, PluginPre, offered_version};
use crate::load::{Artefact, CompilerFault, Entry, Form, Interfaces, Kind, LoadError, check_interfaces};
use crate::text::line;

/// What this host is doing then, for messages.
const LINKING: &str = "starting the plugin";

/// A plugin that can be instantiated.
pub(crate) struct Linked {
    pub(crate) ready: Ready,
    pub(crate) kind: Kind,
    /// The interfaces of the contract that it imports.
    pub(crate) imports: Vec<String>,
    /// The version of the contract that it was built against, if it exports `checker`.
    pub(crate) contract: Option<String>,
}

/// The functions that plugins may import.
pub(crate) struct Linkers {
    engine: Engine,
    component: Linker<RunState>,
    /// Without the functions of the contract, which depend on the version that a module names.
    module: wasmtime::Linker<RunState>,
}

impl Linkers {
    pub(crate) fn new(engine: &Engine) -> wasmtime::Result<Self> {
        let mut component = Linker::new(engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut component)?;
        Plugin::add_to_linker::<RunState, HasSelf<RunState>>(&mut component, |state| state)?;
        Ok(Linkers { engine: engine.clone(), component, module: command::linker(engine)? })
    }

    /// Links native code. It must come from this daemon's compiler, or from its cache, which verifies that.
    pub(crate) fn link(&self, artefact: &Artefact) -> Result<Linked, LoadError> {
        let kind = artefact.head.kind;
        match artefact.head.form {
            Form::Component => {
                // SAFETY: this is what `precompile_component` returned: in this process or in one that it started for that,
                // now or earlier, and unchanged since by the digest of the cache, whose key nobody else has. Wasmtime itself
                // checks that it was compiled for an engine with these settings.
                let component = unsafe { Component::deserialize(&self.engine, artefact.code()) }.map_err(rejected)?;
                let Interfaces { entry, imports, version } = check_interfaces(&component)?;
                let pre = self.component.instantiate_pre(&component).map_err(contract_error)?;
                let (kind, ready) = match entry {
                    Entry::Checker => (kind, Ready::Checker(PluginPre::new(pre).map_err(contract_error)?)),
                    Entry::Command => (Kind::Command, Ready::Command(CommandPre::new(pre).map_err(contract_error)?)),
                };
                Ok(Linked { ready, kind, imports, contract: version })
            }
            Form::Module => {
                // SAFETY: the same, of `precompile_module`.
                let module = unsafe { Module::deserialize(&self.engine, artefact.code()) }.map_err(rejected)?;
                let mut linker = self.module.clone();
                let imports = command::add_contract(&mut linker, &module)?;
                let ready = Ready::CommandModule(linker.instantiate_pre(&module).map_err(contract_error)?);
                Ok(Linked { ready, kind, imports, contract: None })
            }
        }
    }
}

fn contract_error(error: wasmtime::Error) -> LoadError {
    match failure::hindrance(&error, LINKING) {
        Some(words) => LoadError::Hindered(words),
        None => LoadError::Contract(format!("`vouchd:check` {}: {}", offered_version(), line(error))),
    }
}

/// Why the engine rejects native code: mostly the bounds of its pool, which wasmtime checks when it loads code.
fn rejected(error: wasmtime::Error) -> LoadError {
    if let Some(words) = failure::hindrance(&error, LINKING) {
        return LoadError::Hindered(words);
    }
    let text = line(error);
    // Wasmtime has no types for these, only texts; tests/proposals.rs and tests/hostile.rs pin them.
    if text.contains("count of") || text.contains("transitively contains") {
        LoadError::TooMany(text)
    } else if text.contains("exceeds the limit")
        || text.contains("exceeds the configured maximum")
        || text.contains("minimum size")
        || text.contains("does not fit in pooling allocator")
    {
        LoadError::TooBig(text)
    } else {
        CompilerFault::Rejected(text).into()
    }
}
