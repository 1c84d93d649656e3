//! What a check is given: its parameters, the time it has, and the daemon's services.

use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::error::{ProbeError, Result};
use crate::params::{ParamError, from_pairs};
use crate::probes::{HttpRequest, HttpResponse, Process, ProcessQuery, TcpReply, TcpRequest};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

/// The services behind a [`Context`]: the daemon's, or those of a test.
pub trait Host {
    fn find_processes(&self, query: &ProcessQuery) -> Result<Vec<Process>, ProbeError>;
    fn tcp(&self, request: &TcpRequest) -> Result<TcpReply, ProbeError>;
    fn http(&self, request: &HttpRequest) -> Result<HttpResponse, ProbeError>;
    fn log(&self, level: Level, message: &str);
    fn recall(&self) -> Vec<u8>;
    fn remember(&self, data: &[u8]);
}

/// One run of a check.
pub struct Context<'a> {
    name: String,
    params: Vec<(String, String)>,
    budget: Duration,
    host: &'a dyn Host,
}

impl<'a> Context<'a> {
    pub fn new(name: String, params: Vec<(String, String)>, budget: Duration, host: &'a dyn Host) -> Self {
        Context { name, params, budget, host }
    }

    /// Name of the check in the daemon's configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Time that the run had when it began; a run that takes longer counts as failed.
    pub fn budget(&self) -> Duration {
        self.budget
    }

    /// The check's `params` as a type of the plugin. Use `#[serde(deny_unknown_fields)]`, so that a misspelt one is told.
    ///
    /// # Errors
    /// If a parameter is missing, unknown or of the wrong type.
    pub fn params<T: DeserializeOwned>(&self) -> Result<T, ParamError> {
        from_pairs(&self.params)
    }

    /// Running processes that fit the query. They are watched: when one ends, the check runs again at once.
    ///
    /// # Errors
    /// If it is not granted, or the query makes no sense.
    pub fn find_processes(&self, query: &ProcessQuery) -> Result<Vec<Process>, ProbeError> {
        self.host.find_processes(query)
    }

    /// # Errors
    /// If it is not granted, or no connection came about.
    pub fn tcp(&self, request: &TcpRequest) -> Result<TcpReply, ProbeError> {
        self.host.tcp(request)
    }

    /// # Errors
    /// If it is not granted, or no response came.
    pub fn http(&self, request: &HttpRequest) -> Result<HttpResponse, ProbeError> {
        self.host.http(request)
    }

    /// A line for the daemon's log.
    pub fn log(&self, level: Level, message: &str) {
        self.host.log(level, message);
    }

    /// What the check's last run remembered; empty at first.
    pub fn recall(&self) -> Vec<u8> {
        self.host.recall()
    }

    /// Keeps up to 4096 bytes for the next run, if this one ends with a report.
    pub fn remember(&self, data: &[u8]) {
        self.host.remember(data);
    }
}
