//! The built-in check `vip`: is an address on this host, or is it not?

use std::net::IpAddr;

use vouchd_check::{Address, Context, Error, OneOrMany, Report, Result};

vouchd_check::params! {
    struct Params {
        /// One or more addresses, all of which must be on this host.
        address: OneOrMany<IpAddr>,
        /// Count only addresses of this link.
        link: Option<String>,
        /// With false none of the addresses may be on this host.
        held: bool = true,
    }
}

/// Runs the check once.
///
/// # Errors
/// If a parameter makes no sense, or a probe could not be made.
pub fn check(ctx: &Context) -> Result<Report> {
    let params: Params = ctx.params()?;
    if params.address.is_empty() {
        return Err(Error::new("parameter `address`: expected one or more addresses, found none"));
    }
    Ok(params.judge(&ctx.addresses()?))
}

impl Params {
    fn judge(&self, present: &[Address]) -> Report {
        let counts = |address: &&Address| self.link.as_ref().is_none_or(|link| *link == address.link);
        let holder = |ip: &IpAddr| present.iter().filter(counts).find(|address| address.ip == *ip);
        let (here, absent): (Vec<_>, Vec<_>) =
            self.address.iter().map(|ip| (ip, holder(ip))).partition(|(_, link)| link.is_some());
        let absent: Vec<_> = absent.iter().map(|(ip, _)| ip.to_string()).collect();
        let here: Vec<_> =
            here.iter().filter_map(|(ip, holder)| Some(format!("{ip} on {}", holder.as_ref()?.link))).collect();
        let place = self.link.as_deref().unwrap_or("this host");
        match (self.held, here.is_empty(), absent.is_empty()) {
            (true, _, true) => Report::pass(format!("holds {}", here.join(", "))),
            (true, _, false) => Report::fail(format!("{} not on {place}", absent.join(", "))),
            (false, true, _) => Report::pass(format!("{} not on {place}", absent.join(", "))),
            (false, false, _) => Report::fail(format!("holds {}, expected not to", here.join(", "))),
        }
        .metric("held", here.len() as f64, "")
    }
}

vouchd_check::check!(check, Params);

#[cfg(test)]
mod tests {
    use vouchd_check::Verdict;
    use vouchd_check::testing::{self, FakeHost};

    use super::*;

    fn params(pairs: &[(&str, &str)]) -> Params {
        vouchd_check::from_pairs(&testing::pairs(pairs)).unwrap()
    }

    fn present() -> Vec<Address> {
        [("lo", "127.0.0.1", 8), ("eth0", "192.0.2.1", 24), ("eth0", "fd00::1", 64)]
            .map(|(link, ip, prefix)| Address { link: link.to_owned(), ip: ip.parse().unwrap(), prefix })
            .into()
    }

    #[test]
    fn presence_of_addresses_decides() {
        type Row = (&'static [(&'static str, &'static str)], Verdict, &'static str, f64);
        let table: [Row; 9] = [
            (&[("address", "192.0.2.1")], Verdict::Pass, "holds 192.0.2.1 on eth0", 1.0),
            (&[("address", "192.0.2.2")], Verdict::Fail, "192.0.2.2 not on this host", 0.0),
            (&[("address", "fd00:0::0:1")], Verdict::Pass, "holds fd00::1 on eth0", 1.0),
            (&[("address", "192.0.2.1"), ("link", "eth1")], Verdict::Fail, "192.0.2.1 not on eth1", 0.0),
            (
                &[("address", "192.0.2.1"), ("address", "fd00::1")],
                Verdict::Pass,
                "holds 192.0.2.1 on eth0, fd00::1 on eth0",
                2.0,
            ),
            (&[("address", "192.0.2.1"), ("address", "192.0.2.9")], Verdict::Fail, "192.0.2.9 not on this host", 1.0),
            (
                &[("address", "192.0.2.1"), ("held", "false")],
                Verdict::Fail,
                "holds 192.0.2.1 on eth0, expected not to",
                1.0,
            ),
            (&[("address", "192.0.2.9"), ("held", "false")], Verdict::Pass, "192.0.2.9 not on this host", 0.0),
            (
                &[("address", "192.0.2.9"), ("address", "fd00::1"), ("held", "false")],
                Verdict::Fail,
                "holds fd00::1 on eth0, expected not to",
                1.0,
            ),
        ];
        for (pairs, verdict, message, held) in table {
            let params = params(pairs);
            let report = params.judge(&present());
            assert_eq!((report.verdict, report.message.as_str()), (verdict, message), "{pairs:?}");
            assert_eq!((report.metrics[0].name.as_str(), report.metrics[0].value), ("held", held), "{pairs:?}");
        }
    }

    #[test]
    fn addresses_come_from_the_host() {
        let host = FakeHost::new().on_addresses(|| Ok(present()));
        let report = host.run(check, &[("address", "127.0.0.1")]).unwrap();
        assert_eq!((report.verdict, report.message.as_str()), (Verdict::Pass, "holds 127.0.0.1 on lo"));
    }

    #[test]
    fn bad_address_is_an_error() {
        for text in ["", "web", "192.0.2.1/24", "192.0.2"] {
            let error = FakeHost::new().run(check, &[("address", text)]).unwrap_err().to_string();
            assert!(error.contains("`address`: expected an IP address"), "{error}");
        }
        let error = FakeHost::new().run(check, &[]).unwrap_err().to_string();
        assert!(error.contains("`address`: expected one or more addresses"), "{error}");
    }
}
