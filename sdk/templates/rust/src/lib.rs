//! Does a port accept connections?

use vouchd_check::{Context, Report, Result, TcpRequest};

vouchd_check::params! {
    struct Params {
        /// host:port that must accept connections.
        address: String,
    }
}

fn check(ctx: &Context) -> Result<Report> {
    let Params { address } = ctx.params()?;
    match ctx.tcp(&TcpRequest::connect(&address)) {
        Ok(reply) => {
            let report = Report::pass(format!("{address} accepts connections"));
            Ok(report.metric("connect", reply.connect.as_secs_f64(), "s"))
        }
        Err(error) => error.or_fail(&address),
    }
}

vouchd_check::check!(check, Params);

#[cfg(test)]
mod tests {
    use vouchd_check::testing::FakeHost;
    use vouchd_check::{ProbeError, Verdict};

    /// Run by `cargo test`, without a daemon and without WebAssembly.
    #[test]
    fn silent_service_fails() {
        let host = FakeHost::new().on_tcp(|_| Err(ProbeError::Timeout));
        let report = host.run(super::check, &[("address", "127.0.0.1:80")]).unwrap();
        assert_eq!((report.verdict, report.message.as_str()), (Verdict::Fail, "127.0.0.1:80: no answer in time"));
    }
}
