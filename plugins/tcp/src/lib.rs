//! The built-in check `tcp`: does a service accept connections, and does it answer as expected?

use std::time::Duration;

use vouchd_check::{Context, Error, ProbeError, Report, Result, TcpRequest};
use vouchd_check_peer::{excerpt, some_text};

/// The whole answer. One that exceeds the check's `limits.probe_bytes` is denied, which is an error.
const MAX_REPLY: u32 = u32::MAX;

vouchd_check::params! {
    struct Params {
        /// `host:port`.
        address: String,
        /// Sent after connecting.
        send: Option<String>,
        /// Text that the answer must contain.
        expect: Option<String>,
        /// Whether a refused connection passes, too: it shows that the machine is up.
        reachable: bool = false,
        /// For connecting. Default: what is left of the run.
        timeout: Option<Duration>,
    }
}

/// Runs the check once.
///
/// # Errors
/// If a parameter makes no sense, or a probe could not be made.
pub fn check(ctx: &Context) -> Result<Report> {
    let params: Params = ctx.params()?;
    let expect = some_text(params.expect)?;
    let request = TcpRequest {
        address: params.address.clone(),
        send: params.send.unwrap_or_default().into_bytes(),
        until: expect.as_ref().map(|text| text.clone().into_bytes()),
        max_bytes: if expect.is_some() { MAX_REPLY } else { 0 },
        timeout: params.timeout,
    };
    if params.reachable && (expect.is_some() || !request.send.is_empty()) {
        return Err(Error::new(
            "parameter `reachable` only checks that the machine is up: expected neither `send` nor `expect`",
        ));
    }
    let reply = match ctx.tcp(&request) {
        Ok(reply) => reply,
        Err(ProbeError::Refused) if params.reachable => {
            return Ok(Report::pass(format!("{} is reachable, but refuses connections", params.address)));
        }
        Err(error) => return error.or_fail(&params.address),
    };
    let connect = reply.connect.as_secs_f64();
    let report = match expect {
        None => Report::pass(format!("{} accepts connections", params.address)),
        Some(text) if contains(&reply.data, text.as_bytes()) => {
            Report::pass(format!("{} answers {text:?}", params.address))
        }
        Some(text) => Report::fail(format!("{} answers {}, expected {text:?}", params.address, excerpt(&reply.data))),
    };
    Ok(report.metric("connect", connect, "s"))
}

fn contains(data: &[u8], part: &[u8]) -> bool {
    data.windows(part.len()).any(|window| window == part)
}

vouchd_check::check!(check, Params);

#[cfg(test)]
mod tests {
    use vouchd_check::testing::FakeHost;
    use vouchd_check::{TcpReply, Verdict};

    use super::*;

    #[test]
    fn answer_decides() {
        type Row = (&'static [(&'static str, &'static str)], &'static [u8], Verdict, &'static str);
        let table: [Row; 4] = [
            (&[], b"", Verdict::Pass, "[::1]:25 accepts connections"),
            (&[("expect", "220")], b"220 mail\r\n", Verdict::Pass, "[::1]:25 answers \"220\""),
            (&[("expect", "220")], b"554 no\r\n", Verdict::Fail, "[::1]:25 answers \"554 no\\r\\n\", expected \"220\""),
            (&[("expect", "220")], b"", Verdict::Fail, "[::1]:25 answers nothing, expected \"220\""),
        ];
        for (params, data, verdict, message) in table {
            let host = FakeHost::new()
                .on_tcp(move |_| Ok(TcpReply { connect: Duration::from_millis(2), data: data.to_vec() }));
            let mut all = vec![("address", "[::1]:25")];
            all.extend(params);
            let report = host.run(check, &all).unwrap();
            assert_eq!((report.verdict, report.message.as_str()), (verdict, message), "{params:?}");
        }
    }

    #[test]
    fn refused_connection_fails_and_denied_probe_is_an_error() {
        let params = [("address", "127.0.0.1:3306")];
        let host = FakeHost::new().on_tcp(|_| Err(ProbeError::Refused));
        let report = host.run(check, &params).unwrap();
        assert_eq!((report.verdict, report.message.as_str()), (Verdict::Fail, "127.0.0.1:3306: connection refused"));
        let host = FakeHost::new().on_tcp(|_| Err(ProbeError::Denied("add this".to_owned())));
        assert_eq!(host.run(check, &params).unwrap_err().to_string(), "add this");
    }

    #[test]
    fn machine_that_refuses_is_reachable() {
        let params = [("address", "192.0.2.1:9"), ("reachable", "true")];
        let host = FakeHost::new().on_tcp(|_| Err(ProbeError::Refused));
        assert_eq!(
            host.run(check, &params).unwrap(),
            Report::pass("192.0.2.1:9 is reachable, but refuses connections")
        );
        let host = FakeHost::new().on_tcp(|_| Err(ProbeError::Timeout));
        assert_eq!(host.run(check, &params).unwrap(), Report::fail("192.0.2.1:9: no answer in time"));
        let both = [params.as_slice(), &[("expect", "220")]].concat();
        assert!(host.run(check, &both).unwrap_err().to_string().contains("`reachable`"));
    }

    #[test]
    fn request_follows_the_parameters() {
        let host = FakeHost::new().on_tcp(|request| {
            let expected = TcpRequest {
                address: "127.0.0.1:6379".to_owned(),
                send: b"PING\r\n".to_vec(),
                until: Some(b"+PONG".to_vec()),
                max_bytes: MAX_REPLY,
                timeout: Some(Duration::from_millis(200)),
            };
            assert_eq!(*request, expected);
            Ok(TcpReply { connect: Duration::ZERO, data: b"+PONG\r\n".to_vec() })
        });
        let params = [("address", "127.0.0.1:6379"), ("send", "PING\r\n"), ("expect", "+PONG"), ("timeout", "200ms")];
        assert_eq!(host.run(check, &params).unwrap().verdict, Verdict::Pass);
    }
}
