//! URLs, above all those that must not match.

use super::*;

#[test]
fn http_pattern_grants_these_urls() {
    for (pattern, target) in [
        ("http://127.0.0.1/", "http://127.0.0.1/"),
        ("http://127.0.0.1/", "http://127.0.0.1"),
        ("http://127.0.0.1/", "http://127.0.0.1:80/"),
        ("http://127.0.0.1:80/", "http://127.0.0.1/"),
        ("https://a.example/", "https://a.example:443/"),
        ("http://127.0.0.1/", "HTTP://127.0.0.1/"),
        // Other notations of the same address, which are connections to it.
        ("http://127.0.0.1/", "http://0x7f.1/"),
        ("http://127.0.0.1/", "http://2130706433/"),
        ("http://127.0.0.1/", "http://[::ffff:127.0.0.1]/"),
        ("http://[::1]:8080/", "http://[0:0::0:1]:8080/"),
        ("http://a.example/", "http://A.Example/"),
        ("http://a.example/", "http://a.example./"),
        ("http://a.example./", "http://a.example/"),
        ("http://A.EXAMPLE/", "http://a.example/"),
        ("http://bücher.example/", "http://xn--bcher-kva.example/"),
        ("https://*.example.com:8443/health*", "https://a.example.com:8443/health"),
        ("https://*.example.com:8443/health*", "https://a.b.example.com:8443/healthz?full=1"),
        ("http://h/*", "http://h/any/thing?at=all"),
        ("http://h/a?b=1", "http://h/a?b=1"),
        ("http://h/a?b*", "http://h/a?b=1&c=../2"),
        ("http://h/a/*", "http://h/a/./b/../c"),
        ("http://h/a/*", "http://h/a/b%2fc"),
        // Sent as credentials to the granted host.
        ("http://h/", "http://user:password@h/#fragment"),
        // Dots inside a name do not lead upwards.
        ("http://h/a/*", "http://h/a/..b/c..d/..."),
    ] {
        let grants = http(&[pattern]);
        assert!(grants.permits_http(&url(target)).is_ok(), "{pattern} should grant {target}");
    }
}

#[test]
fn http_pattern_does_not_grant_these_urls() {
    for (pattern, target) in [
        ("http://127.0.0.1/", "https://127.0.0.1/"),
        ("http://127.0.0.1/", "http://127.0.0.1:8080/"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1/"),
        ("http://127.0.0.1/", "http://127.0.0.2/"),
        ("http://127.0.0.1/", "http://localhost/"),
        ("http://127.0.0.1/", "http://127.0.0.1/admin"),
        ("http://127.0.0.1/", "http://127.0.0.1/?delete=all"),
        ("http://h/a", "http://h/a/"),
        ("http://h/a", "http://h/A"),
        ("http://h/a?b=1", "http://h/a?b=12"),
        // The host is what follows the user, whatever the user looks like.
        ("http://127.0.0.1/", "http://127.0.0.1@evil.example/"),
        ("http://127.0.0.1/", "http://127.0.0.1:80@evil.example/"),
        ("http://127.0.0.1/", "http://evil.example#@127.0.0.1/"),
        ("http://127.0.0.1/", "http://evil.example\\@127.0.0.1/"),
        ("http://127.0.0.1/*", "http://127.0.0.1.evil.example/"),
        ("http://h/*", "ftp://h/"),
        // "Below" means a further label before a dot.
        ("https://*.example.com/", "https://example.com/"),
        ("https://*.example.com/", "https://evilexample.com/"),
        ("https://*.example.com/", "https://a.example.com.evil.example/"),
        ("https://*.0.0.1.example/", "https://0.0.1.example/"),
        // Nothing climbs out of a prefix, in any form that a server may decode.
        ("http://h/health/*", "http://h/health/../admin"),
        ("http://h/health/*", "http://h/health/%2e%2e/admin"),
        ("http://h/health/*", "http://h/health/..%2fadmin"),
        ("http://h/health/*", "http://h/health/%2e%2e%2Fadmin"),
        ("http://h/health/*", "http://h/health/..%5cadmin"),
        ("http://h/health/*", "http://h/health/%252e%252e%252fadmin"),
        ("http://h/health/*", "http://h/health/..;/admin"),
        ("http://h/health/*", "http://h/health/..%3bx=1/admin"),
        ("http://h/health*", "http://h/health%2f..%2fadmin"),
        ("http://h/health/*", "http://h/health"),
        ("http://h/health/*", "http://h/Health/"),
    ] {
        let grants = http(&[pattern]);
        assert!(grants.permits_http(&url(target)).is_err(), "{pattern} should not grant {target}");
    }
}

#[test]
fn invalid_http_patterns_are_rejected() {
    for (pattern, expected) in [
        ("", "http:// or https://"),
        ("127.0.0.1", "http:// or https://"),
        ("ftp://h/", "http:// or https://"),
        ("HTTP://h/", "http:// or https://"),
        ("http://h", "a path after the host"),
        ("http://*/", "only as the whole first label"),
        ("http://a.*.example/", "only as the whole first label"),
        ("http://h/*/status", "at the end of the path"),
        ("http://*.127.0.0.1/", "a host"),
        ("http://*.[::1]/", "a host"),
        ("http://user@h/", "without user"),
        ("http://:pw@h/", "without user"),
        ("http://h/#a", "without a fragment"),
        ("http://h:0/", "a port"),
        ("http://h:99999/", "a URL"),
        ("http:///a", "a host"),
        ("http://h\\a/", "without spaces"),
        ("http://h /", "without spaces"),
        ("http://h/\n", "without spaces"),
    ] {
        let Err(error) = pattern.parse::<HttpPattern>() else {
            panic!("{pattern} should be refused");
        };
        assert!(error.expected.contains(expected), "{pattern}: {error}");
    }
}
