//! A double of the daemon, to test a check with `cargo test`.
//!
//! ```
//! use vouchd_check::testing::FakeHost;
//! use vouchd_check::{Context, ProbeError, Report, Result, TcpRequest, Verdict};
//!
//! fn check(ctx: &Context) -> Result<Report> {
//!     match ctx.tcp(&TcpRequest::connect("127.0.0.1:25")) {
//!         Ok(_) => Ok(Report::pass("accepts mail")),
//!         Err(error) => error.or_fail("127.0.0.1:25"),
//!     }
//! }
//!
//! let host = FakeHost::new().on_tcp(|_| Err(ProbeError::Refused));
//! let report = host.run(check, &[]).unwrap();
//! assert_eq!(report.verdict, Verdict::Fail);
//! ```

use std::cell::RefCell;
use std::time::Duration;

use crate::context::{Context, Host, Level};
use crate::error::{ProbeError, Result};
use crate::probes::{HttpRequest, HttpResponse, Process, ProcessQuery, TcpReply, TcpRequest};
use crate::report::Report;

type Answer<Q, A> = Box<dyn Fn(&Q) -> Result<A, ProbeError>>;

/// Answers probes as the test says; without an answer a probe is denied.
pub struct FakeHost {
    processes: Answer<ProcessQuery, Vec<Process>>,
    tcp: Answer<TcpRequest, TcpReply>,
    http: Answer<HttpRequest, HttpResponse>,
    memo: RefCell<Vec<u8>>,
    log: RefCell<Vec<(Level, String)>>,
}

impl Default for FakeHost {
    fn default() -> Self {
        fn denied<A>(what: &str) -> Result<A, ProbeError> {
            Err(ProbeError::Denied(format!("the test has no answer for a {what} probe")))
        }
        FakeHost {
            processes: Box::new(|_| denied("process")),
            tcp: Box::new(|_| denied("tcp")),
            http: Box::new(|_| denied("http")),
            memo: RefCell::default(),
            log: RefCell::default(),
        }
    }
}

impl FakeHost {
    pub fn new() -> Self {
        Self::default()
    }

    #[must_use]
    pub fn on_processes(
        mut self,
        answer: impl Fn(&ProcessQuery) -> Result<Vec<Process>, ProbeError> + 'static,
    ) -> Self {
        self.processes = Box::new(answer);
        self
    }

    #[must_use]
    pub fn on_tcp(mut self, answer: impl Fn(&TcpRequest) -> Result<TcpReply, ProbeError> + 'static) -> Self {
        self.tcp = Box::new(answer);
        self
    }

    #[must_use]
    pub fn on_http(mut self, answer: impl Fn(&HttpRequest) -> Result<HttpResponse, ProbeError> + 'static) -> Self {
        self.http = Box::new(answer);
        self
    }

    /// One run, with a second to spend. What it remembers is there for the next.
    ///
    /// # Errors
    /// As the check.
    pub fn run(&self, check: fn(&Context) -> Result<Report>, params: &[(&str, &str)]) -> Result<Report> {
        let params = params.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        check(&Context::new("test".to_owned(), params, Duration::from_secs(1), self))
    }

    /// What was logged so far.
    pub fn logged(&self) -> Vec<(Level, String)> {
        self.log.borrow().clone()
    }
}

impl Host for FakeHost {
    fn find_processes(&self, query: &ProcessQuery) -> Result<Vec<Process>, ProbeError> {
        (self.processes)(query)
    }

    fn tcp(&self, request: &TcpRequest) -> Result<TcpReply, ProbeError> {
        (self.tcp)(request)
    }

    fn http(&self, request: &HttpRequest) -> Result<HttpResponse, ProbeError> {
        (self.http)(request)
    }

    fn log(&self, level: Level, message: &str) {
        self.log.borrow_mut().push((level, message.to_owned()));
    }

    fn recall(&self) -> Vec<u8> {
        self.memo.borrow().clone()
    }

    fn remember(&self, data: &[u8]) {
        *self.memo.borrow_mut() = data.to_vec();
    }
}
