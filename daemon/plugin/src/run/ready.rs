//! A plugin of whatever kind, ready to be instantiated and called.

use std::time::{Duration, Instant};

use vouchd_config::ExitCodes;
use wasmtime::{InstancePre, Store};
use wasmtime_wasi::I32Exit;
use wasmtime_wasi::p2::bindings::CommandPre;

use crate::contract::{Context, PluginPre, types};
use crate::run::command::report as program;
use crate::run::state::{Program, RunState};

/// What a run calls.
pub(crate) enum Ready {
    /// `vouchd:check/checker` of a component.
    Checker(PluginPre<RunState>),
    /// `wasi:cli/run` of a component.
    Component(CommandPre<RunState>),
    /// `_start` of a core module.
    Core(InstancePre<RunState>),
}

impl Ready {
    /// What its state needs besides, where the plugin is a program.
    pub(crate) fn program<'a>(&self, params: &'a [(String, String)]) -> Option<Program<'a>> {
        match self {
            Ready::Checker(_) => None,
            Ready::Component(_) => Some(Program { params, core: false }),
            Ready::Core(_) => Some(Program { params, core: true }),
        }
    }

    /// One throw-away instance.
    pub(crate) async fn try_start(&self, store: &mut Store<RunState>) -> wasmtime::Result<()> {
        match self {
            Ready::Checker(pre) => pre.instantiate_async(store).await.map(drop),
            Ready::Component(pre) => pre.instantiate_async(store).await.map(drop),
            Ready::Core(pre) => pre.instantiate_async(store).await.map(drop),
        }
    }

    /// One run. `instantiation` is set to the time it took until the instance was there.
    pub(crate) async fn call(
        &self,
        store: &mut Store<RunState>,
        context: &Context,
        codes: ExitCodes,
        instantiation: &mut Duration,
    ) -> wasmtime::Result<Result<types::Report, String>> {
        let started = Instant::now();
        let ended = match self {
            Ready::Checker(pre) => {
                let instance = pre.instantiate_async(&mut *store).await?;
                *instantiation = started.elapsed();
                return instance.vouchd_check_checker().call_check(store, context).await;
            }
            Ready::Component(pre) => {
                let instance = pre.instantiate_async(&mut *store).await?;
                *instantiation = started.elapsed();
                instance.wasi_cli_run().call_run(&mut *store).await.map(|ended| i32::from(ended.is_err()))
            }
            Ready::Core(pre) => {
                let instance = pre.instantiate_async(&mut *store).await?;
                *instantiation = started.elapsed();
                let start = instance.get_typed_func::<(), ()>(&mut *store, "_start")?;
                start.call_async(&mut *store, ()).await.map(|()| 0)
            }
        };
        let status = match ended {
            Ok(status) => status,
            Err(error) => match error.downcast_ref::<I32Exit>() {
                Some(I32Exit(status)) => *status,
                None => return Err(error),
            },
        };
        Ok(match store.data().printed.text() {
            Ok(printed) => program::answer(status, codes, &printed),
            Err(limit) => Err(format!(
                "the program printed more than limits.output = {limit} bytes allows; raise limits.output of this check, \
                 or fix the program"
            )),
        })
    }
}
