//! The built-in check `dns`: does a name resolve, and to the right addresses?

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use vouchd_check::{Context, Error, OneOrMany, Report, Result};

vouchd_check::params! {
    struct Params {
        /// The name to look up.
        name: String,
        /// Addresses that the name must resolve to.
        expect: OneOrMany<IpAddr>,
        /// Whether the name must have no other addresses.
        exact: bool = false,
        /// The name server to ask: an address with or without a port. Default: those of the host.
        server: Option<String>,
        /// For the answer. Default: what is left of the run.
        timeout: Option<Duration>,
    }
}

/// Runs the check once.
///
/// # Errors
/// If a parameter makes no sense, or a probe could not be made.
pub fn check(ctx: &Context) -> Result<Report> {
    let params: Params = ctx.params()?;
    let expected = params.expected()?;
    let found = match &params.server {
        Some(server) => ctx.resolve_at(server, &params.name, params.timeout),
        None => ctx.resolve(&params.name, params.timeout),
    };
    match (found, &params.server) {
        (Ok(found), _) => Ok(params.judge(&expected, found)),
        (Err(error), Some(server)) => error.or_fail(&format!("{} at {server}", params.name)),
        (Err(error), None) => error.or_fail(&params.name),
    }
}

impl Params {
    fn expected(&self) -> Result<BTreeSet<IpAddr>> {
        let expected: BTreeSet<_> = self.expect.iter().copied().collect();
        if self.exact && expected.is_empty() {
            return Err(Error::new("parameter `exact`: needs the addresses in `expect`, found none"));
        }
        Ok(expected)
    }

    fn judge(&self, expected: &BTreeSet<IpAddr>, found: Vec<IpAddr>) -> Report {
        let found: BTreeSet<IpAddr> = found.into_iter().collect();
        let name = &self.name;
        let missing: Vec<_> = expected.difference(&found).collect();
        let report = if found.is_empty() {
            Report::fail(format!("{name} has no address"))
        } else if !missing.is_empty() {
            Report::fail(format!("{name} resolves to {}, expected {}", list(&found), list(missing)))
        } else if self.exact && found.len() > expected.len() {
            Report::fail(format!("{name} resolves to {}, expected only {}", list(&found), list(expected)))
        } else {
            Report::pass(format!("{name} resolves to {}", list(&found)))
        };
        report.metric("addresses", found.len() as f64, "")
    }
}

fn list<'a>(addresses: impl IntoIterator<Item = &'a IpAddr>) -> String {
    addresses.into_iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ")
}

vouchd_check::check!(check, Params);

#[cfg(test)]
mod tests {
    use vouchd_check::testing::{self, FakeHost};
    use vouchd_check::{ProbeError, Verdict};

    use super::*;

    fn params(pairs: &[(&str, &str)]) -> Params {
        let all = [&[("name", "db.example")], pairs].concat();
        vouchd_check::from_pairs(&testing::pairs(&all)).unwrap()
    }

    #[test]
    fn addresses_decide() {
        type Row = (&'static [(&'static str, &'static str)], &'static [&'static str], Verdict, &'static str);
        let table: [Row; 8] = [
            (&[], &["192.0.2.1"], Verdict::Pass, "db.example resolves to 192.0.2.1"),
            (&[], &[], Verdict::Fail, "db.example has no address"),
            (
                &[("expect", "192.0.2.1")],
                &["192.0.2.2", "192.0.2.1"],
                Verdict::Pass,
                "db.example resolves to 192.0.2.1, 192.0.2.2",
            ),
            (
                &[("expect", "192.0.2.1")],
                &["192.0.2.2"],
                Verdict::Fail,
                "db.example resolves to 192.0.2.2, expected 192.0.2.1",
            ),
            (
                &[("expect", "192.0.2.1"), ("expect", "fd00::1")],
                &["192.0.2.1"],
                Verdict::Fail,
                "db.example resolves to 192.0.2.1, expected fd00::1",
            ),
            (&[("expect", "FD00:0::1")], &["fd00::1"], Verdict::Pass, "db.example resolves to fd00::1"),
            (
                &[("expect", "192.0.2.1"), ("exact", "true")],
                &["192.0.2.1", "192.0.2.2"],
                Verdict::Fail,
                "db.example resolves to 192.0.2.1, 192.0.2.2, expected only 192.0.2.1",
            ),
            (
                &[("expect", "192.0.2.1"), ("exact", "true")],
                &["192.0.2.1", "192.0.2.1"],
                Verdict::Pass,
                "db.example resolves to 192.0.2.1",
            ),
        ];
        for (pairs, found, verdict, message) in table {
            let params = params(pairs);
            let found: Vec<_> = found.iter().map(|ip| ip.parse().unwrap()).collect();
            let report = params.judge(&params.expected().unwrap(), found);
            assert_eq!((report.verdict, report.message.as_str()), (verdict, message), "{pairs:?}");
        }
    }

    #[test]
    fn unresolved_name_fails_and_denied_probe_is_an_error() {
        let host = FakeHost::new().on_resolve(|_| Err(ProbeError::Unresolved));
        let report = host.run(check, &[("name", "db.example")]).unwrap();
        assert_eq!((report.verdict, report.message.as_str()), (Verdict::Fail, "db.example: the name does not resolve"));
        let host = FakeHost::new().on_resolve(|_| Err(ProbeError::Denied("add this".to_owned())));
        assert_eq!(host.run(check, &[("name", "db.example")]).unwrap_err().to_string(), "add this");
    }

    #[test]
    fn silent_name_server_fails() {
        let host = FakeHost::new().on_resolve(|asked| match asked {
            "db.example@192.0.2.53" => Ok(vec!["192.0.2.1".parse().unwrap()]),
            _ => Err(ProbeError::Timeout),
        });
        let run = |server: &str| host.run(check, &[("name", "db.example"), ("server", server)]).unwrap();
        assert_eq!(run("192.0.2.53").verdict, Verdict::Pass);
        let silent = run("192.0.2.54:53");
        assert_eq!(silent.verdict, Verdict::Fail);
        assert!(silent.message.contains("db.example at 192.0.2.54:53"), "{}", silent.message);
    }

    #[test]
    fn parameters_that_make_no_sense_are_errors() {
        for (pair, expected) in [(("expect", "here"), "`expect`"), (("exact", "true"), "`exact`")] {
            let error = FakeHost::new().run(check, &[("name", "db.example"), pair]).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
