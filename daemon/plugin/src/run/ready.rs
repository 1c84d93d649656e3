//! A linked plugin of any kind: instantiating and calling it.

use std::time::{Duration, Instant};

use vouchd_config::ExitCodes;
use wasmtime::{InstancePre, Store};
use wasmtime_wasi::I32Exit;
use wasmtime_wasi::p2::bindings::CommandPre;

use super::command::{Command, report};
use super::state::RunState;
use crate::contract::{Context, PluginPre, types};

/// What a run instantiates and calls.
pub(crate) enum Ready {
    /// A component: its `vouchd:check/checker`.
    Checker(PluginPre<RunState>),
    /// A WASI command that is a component: its `wasi:cli/run`.
    Command(CommandPre<RunState>),
    /// A WASI command that is a core module: its `_start`.
    CommandModule(InstancePre<RunState>),
}

impl Ready {
    /// What the run's state needs to know if the plugin is a WASI command.
    pub(super) fn command<'a>(&self, params: &'a [(String, String)]) -> Option<Command<'a>> {
        match self {
            Ready::Checker(_) => None,
            Ready::Command(_) => Some(Command { params, is_module: false }),
            Ready::CommandModule(_) => Some(Command { params, is_module: true }),
        }
    }

    /// Makes an instance and drops it.
    pub(super) async fn try_start(&self, store: &mut Store<RunState>) -> wasmtime::Result<()> {
        match self {
            Ready::Checker(pre) => pre.instantiate_async(store).await.map(drop),
            Ready::Command(pre) => pre.instantiate_async(store).await.map(drop),
            Ready::CommandModule(pre) => pre.instantiate_async(store).await.map(drop),
        }
    }

    /// Makes an instance and calls it. Sets `instantiation` to the time that making it took.
    pub(super) async fn call(
        &self,
        store: &mut Store<RunState>,
        context: &Context,
        codes: ExitCodes,
        instantiation: &mut Duration,
    ) -> wasmtime::Result<Result<types::Report, String>> {
        let started = Instant::now();
        let exited = match self {
            Ready::Checker(pre) => {
                let instance = pre.instantiate_async(&mut *store).await?;
                *instantiation = started.elapsed();
                return instance.vouchd_check_checker().call_check(store, context).await;
            }
            Ready::Command(pre) => {
                let instance = pre.instantiate_async(&mut *store).await?;
                *instantiation = started.elapsed();
                instance.wasi_cli_run().call_run(&mut *store).await.map(|result| i32::from(result.is_err()))
            }
            Ready::CommandModule(pre) => {
                let instance = pre.instantiate_async(&mut *store).await?;
                *instantiation = started.elapsed();
                let start = instance.get_typed_func::<(), ()>(&mut *store, "_start")?;
                start.call_async(&mut *store, ()).await.map(|()| 0)
            }
        };
        let status = match exited {
            Ok(status) => status,
            Err(error) => match error.downcast_ref::<I32Exit>() {
                Some(I32Exit(status)) => *status,
                None => return Err(error),
            },
        };
        Ok(match store.data().printed.text() {
            Ok(printed) => report::answer(status, codes, &printed),
            Err(limit) => Err(format!(
                "the command printed more than limits.output = {limit} bytes allows; raise limits.output of this check, \
                 or fix the command"
            )),
        })
    }
}
