//! Does a port accept connections? The SDK of every other language has the same example.

use vouchd_check::{Context, Report, Result, TcpRequest};

vouchd_check::params! {
    struct Params {
        /// `host:port`.
        address: String,
        /// Its name in messages. Default: the address.
        label: Option<String>,
    }
}

/// Runs the check once.
///
/// # Errors
/// If a parameter makes no sense, or a probe could not be made.
pub fn check(ctx: &Context) -> Result<Report> {
    let params: Params = ctx.params()?;
    let label = params.label.as_ref().unwrap_or(&params.address);

    let before: u32 = String::from_utf8_lossy(&ctx.recall()).parse().unwrap_or(0); // Empty the first time.
    let runs = before + 1;
    ctx.remember(runs.to_string().as_bytes());

    let report = match ctx.tcp(&TcpRequest::connect(&params.address)) {
        Ok(reply) => {
            Report::pass(format!("{label} accepts connections")).metric("connect", reply.connect.as_secs_f64(), "s")
        }
        Err(error) => error.or_fail(label)?,
    };
    Ok(report.metric("runs", f64::from(runs), "c"))
}

vouchd_check::check!(check, Params);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use vouchd_check::testing::FakeHost;
    use vouchd_check::{ProbeError, TcpReply, Verdict};

    use super::check;

    #[test]
    fn port_decides_and_label_names_it() {
        let params = [("address", "127.0.0.1:25"), ("label", "mail")];
        let open = FakeHost::new().on_tcp(|request| {
            assert_eq!(request.address, "127.0.0.1:25");
            Ok(TcpReply { connect: Duration::from_millis(2), data: Vec::new() })
        });
        let report = open.run(check, &params).unwrap();
        assert_eq!((report.verdict, report.message.as_str()), (Verdict::Pass, "mail accepts connections"));
        let metrics: Vec<_> = report.metrics.iter().map(|metric| (metric.name.as_str(), metric.value)).collect();
        assert_eq!(metrics, [("connect", 0.002), ("runs", 1.0)]);

        let closed = FakeHost::new().on_tcp(|_| Err(ProbeError::Refused));
        let report = closed.run(check, &params).unwrap();
        assert_eq!((report.verdict, report.message.as_str()), (Verdict::Fail, "mail: connection refused"));
    }
}
