//! The store of one run: what the plugin may use of it, what it has used, and functions that it calls; more of these are
//! in `calls`.

use std::time::{Duration, Instant};

use vouchd_config::{Grants, Limits};
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::{ResourceTable, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

use std::sync::Arc;

use crate::contract::{ProbeError, http, log, memo, process, simple, tcp, types};
use crate::probes::changes::Changes;
use crate::probes::{self, CheckIo, Probes};
use crate::run::budget::Share;
use crate::run::command::{self, Printed};
use crate::run::limiter::Limiter;
use crate::run::lines::{Lines, Printout};
use crate::run::outcome::{LogLevel, Probe, Watch};
use crate::run::output::Output;
use crate::run::turns::Meter;

/// Processes that are watched between two runs of a check: each takes a descriptor.
const MAX_WATCHED_PROCESSES: usize = 64;

/// Bytes that a check may remember.
pub(crate) const MAX_MEMO: usize = 4096;

/// Random bytes that a plugin may draw in one call: nothing can end it while they are made, and the host holds them all.
const MAX_RANDOM: u64 = 64 << 10;

/// A probe ends this long before the run does, so that the plugin can still say what it waited for.
const MARGIN: Duration = Duration::from_millis(10);

pub(crate) struct RunState {
    check: String,
    pub(crate) grants: Grants,
    pub(crate) shared: Arc<Probes>,
    meter: Arc<Meter>,
    connections: u32,
    max_probes: usize,
    /// Bytes that a probe may send, and receive.
    pub(crate) probe_bytes: usize,
    /// Connections that the plugin has open now.
    pub(crate) open: u32,
    wasi: WasiCtx,
    /// Of a core program; others have `wasi`.
    preview1: Option<WasiP1Ctx>,
    pub(crate) table: ResourceTable,
    pub(crate) limiter: Limiter,
    pub(crate) lines: Lines,
    /// What a program printed.
    pub(crate) printed: Arc<Printed>,
    pub(crate) memo: Memo,
    pub(crate) probes: Vec<Probe>,
    /// Why nothing can be said of the service: the first refusal of the run, or the first thing that this host can't do.
    pub(crate) denied: Option<String>,
    pub(crate) watch: Watch,
    /// The place that the run looks at and has no answer from yet.
    pub(crate) waits_for: Option<String>,
    /// None: nobody wants to know.
    pub(crate) changes: Option<Arc<Changes>>,
}

/// What the check remembers, before and during the run.
pub(crate) struct Memo {
    before: Vec<u8>,
    pub(crate) kept: Option<Vec<u8>>,
    /// Length of one that was too long to keep.
    pub(crate) too_long: Option<usize>,
}

/// Where a run's time and texts come from, for [`RunState::new`].
pub(crate) struct Setting<'a> {
    pub(crate) check: &'a str,
    pub(crate) grants: &'a Grants,
    pub(crate) limits: &'a Limits,
    pub(crate) meter: Arc<Meter>,
    /// Of the memory of all runs.
    pub(crate) share: Share,
    pub(crate) memo: Vec<u8>,
    pub(crate) changes: Option<Arc<Changes>>,
    /// Where the plugin is a program: others are handed their parameters when they are called.
    pub(crate) program: Option<Program<'a>>,
}

/// What only a program needs.
pub(crate) struct Program<'a> {
    pub(crate) params: &'a [(String, String)],
    /// A core module, which has the preview 1 functions.
    pub(crate) core: bool,
}

impl RunState {
    pub(crate) fn new(shared: &Arc<Probes>, setting: Setting<'_>) -> Self {
        let limits = setting.limits;
        let output = usize::try_from(limits.output).unwrap_or(usize::MAX);
        let lines = Lines::new(usize::try_from(limits.log_lines).unwrap_or(usize::MAX), output);
        // No directories, no network, the granted environment. What is printed is kept.
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
        match &setting.program {
            Some(program) => {
                command::start_with(&mut builder, setting.check, program.params);
                builder.stdout(Output::to(Arc::clone(&printed)));
            }
            None => {
                builder.stdout(as_lines(LogLevel::Info));
            }
        }
        let (wasi, preview1) = match &setting.program {
            Some(Program { core: true, .. }) => (WasiCtxBuilder::new().build(), Some(builder.build_p1())),
            Some(Program { core: false, .. }) | None => (builder.build(), None),
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

    /// What preview 1 functions work on.
    pub(crate) fn preview1(&mut self) -> &mut WasiP1Ctx {
        self.preview1.get_or_insert_with(|| WasiCtxBuilder::new().build_p1())
    }

    /// How long a probe may take: what the plugin asked for (0: no wish), within what is left of the run.
    pub(crate) fn time(&self, wish_ms: u32) -> Duration {
        let left = self.meter.deadline().saturating_duration_since(Instant::now()).saturating_sub(MARGIN);
        let wish = if wish_ms == 0 { left } else { Duration::from_millis(u64::from(wish_ms)) };
        wish.min(left).max(Duration::from_millis(1))
    }

    pub(crate) fn admit(&mut self) -> Result<(), ProbeError> {
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

    /// A plugin waits for each probe, so that besides those it holds open it has one connection under way.
    pub(crate) fn may_connect(&self) -> Result<(), ProbeError> {
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

    /// Keeps the record of a probe.
    pub(crate) fn note(&mut self, what: String, started: Instant, answer: Result<String, &ProbeError>) {
        if let Err(error) = &answer {
            self.remember_refusal(error);
        }
        let what = what.chars().take(200).collect();
        self.probes.push(Probe { what, answer: answer.unwrap_or_else(ProbeError::words), took: started.elapsed() });
    }

    /// What a plugin makes of a refusal, or of something that this host can't do, is not known to be about the service: the
    /// run is an error.
    pub(crate) fn remember_refusal(&mut self, error: &ProbeError) {
        if let Some(why) = error.rules_out_a_verdict() {
            self.denied.get_or_insert_with(|| why.to_owned());
        }
    }

    /// Does what may block on the file system of a place, at the expense of this check alone.
    pub(crate) async fn aside<T: Send + 'static>(
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

    pub(crate) fn io(&self) -> CheckIo {
        CheckIo { blocking: self.shared.blocking.clone(), check: self.check.clone() }
    }

    async fn find_processes(&mut self, query: process::Query) -> Result<Vec<process::Info>, ProbeError> {
        self.admit()?;
        let started = Instant::now();
        let what = describe(&query);
        let (shared, grants) = (Arc::clone(&self.shared), self.grants.clone());
        let bound = self.probe_bytes;
        let place = query.pid_file.clone().unwrap_or_else(|| "/proc".to_owned());
        let found = self.aside(&place, move || shared.processes.find(&grants, &query, bound)).await;
        self.note(what, started, found.as_ref().map(|(infos, _)| format!("{} found", infos.len())));
        let (infos, handles) = found?;
        let room = MAX_WATCHED_PROCESSES.saturating_sub(self.watch.processes.len());
        self.watch.processes.extend(handles.into_iter().take(room));
        Ok(infos)
    }

    async fn probe_tcp(&mut self, request: probes::tcp::Request, timeout_ms: u32) -> Result<tcp::Reply, ProbeError> {
        self.admit()?;
        let (started, time) = (Instant::now(), self.time(timeout_ms));
        let what = format!("tcp {}", request.addr);
        let reply = match self.may_connect() {
            Ok(()) => match probes::tcp::probe(&self.grants, &request, self.probe_bytes, time).await {
                // It had not even begun.
                Err(error) if self.shared.http.makes_room(Some(&error)).await => {
                    probes::tcp::probe(&self.grants, &request, self.probe_bytes, time).await
                }
                reply => reply,
            },
            Err(denied) => Err(denied),
        };
        let answer = reply.as_ref().map(|r| match r.data.len() {
            0 => "connected".to_owned(),
            n => format!("connected, {n} bytes"),
        });
        self.note(what, started, answer);
        reply
    }

    async fn fetch_http(&mut self, request: http::Request) -> Result<http::Response, ProbeError> {
        self.admit()?;
        let (started, time) = (Instant::now(), self.time(request.timeout_ms));
        let what = format!("http {} {}", request.method, request.url);
        let response = match self.may_connect() {
            Ok(()) => self.shared.http.fetch(&self.check, &self.grants, request, self.probe_bytes, time).await,
            Err(denied) => Err(denied),
        };
        self.note(what, started, response.as_ref().map(|r| r.status.to_string()));
        response
    }
}

fn describe(query: &process::Query) -> String {
    let mut words = vec!["process".to_owned()];
    words.extend(query.name.clone());
    words.extend(query.cmdline.as_ref().map(|c| format!("cmdline {c:?}")));
    words.extend(query.pid_file.as_ref().map(|p| format!("pid file {p}")));
    words.extend(query.user.as_ref().map(|u| format!("of {u}")));
    words.join(" ")
}

impl WasiView for RunState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl types::Host for RunState {
    fn convert_probe_error(&mut self, error: ProbeError) -> wasmtime::Result<types::ProbeError> {
        Ok(error.into())
    }
}

impl From<ProbeError> for types::ProbeError {
    fn from(error: ProbeError) -> Self {
        match error {
            ProbeError::Denied(text) => types::ProbeError::Denied(text),
            // The case that every SDK takes for an error of the check.
            ProbeError::Unable(text) | ProbeError::Invalid(text) => types::ProbeError::Invalid(text),
            ProbeError::Timeout => types::ProbeError::Timeout,
            ProbeError::Refused => types::ProbeError::Refused,
            ProbeError::Unresolved => types::ProbeError::Unresolved,
            ProbeError::Tls(text) => types::ProbeError::Tls(text),
            ProbeError::Other(text) => types::ProbeError::Other(text),
        }
    }
}

impl process::Host for RunState {
    async fn find(&mut self, query: process::Query) -> Result<Vec<process::Info>, ProbeError> {
        self.find_processes(query).await
    }
}

impl tcp::Host for RunState {
    async fn probe(
        &mut self,
        addr: String,
        send: Vec<u8>,
        until: Option<Vec<u8>>,
        max_bytes: u32,
        timeout_ms: u32,
    ) -> Result<tcp::Reply, ProbeError> {
        self.probe_tcp(probes::tcp::Request { addr, send, until, max_bytes }, timeout_ms).await
    }
}

impl http::Host for RunState {
    async fn fetch(&mut self, request: http::Request) -> Result<http::Response, ProbeError> {
        self.fetch_http(request).await
    }
}

impl log::Host for RunState {
    async fn log(&mut self, level: log::Level, message: String) {
        let level = match level {
            log::Level::Debug => LogLevel::Debug,
            log::Level::Info => LogLevel::Info,
            log::Level::Warn => LogLevel::Warn,
            log::Level::Error => LogLevel::Error,
        };
        self.lines.push(level, &message);
    }
}

impl memo::Host for RunState {
    async fn get(&mut self) -> Vec<u8> {
        self.memo.kept.clone().unwrap_or_else(|| self.memo.before.clone())
    }

    async fn set(&mut self, data: Vec<u8>) {
        if data.len() > MAX_MEMO {
            self.memo.too_long = Some(data.len());
        } else {
            self.memo.kept = Some(data);
        }
    }
}

impl simple::Host for RunState {
    async fn process_count(&mut self, name: String) -> i32 {
        let query = process::Query { name: Some(name), cmdline: None, pid_file: None, user: None };
        number(self.find_processes(query).await.map(|found| found.len()))
    }

    async fn tcp_connect(&mut self, addr: String, timeout_ms: u32) -> i32 {
        let request = probes::tcp::Request { addr, send: Vec::new(), until: None, max_bytes: 0 };
        number(self.probe_tcp(request, timeout_ms).await.map(|reply| reply.connect_us))
    }

    async fn http_get(&mut self, url: String, timeout_ms: u32) -> i32 {
        let request = http::Request {
            method: "GET".to_owned(),
            url,
            headers: Vec::new(),
            body: Vec::new(),
            timeout_ms,
            max_body_bytes: 0,
            tls_verify: true,
            sni: None,
            follow_redirects: 0,
            reuse_connection: false,
        };
        number(self.fetch_http(request).await.map(|response| response.status))
    }
}

/// The answers of `simple`: a number, or what went wrong as a negative one.
fn number<N: TryInto<i32>>(answer: Result<N, ProbeError>) -> i32 {
    match answer {
        Ok(n) => n.try_into().unwrap_or(i32::MAX),
        Err(ProbeError::Denied(_)) => -1,
        Err(ProbeError::Timeout) => -2,
        Err(ProbeError::Refused) => -3,
        Err(ProbeError::Unresolved) => -4,
        Err(ProbeError::Tls(_)) => -5,
        Err(ProbeError::Other(_)) => -6,
        Err(ProbeError::Invalid(_)) => -7,
        Err(ProbeError::Unable(_)) => -8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_finds_what_the_host_cannot_do_as_invalid() {
        let error = types::ProbeError::from(ProbeError::Unable("no descriptor".to_owned()));
        assert!(matches!(error, types::ProbeError::Invalid(text) if text == "no descriptor"));
    }
}
