//! The built-in check `unix`: does a service accept connections on its unix socket, and does it answer as expected?

use std::time::Duration;

use vouchd_check::{Context, Report, Result};
use vouchd_check_peer::{excerpt, some_text};

/// The whole answer. One that exceeds the check's `limits.probe_bytes` is denied, which is an error.
const MAX_REPLY: u32 = u32::MAX;

vouchd_check::params! {
    struct Params {
        /// Path of the socket.
        path: String,
        /// Sent after connecting.
        send: Option<String>,
        /// Text that the answer must contain.
        expect: Option<String>,
        /// For connecting, and for the answer. Default: what is left of the run.
        timeout: Option<Duration>,
    }
}

/// Runs the check once.
///
/// # Errors
/// If a parameter makes no sense, or a probe could not be made.
pub fn check(ctx: &Context) -> Result<Report> {
    let Params { path, send, expect, timeout } = ctx.params()?;
    let expect = some_text(expect)?;
    let answer = ctx.connect_unix(&path, timeout).and_then(|mut connection| {
        if let Some(text) = send {
            connection.send(text)?;
        }
        let Some(text) = &expect else { return Ok(Vec::new()) };
        connection.receive_until(text, MAX_REPLY, timeout)
    });
    Ok(match (answer, expect) {
        (Err(error), _) => return error.or_fail(&path),
        (Ok(_), None) => Report::pass(format!("{path} accepts connections")),
        (Ok(data), Some(text)) if data.ends_with(text.as_bytes()) => Report::pass(format!("{path} answers {text:?}")),
        (Ok(data), Some(text)) => Report::fail(format!("{path} answers {}, expected {text:?}", excerpt(&data))),
    })
}

vouchd_check::check!(check, Params);

#[cfg(test)]
mod tests {
    use vouchd_check::testing::{FakeHost, Script};
    use vouchd_check::{ProbeError, Verdict};

    use super::*;

    #[test]
    fn answer_decides() {
        type Row = (&'static [(&'static str, &'static str)], Verdict, &'static str);
        let table: [Row; 5] = [
            (&[], Verdict::Pass, "/run/s accepts connections"),
            (&[("expect", "hello")], Verdict::Pass, "/run/s answers \"hello\""),
            (&[("send", "PING\n"), ("expect", "PONG")], Verdict::Pass, "/run/s answers \"PONG\""),
            (&[("expect", "bye")], Verdict::Fail, "/run/s answers \"hello\\n\", expected \"bye\""),
            (&[("send", "?\n")], Verdict::Fail, "/run/s: connection refused"),
        ];
        for (params, verdict, message) in table {
            let script = Script::new().greets("hello\n").expects("PING\n", "PONG\n");
            let host = FakeHost::new().on_connect_unix(move |_| Ok(script.clone().connection()));
            let report = host.run(check, &[&[("path", "/run/s")], params].concat()).unwrap();
            assert_eq!((report.verdict, report.message.as_str()), (verdict, message), "{params:?}");
        }
        let host = FakeHost::new().on_connect_unix(|_| Ok(Script::new().connection()));
        // It would look as if an answer were expected, but none would be needed.
        let error = host.run(check, &[("path", "/run/s"), ("expect", "")]).unwrap_err().to_string();
        assert!(error.contains("`expect`: expected some text"), "{error}");
        let report = host.run(check, &[("path", "/run/s"), ("expect", "x")]).unwrap();
        assert_eq!(report.message, "/run/s answers nothing, expected \"x\"");
    }

    #[test]
    fn refused_connection_fails_and_denied_probe_is_an_error() {
        let params = [("path", "/run/s")];
        let host = FakeHost::new().on_connect_unix(|_| Err(ProbeError::Refused));
        assert_eq!(host.run(check, &params).unwrap(), Report::fail("/run/s: connection refused"));
        let host = FakeHost::new().on_connect_unix(|_| Err(ProbeError::Denied("add this".to_owned())));
        assert_eq!(host.run(check, &params).unwrap_err().to_string(), "add this");
    }
}
