//! A fake daemon, to test a check with `cargo test`.
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
use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use crate::context::{Context, Host, Level};
use crate::error::{ProbeError, Result};
use crate::probes::{
    Address, Certificate, Connection, FileInfo, HttpRequest, HttpResponse, Link, Process, ProcessQuery, Space,
    TcpReply, TcpRequest, Wire,
};
use crate::report::Report;

type Answer<Q, A> = Box<dyn Fn(&Q) -> Result<A, ProbeError>>;

/// A fake daemon that answers probes as the test says. A probe without an answer is denied.
pub struct FakeHost {
    processes: Answer<ProcessQuery, Vec<Process>>,
    tcp: Answer<TcpRequest, TcpReply>,
    http: Answer<HttpRequest, HttpResponse>,
    stat: Answer<str, Option<FileInfo>>,
    read: Answer<str, Option<Vec<u8>>>,
    space: Answer<str, Space>,
    resolve: Answer<str, Vec<IpAddr>>,
    links: Answer<(), Vec<Link>>,
    addresses: Answer<(), Vec<Address>>,
    connect_tcp: Answer<str, Connection>,
    connect_unix: Answer<str, Connection>,
    now: SystemTime,
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
            stat: Box::new(|_| denied("stat")),
            read: Box::new(|_| denied("read")),
            space: Box::new(|_| denied("space")),
            resolve: Box::new(|_| denied("dns")),
            links: Box::new(|()| denied("links")),
            addresses: Box::new(|()| denied("addresses")),
            connect_tcp: Box::new(|_| denied("connect_tcp")),
            connect_unix: Box::new(|_| denied("connect_unix")),
            now: SystemTime::now(),
            memo: RefCell::default(),
            log: RefCell::default(),
        }
    }
}

impl FakeHost {
    /// A host without answers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers [`Context::find_processes`].
    #[must_use]
    pub fn on_processes(
        mut self,
        answer: impl Fn(&ProcessQuery) -> Result<Vec<Process>, ProbeError> + 'static,
    ) -> Self {
        self.processes = Box::new(answer);
        self
    }

    /// Answers [`Context::tcp`].
    #[must_use]
    pub fn on_tcp(mut self, answer: impl Fn(&TcpRequest) -> Result<TcpReply, ProbeError> + 'static) -> Self {
        self.tcp = Box::new(answer);
        self
    }

    /// Answers [`Context::http`].
    #[must_use]
    pub fn on_http(mut self, answer: impl Fn(&HttpRequest) -> Result<HttpResponse, ProbeError> + 'static) -> Self {
        self.http = Box::new(answer);
        self
    }

    /// Answers [`Context::stat`].
    #[must_use]
    pub fn on_stat(mut self, answer: impl Fn(&str) -> Result<Option<FileInfo>, ProbeError> + 'static) -> Self {
        self.stat = Box::new(answer);
        self
    }

    /// Answers [`Context::read`]. Bytes beyond the requested length are cut off.
    #[must_use]
    pub fn on_read(mut self, answer: impl Fn(&str) -> Result<Option<Vec<u8>>, ProbeError> + 'static) -> Self {
        self.read = Box::new(answer);
        self
    }

    /// Answers [`Context::space`].
    #[must_use]
    pub fn on_space(mut self, answer: impl Fn(&str) -> Result<Space, ProbeError> + 'static) -> Self {
        self.space = Box::new(answer);
        self
    }

    /// Answers [`Context::resolve`]; and [`Context::resolve_at`], for which the name is `NAME@SERVER`.
    #[must_use]
    pub fn on_resolve(mut self, answer: impl Fn(&str) -> Result<Vec<IpAddr>, ProbeError> + 'static) -> Self {
        self.resolve = Box::new(answer);
        self
    }

    /// Answers [`Context::links`].
    #[must_use]
    pub fn on_links(mut self, answer: impl Fn() -> Result<Vec<Link>, ProbeError> + 'static) -> Self {
        self.links = Box::new(move |()| answer());
        self
    }

    /// Answers [`Context::addresses`].
    #[must_use]
    pub fn on_addresses(mut self, answer: impl Fn() -> Result<Vec<Address>, ProbeError> + 'static) -> Self {
        self.addresses = Box::new(move |()| answer());
        self
    }

    /// Answers [`Context::connect_tcp`], for instance with a [`Script`].
    #[must_use]
    pub fn on_connect_tcp(mut self, answer: impl Fn(&str) -> Result<Connection, ProbeError> + 'static) -> Self {
        self.connect_tcp = Box::new(answer);
        self
    }

    /// Answers [`Context::connect_unix`], for instance with a [`Script`].
    #[must_use]
    pub fn on_connect_unix(mut self, answer: impl Fn(&str) -> Result<Connection, ProbeError> + 'static) -> Self {
        self.connect_unix = Box::new(answer);
        self
    }

    /// Sets the clock, which otherwise stands at the time when the host was made.
    #[must_use]
    pub fn at(mut self, now: SystemTime) -> Self {
        self.now = now;
        self
    }

    /// Runs the check once, with a budget of one second. What the run remembers, the next one recalls.
    ///
    /// # Errors
    /// If the check returns one.
    pub fn run(&self, check: fn(&Context) -> Result<Report>, params: &[(&str, &str)]) -> Result<Report> {
        check(&Context::new("test".to_owned(), pairs(params), Duration::from_secs(1), self))
    }

    /// The lines logged so far.
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

    fn stat(&self, path: &str) -> Result<Option<FileInfo>, ProbeError> {
        (self.stat)(path)
    }

    fn read(&self, path: &str, max_bytes: u32) -> Result<Option<Vec<u8>>, ProbeError> {
        let most = usize::try_from(max_bytes).unwrap_or(usize::MAX);
        Ok((self.read)(path)?.map(|mut data| {
            data.truncate(most);
            data
        }))
    }

    fn space(&self, path: &str) -> Result<Space, ProbeError> {
        (self.space)(path)
    }

    fn resolve(&self, name: &str, _timeout: Option<Duration>) -> Result<Vec<IpAddr>, ProbeError> {
        (self.resolve)(name)
    }

    fn links(&self) -> Result<Vec<Link>, ProbeError> {
        (self.links)(&())
    }

    fn addresses(&self) -> Result<Vec<Address>, ProbeError> {
        (self.addresses)(&())
    }

    fn connect_tcp(&self, address: &str, _timeout: Option<Duration>) -> Result<Connection, ProbeError> {
        (self.connect_tcp)(address)
    }

    fn connect_unix(&self, path: &str, _timeout: Option<Duration>) -> Result<Connection, ProbeError> {
        (self.connect_unix)(path)
    }

    fn now(&self) -> SystemTime {
        self.now
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

/// Parameters as the daemon passes them, for [`from_pairs`](crate::from_pairs).
pub fn pairs(params: &[(&str, &str)]) -> Vec<(String, String)> {
    params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Random bytes for the tests of a parser: `count` messages of up to 63 bytes, the same ones each time.
pub fn random_messages(count: usize) -> impl Iterator<Item = Vec<u8>> {
    let mut state = 1u64;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state
    };
    (0..count).map(move |_| {
        let length = next() >> 58;
        (0..length).map(|_| next().to_be_bytes()[0]).collect()
    })
}

/// A scripted peer of a connection. It sends its greeting, expects the messages of the check in order, and answers each; then
/// it closes.
///
/// ```
/// use vouchd_check::testing::{FakeHost, Script};
///
/// let host = FakeHost::new()
///     .on_connect_unix(|_| Ok(Script::new().greets("hello\n").expects("show info\n", "Name: HAProxy\n\n").connection()));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Script {
    turns: VecDeque<(Vec<u8>, Vec<u8>)>,
    pending: Vec<u8>,
    certificate: Option<Certificate>,
}

impl Script {
    /// A peer that says nothing, expects nothing, and closes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sends `data` at once, without waiting for the check.
    #[must_use]
    pub fn greets(mut self, data: impl AsRef<[u8]>) -> Self {
        self.pending.extend_from_slice(data.as_ref());
        self
    }

    /// Expects the check to send `sent` next, and answers. If the check sends anything else, the connection is refused.
    #[must_use]
    pub fn expects(mut self, sent: impl AsRef<[u8]>, answer: impl AsRef<[u8]>) -> Self {
        self.turns.push_back((sent.as_ref().to_vec(), answer.as_ref().to_vec()));
        self
    }

    /// Presents this certificate in the TLS handshake, which otherwise fails.
    #[must_use]
    pub fn shows(mut self, certificate: Certificate) -> Self {
        self.certificate = Some(certificate);
        self
    }

    /// The check's end of the connection.
    pub fn connection(self) -> Connection {
        Connection::new(self)
    }
}

impl Wire for Script {
    fn send(&mut self, data: &[u8]) -> Result<(), ProbeError> {
        match self.turns.pop_front() {
            Some((expected, answer)) if expected == data => {
                self.pending.extend_from_slice(&answer);
                Ok(())
            }
            Some(_) | None => Err(ProbeError::Refused),
        }
    }

    fn receive(
        &mut self,
        until: Option<&[u8]>,
        max_bytes: u32,
        _timeout: Option<Duration>,
    ) -> Result<Vec<u8>, ProbeError> {
        let most = usize::try_from(max_bytes).unwrap_or(usize::MAX);
        let found = until.filter(|until| !until.is_empty()).and_then(|until| {
            self.pending.windows(until.len()).position(|window| window == until).map(|at| at + until.len())
        });
        // After its last line the peer closes.
        let length = found.unwrap_or(self.pending.len()).min(most);
        Ok(self.pending.drain(..length).collect())
    }

    fn start_tls(
        &mut self,
        _server_name: &str,
        verify: bool,
        _timeout: Option<Duration>,
    ) -> Result<Certificate, ProbeError> {
        let shown =
            self.certificate.clone().ok_or_else(|| ProbeError::Tls("the script presents no certificate".to_owned()))?;
        match &shown.problem {
            Some(problem) if verify => Err(ProbeError::Tls(problem.clone())),
            Some(_) | None => Ok(shown),
        }
    }
}
