//! The state of one run: what the plugin may use, and what it has used. The functions that it calls are in
//! [`calls`](super::calls).

use std::sync::Arc;
use std::time::{Duration, Instant};

use vouchd_config::{Grants, Limits};
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::{ResourceTable, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

use super::budget::Share;
use super::command::{Command, Printed, set_arguments};
use super::limiter::Limiter;
use super::lines::{Lines, Printout};
use super::meter::Meter;
use super::outcome::{LogLevel, Probe, Watch};
use super::output::Output;
use crate::contract::ProbeError;
use crate::probes::changes::Changes;
use crate::probes::{CheckIo, Probes};

/// Longest memo, in bytes.
pub(super) const MAX_MEMO: usize = 4096;

/// Random bytes that a plugin may request in one call. Nothing can interrupt the call, and the host holds them all.
const MAX_RANDOM: u64 = 64 << 10;

/// A probe ends this long before the run does, so that the plugin can still say what it waited for.
const MARGIN: Duration = Duration::from_millis(10);

/// The data of a run's store.
pub(crate) struct RunState {
    /// The name of the check.
    pub(super) check: String,
    pub(super) grants: Grants,
    pub(super) shared: Arc<Probes>,
    meter: Arc<Meter>,
    connections: u32,
    max_probes: usize,
    /// Bytes that a probe may send, and receive.
    pub(super) probe_bytes: usize,
    /// Connections that the plugin has open now.
    pub(super) open: u32,
    wasi: WasiCtx,
    /// Used instead of `wasi` by a WASI command that is a core module.
    preview1: Option<WasiP1Ctx>,
    pub(super) table: ResourceTable,
    pub(super) limiter: Limiter,
    pub(super) lines: Lines,
    /// The standard output of a WASI command.
    pub(super) printed: Arc<Printed>,
    pub(super) memo: Memo,
    pub(super) probes: Vec<Probe>,
    /// Why the run can't say anything about the service: its first probe that was denied, or that this host could not make.
    pub(super) denied: Option<String>,
    pub(super) watch: Watch,
    /// The path whose file system has not answered yet.
    pub(super) waits_for: Option<String>,
    /// Where to note what the run looks at. `None`: nobody wants to know.
    pub(super) changes: Option<Arc<Changes>>,
}

/// What the check remembers from run to run.
pub(super) struct Memo {
    pub(super) before: Vec<u8>,
    /// What this run sets.
    pub(super) kept: Option<Vec<u8>>,
    /// The length of a memo that was too long to keep.
    pub(super) too_long: Option<usize>,
}

/// The input of [`RunState::new`].
pub(super) struct Setting<'a> {
    pub(super) check: &'a str,
    pub(super) grants: &'a Grants,
    pub(super) limits: &'a Limits,
    pub(super) meter: Arc<Meter>,
    /// The run's part of the memory of all runs.
    pub(super) share: Share,
    pub(super) memo: Vec<u8>,
    pub(super) changes: Option<Arc<Changes>>,
    /// If the plugin is a WASI command.
    pub(super) command: Option<Command<'a>>,
}

impl RunState {
    pub(super) fn new(shared: &Arc<Probes>, setting: Setting<'_>) -> Self {
        let limits = setting.limits;
        let output = usize::try_from(limits.output).unwrap_or(usize::MAX);
        let lines = Lines::new(usize::try_from(limits.log_lines).unwrap_or(usize::MAX), output);
        // WASI itself gives no directories and no network, only the granted environment.
        let environment: Vec<_> = setting.grants.env.iter().collect();
        let printed = Arc::new(Printed::new(output));
        let mut builder = WasiCtxBuilder::new();
        let as_lines = |level| Output::to(Arc::new(Printout::new(lines.clone(), level)));
        builder
            .envs(&environment)
            .allow_tcp(false)
            .allow_udp(false)
            .max_random_size(MAX_RANDOM)
            .stderr(as_lines(LogLevel::Warn));
        match &setting.command {
            Some(command) => {
                set_arguments(&mut builder, setting.check, command.params);
                builder.stdout(Output::to(Arc::clone(&printed)));
            }
            None => {
                builder.stdout(as_lines(LogLevel::Info));
            }
        }
        let (wasi, preview1) = match &setting.command {
            Some(Command { is_module: true, .. }) => (WasiCtxBuilder::new().build(), Some(builder.build_p1())),
            Some(Command { is_module: false, .. }) | None => (builder.build(), None),
        };
        let mut table = ResourceTable::new();
        table.set_max_capacity(1024);
        RunState {
            check: setting.check.to_owned(),
            grants: setting.grants.clone(),
            shared: Arc::clone(shared),
            meter: setting.meter,
            connections: limits.connections,
            max_probes: usize::try_from(limits.probes).unwrap_or(usize::MAX),
            probe_bytes: usize::try_from(limits.probe_bytes).unwrap_or(usize::MAX),
            open: 0,
            wasi,
            preview1,
            table,
            limiter: Limiter::new(limits.memory, u64::from(limits.table_elements), setting.share),
            lines,
            printed,
            memo: Memo { before: setting.memo, kept: None, too_long: None },
            probes: Vec::new(),
            denied: None,
            watch: Watch::default(),
            waits_for: None,
            changes: setting.changes,
        }
    }

    /// The context of WASI preview 1.
    pub(super) fn preview1(&mut self) -> &mut WasiP1Ctx {
        self.preview1.get_or_insert_with(|| WasiCtxBuilder::new().build_p1())
    }

    /// The time for a probe: what the plugin asks for (0: as long as possible), within what is left of the run.
    pub(super) fn time(&self, wish_ms: u32) -> Duration {
        let left = self.meter.deadline().saturating_duration_since(Instant::now()).saturating_sub(MARGIN);
        let wish = if wish_ms == 0 { left } else { Duration::from_millis(u64::from(wish_ms)) };
        wish.min(left).max(Duration::from_millis(1))
    }

    /// Checks that the run may make another probe.
    pub(super) fn admit(&mut self) -> Result<(), ProbeError> {
        if self.probes.len() < self.max_probes {
            return Ok(());
        }
        let refused = ProbeError::Denied(format!(
            "limits.probes = {} of this check allows no more than this run has made: raise it, or fix the plugin",
            self.max_probes
        ));
        self.remember_refusal(&refused);
        Err(refused)
    }

    /// Checks that the run may open another connection. A plugin waits for each probe, so at most one is being opened.
    pub(super) fn may_connect(&self) -> Result<(), ProbeError> {
        match self.connections {
            0 => Err(ProbeError::Denied(
                "limits.connections = 0 of this check allows no connection: raise it".to_owned(),
            )),
            most if self.open >= most => Err(ProbeError::Denied(format!(
                "limits.connections = {most} of this check allows no more than are open: raise it, or close some"
            ))),
            _ => Ok(()),
        }
    }

    /// Records a probe.
    pub(super) fn note(&mut self, what: String, started: Instant, answer: Result<String, &ProbeError>) {
        if let Err(error) = &answer {
            self.remember_refusal(error);
        }
        let what = what.chars().take(200).collect();
        self.probes.push(Probe { what, answer: answer.unwrap_or_else(ProbeError::words), took: started.elapsed() });
    }

    /// Remembers an error that says nothing about the service. Whatever verdict the plugin derives from it, the run is an
    /// error.
    pub(super) fn remember_refusal(&mut self, error: &ProbeError) {
        if let Some(why) = error.rules_out_a_verdict() {
            self.denied.get_or_insert_with(|| why.to_owned());
        }
    }

    /// Does work that may block on the file system of `place`. If that does not answer, only this check waits.
    pub(super) async fn blocking<T: Send + 'static>(
        &mut self,
        place: &str,
        work: impl FnOnce() -> Result<T, ProbeError> + Clone + Send + 'static,
    ) -> Result<T, ProbeError> {
        let deadline = tokio::time::Instant::now() + self.time(0);
        self.waits_for = Some(place.to_owned());
        let io = self.io();
        let mut done = io.at(place, deadline, work.clone()).await;
        if self.shared.http.makes_room(done.as_ref().err()).await {
            done = io.at(place, deadline, work).await;
        }
        self.waits_for = None;
        done
    }

    pub(super) fn io(&self) -> CheckIo {
        CheckIo { blocking: self.shared.blocking.clone(), check: self.check.clone() }
    }
}

impl WasiView for RunState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}
