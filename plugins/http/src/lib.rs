//! The built-in check `http`: does a URL answer as expected?

mod status;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use regex_lite::Regex;
use vouchd_check::{Context, Error, HttpRequest, OneOrMany, Report, Result};

use status::Accepted;

/// The whole body. One that exceeds the check's `limits.probe_bytes` is denied, which is an error.
const MAX_BODY: u32 = u32::MAX;

vouchd_check::params! {
    struct Params {
        /// The URL to fetch: `http://` or `https://`.
        url: String,
        /// Method of the request.
        method: String = "GET",
        /// Headers of the request. A list sends the header several times.
        headers: BTreeMap<String, OneOrMany<String>>,
        /// Body of the request.
        body: String = "",
        /// Accepted codes, classes and ranges. Default: 200 to 399.
        status: OneOrMany<String>,
        /// Text that the body must contain.
        contains: Option<String>,
        /// Regular expression that must match somewhere in the body.
        matches: Option<String>,
        /// Whether a certificate that cannot be verified is a `fail`.
        tls_verify: bool = true,
        /// `Host` header.
        host: Option<String>,
        /// Server name for TLS.
        sni: Option<String>,
        /// How many redirects to follow.
        redirects: u8 = 0,
        /// Whether to keep the connection for the next run.
        reuse: bool = false,
        /// Fetch only while this address is on this host; otherwise pass.
        if_held: Option<IpAddr>,
        /// For the request. Default: what is left of the run.
        timeout: Option<Duration>,
    }
}

/// Runs the check once.
///
/// # Errors
/// If a parameter makes no sense, or a probe could not be made.
pub fn check(ctx: &Context) -> Result<Report> {
    let params: Params = ctx.params()?;
    let accepted = Accepted::parse(&params.status)?;
    let pattern = params.matches.as_deref().map(compile).transpose()?;
    if params.contains.as_deref() == Some("") {
        return Err(Error::new("parameter `contains`: expected some text: an empty one is in every body"));
    }
    if let Some(address) = params.if_held
        && !ctx.addresses()?.iter().any(|held| held.ip == address)
    {
        return Ok(Report::pass(format!("{address} is not on this host, nothing to fetch")));
    }
    let mut headers: Vec<(String, String)> = params
        .headers
        .iter()
        .flat_map(|(name, values)| values.iter().map(move |value| (name.clone(), value.clone())))
        .collect();
    headers.extend(params.host.as_ref().map(|host| ("host".to_owned(), host.clone())));
    let request = HttpRequest {
        method: params.method.to_ascii_uppercase(),
        url: params.url.clone(),
        headers,
        body: params.body.into_bytes(),
        timeout: params.timeout,
        max_body_bytes: if params.contains.is_some() || pattern.is_some() { MAX_BODY } else { 0 },
        tls_verify: params.tls_verify,
        sni: params.sni,
        follow_redirects: params.redirects,
        reuse_connection: params.reuse,
    };
    let response = match ctx.http(&request) {
        Ok(response) => response,
        Err(error) => return error.or_fail(&params.url),
    };
    let body = String::from_utf8_lossy(&response.body);
    let status = response.status;
    let report = if !accepted.accepts(status) {
        Report::fail(format!("HTTP {status}, expected {}", accepted.text()))
    } else if let Some(text) = params.contains.as_ref().filter(|text| !body.contains(text.as_str())) {
        Report::fail(format!("HTTP {status}, but the body does not contain {text:?}"))
    } else if let Some(pattern) = pattern.as_ref().filter(|pattern| !pattern.is_match(&body)) {
        Report::fail(format!("HTTP {status}, but the body does not match {:?}", pattern.as_str()))
    } else {
        Report::pass(format!("HTTP {status} in {} ms", response.total.as_millis()))
    };
    Ok(report.metric("time", response.total.as_secs_f64(), "s"))
}

fn compile(pattern: &str) -> Result<Regex> {
    Regex::new(pattern)
        .map_err(|error| Error::new(format!("parameter `matches`: {pattern:?} is not a regular expression: {error}")))
}

vouchd_check::check!(check, Params);

#[cfg(test)]
mod tests {
    use vouchd_check::testing::FakeHost;
    use vouchd_check::{Address, HttpResponse, ProbeError, Verdict};

    use super::*;

    const URL: &str = "http://127.0.0.1/";

    fn answering(status: u16, body: &'static str) -> FakeHost {
        FakeHost::new().on_http(move |request| {
            let most = usize::try_from(request.max_body_bytes).unwrap().min(body.len());
            Ok(HttpResponse {
                status,
                headers: Vec::new(),
                body: body.as_bytes()[..most].to_vec(),
                total: Duration::from_millis(3),
            })
        })
    }

    #[test]
    fn status_and_body_decide() {
        type Row = (u16, &'static [(&'static str, &'static str)], Verdict, &'static str);
        let table: [Row; 8] = [
            (200, &[], Verdict::Pass, "HTTP 200 in 3 ms"),
            (302, &[], Verdict::Pass, "HTTP 302 in 3 ms"),
            (500, &[], Verdict::Fail, "HTTP 500, expected 200-399"),
            (302, &[("status", "200")], Verdict::Fail, "HTTP 302, expected 200"),
            (204, &[("status", "200"), ("status", "204")], Verdict::Pass, "HTTP 204 in 3 ms"),
            (200, &[("contains", "welcome")], Verdict::Pass, "HTTP 200 in 3 ms"),
            (200, &[("contains", "bye")], Verdict::Fail, "HTTP 200, but the body does not contain \"bye\""),
            (200, &[("matches", "^wel+$")], Verdict::Fail, "HTTP 200, but the body does not match \"^wel+$\""),
        ];
        for (status, params, verdict, message) in table {
            let mut all = vec![("url", URL)];
            all.extend(params);
            let report = answering(status, "welcome home").run(check, &all).unwrap();
            assert_eq!((report.verdict, report.message.as_str()), (verdict, message), "{params:?}");
        }
    }

    #[test]
    fn no_answer_fails_and_denied_probe_is_an_error() {
        let host = FakeHost::new().on_http(|_| Err(ProbeError::Timeout));
        let report = host.run(check, &[("url", URL)]).unwrap();
        assert_eq!((report.verdict, report.message.as_str()), (Verdict::Fail, "http://127.0.0.1/: no answer in time"));
        let host = FakeHost::new().on_http(|_| Err(ProbeError::Denied("add this".to_owned())));
        assert_eq!(host.run(check, &[("url", URL)]).unwrap_err().to_string(), "add this");
    }

    #[test]
    fn request_follows_the_parameters() {
        let host = FakeHost::new().on_http(|request| {
            let expected = HttpRequest {
                method: "POST".to_owned(),
                url: "https://127.0.0.1/health".to_owned(),
                headers: vec![
                    ("accept".to_owned(), "text/plain".to_owned()),
                    ("host".to_owned(), "www.example.com".to_owned()),
                ],
                body: b"ping".to_vec(),
                timeout: Some(Duration::from_secs(1)),
                max_body_bytes: 0,
                tls_verify: false,
                sni: Some("www.example.com".to_owned()),
                follow_redirects: 2,
                reuse_connection: true,
            };
            assert_eq!(*request, expected);
            Err(ProbeError::Refused)
        });
        let params = [
            ("url", "https://127.0.0.1/health"),
            ("method", "post"),
            ("headers.accept", "text/plain"),
            ("host", "www.example.com"),
            ("sni", "www.example.com"),
            ("body", "ping"),
            ("tls_verify", "false"),
            ("redirects", "2"),
            ("reuse", "true"),
            ("timeout", "1s"),
        ];
        assert_eq!(host.run(check, &params).unwrap().verdict, Verdict::Fail);
    }

    #[test]
    fn address_on_another_host_passes_without_fetching() {
        let fetched = || {
            answering(500, "").on_addresses(|| {
                Ok(vec![Address { link: "eth0".to_owned(), ip: "192.0.2.1".parse().unwrap(), prefix: 24 }])
            })
        };
        for (address, verdict) in [("192.0.2.1", Verdict::Fail), ("192.0.2.2", Verdict::Pass)] {
            let report = fetched().run(check, &[("url", URL), ("if_held", address)]).unwrap();
            assert_eq!(report.verdict, verdict, "{}", report.message);
        }
    }

    #[test]
    fn bad_parameters_are_errors() {
        for (name, value) in
            [("matches", "("), ("contains", ""), ("if_held", "here"), ("status", "ok"), ("redirects", "many")]
        {
            let error = answering(200, "").run(check, &[("url", URL), (name, value)]).unwrap_err().to_string();
            assert!(error.contains(&format!("`{name}`")), "{error}");
        }
    }
}
