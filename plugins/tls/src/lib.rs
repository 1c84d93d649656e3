//! The built-in check `tls`: does a server present a valid certificate, and how long does it remain valid?

use std::time::{Duration, SystemTime};

use vouchd_check::{Certificate, Context, Error, ProbeError, Report, Result};
use vouchd_check_peer::host_of;

const DAY: f64 = 86_400.0;

vouchd_check::params! {
    struct Params {
        /// `host:port`.
        address: String,
        /// Server name. Default: the host of the address.
        sni: Option<String>,
        /// Whether a certificate that cannot be verified is a `fail`.
        verify: bool = true,
        /// Fewer days left than this is a `warn`.
        warn_days: u32 = 14,
        /// Fewer days left than this is a `fail`.
        fail_days: Option<u32>,
        /// For connecting, and for the handshake. Default: what is left of the run.
        timeout: Option<Duration>,
    }
}

/// Runs the check once.
///
/// # Errors
/// If a parameter makes no sense, or a probe could not be made.
pub fn check(ctx: &Context) -> Result<Report> {
    let params: Params = ctx.params()?;
    let name = params.server_name()?;
    let handshake = |verify: bool| {
        ctx.connect_tcp(&params.address, params.timeout)
            .and_then(|mut connection| connection.start_tls(&name, verify, params.timeout))
    };
    let mut answer = handshake(params.verify);
    // Again without verification, so that the report can name the certificate and say when it expires. A certificate that only
    // this host could not verify, for lack of root certificates, is not reported as bad.
    if let (true, Err(ProbeError::Tls(_))) = (params.verify, &answer)
        && let shown @ Ok(_) = handshake(false)
    {
        answer = shown;
    }
    match answer {
        Ok(certificate) => Ok(params.judge(&certificate, ctx.now())),
        Err(error) => error.or_fail(&params.address),
    }
}

impl Params {
    fn server_name(&self) -> Result<String> {
        if let Some(name) = &self.sni {
            return Ok(name.clone());
        }
        host_of(&self.address).map(str::to_owned).ok_or_else(|| {
            Error::new(format!("parameter `address`: expected host:port, IPv6 in brackets, found {:?}", self.address))
        })
    }

    fn judge(&self, certificate: &Certificate, now: SystemTime) -> Report {
        let days = match certificate.not_after.duration_since(now) {
            Ok(left) => left.as_secs_f64() / DAY,
            Err(over) => -over.duration().as_secs_f64() / DAY,
        };
        let left = match days.floor() {
            days if days < 0.0 => format!("expired {} days ago", -days),
            days => format!("valid for {days} days"),
        };
        let found = format!("{}: certificate for {}, {left}", self.address, subject(certificate));
        let below = |least: u32| days < f64::from(least);
        let report = if let Some(problem) = certificate.problem.as_ref().filter(|_| self.verify) {
            Report::fail(format!("{found}: {problem}"))
        } else if let Some(least) = self.fail_days.filter(|least| below(*least)) {
            Report::fail(format!("{found}, expected at least {least}"))
        } else if below(self.warn_days) {
            Report::warn(format!("{found}, expected at least {}", self.warn_days))
        } else {
            Report::pass(format!("{found}, {}", certificate.protocol))
        };
        report.metric("days", days, "")
    }
}

/// The first name that the certificate is for. Old certificates have only a subject.
fn subject(certificate: &Certificate) -> &str {
    certificate.names.first().unwrap_or(&certificate.subject)
}

vouchd_check::check!(check, Params);

#[cfg(test)]
mod tests {
    use vouchd_check::Verdict;
    use vouchd_check::testing::{self, FakeHost, Script};

    use super::*;

    fn params(pairs: &[(&str, &str)]) -> Result<Params> {
        Ok(vouchd_check::from_pairs(&testing::pairs(pairs))?)
    }

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
    }

    fn certificate(days: f64, problem: Option<&str>) -> Certificate {
        Certificate {
            subject: "CN=old".to_owned(),
            issuer: "CN=ca".to_owned(),
            names: vec!["www.example.com".to_owned()],
            not_before: SystemTime::UNIX_EPOCH,
            not_after: if days < 0.0 {
                now() - Duration::from_secs_f64(-days * DAY)
            } else {
                now() + Duration::from_secs_f64(days * DAY)
            },
            problem: problem.map(str::to_owned),
            protocol: "TLSv1.3".to_owned(),
        }
    }

    #[test]
    fn problems_and_days_decide() {
        type Row = (&'static [(&'static str, &'static str)], f64, Option<&'static str>, Verdict, &'static str);
        let table: [Row; 9] = [
            (&[], 14.0, None, Verdict::Pass, "valid for 14 days, TLSv1.3"),
            (&[], 13.5, None, Verdict::Warn, "valid for 13 days, expected at least 14"),
            (&[("warn_days", "0")], 0.5, None, Verdict::Pass, "valid for 0 days, TLSv1.3"),
            (&[("fail_days", "7")], 7.0, None, Verdict::Warn, "valid for 7 days, expected at least 14"),
            (&[("fail_days", "7")], 6.5, None, Verdict::Fail, "valid for 6 days, expected at least 7"),
            (&[], 90.0, Some("unknown issuer"), Verdict::Fail, "valid for 90 days: unknown issuer"),
            (&[("verify", "false")], 90.0, Some("unknown issuer"), Verdict::Pass, "valid for 90 days, TLSv1.3"),
            (&[], -0.5, Some("expired"), Verdict::Fail, "expired 1 days ago: expired"),
            (&[("verify", "false")], -0.5, Some("expired"), Verdict::Warn, "expired 1 days ago, expected at least 14"),
        ];
        for (pairs, days, problem, verdict, message) in table {
            let mut all = vec![("address", "192.0.2.1:443")];
            all.extend(pairs);
            let report = params(&all).unwrap().judge(&certificate(days, problem), now());
            let message = format!("192.0.2.1:443: certificate for www.example.com, {message}");
            assert_eq!((report.verdict, report.message), (verdict, message), "{pairs:?}");
            assert!((report.metrics[0].value - days).abs() < 0.001, "{:?}", report.metrics);
        }
    }

    #[test]
    fn certificate_comes_from_the_handshake() {
        let params = [("address", "192.0.2.1:443")];
        let shown = |problem| {
            let script = Script::new().shows(certificate(30.0, problem));
            FakeHost::new().at(now()).on_connect_tcp(move |_| Ok(script.clone().connection()))
        };
        assert_eq!(shown(None).run(check, &params).unwrap().verdict, Verdict::Pass);
        let report = shown(Some("unknown issuer")).run(check, &params).unwrap();
        assert_eq!(report.verdict, Verdict::Fail);
        assert!(report.message.ends_with("valid for 30 days: unknown issuer"), "{}", report.message);
    }

    #[test]
    fn failed_handshake_fails_and_denied_probe_is_an_error() {
        let params = [("address", "192.0.2.1:443")];
        let host = FakeHost::new().on_connect_tcp(|_| Ok(Script::new().connection()));
        let report = host.run(check, &params).unwrap();
        assert_eq!(report.verdict, Verdict::Fail);
        assert!(report.message.starts_with("192.0.2.1:443: TLS: "), "{}", report.message);
        let host = FakeHost::new().on_connect_tcp(|_| Err(ProbeError::Denied("add this".to_owned())));
        assert_eq!(host.run(check, &params).unwrap_err().to_string(), "add this");
    }

    #[test]
    fn server_name_is_sni_or_the_host() {
        let table: [(&[(&str, &str)], &str); 4] = [
            (&[("address", "www.example.com:443")], "www.example.com"),
            (&[("address", "[::1]:443")], "::1"),
            (&[("address", "192.0.2.1:443")], "192.0.2.1"),
            (&[("address", "192.0.2.1:443"), ("sni", "www.example.com")], "www.example.com"),
        ];
        for (pairs, name) in table {
            assert_eq!(params(pairs).unwrap().server_name().unwrap(), name);
        }
        for address in ["", "www.example.com", ":443"] {
            let error = params(&[("address", address)]).unwrap().server_name().unwrap_err().to_string();
            assert!(error.contains("`address`: expected host:port"), "{error}");
        }
    }
}
