//! The contract's interface `simple`: probes whose functions take and return plain numbers.

use crate::contract::{ProbeError, http, process, simple};
use crate::probes;
use crate::run::state::RunState;

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

/// An answer of `simple`: a number, or an error as a negative one.
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
