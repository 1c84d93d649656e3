//! Matching, above all what must not match.

use super::*;

fn http(patterns: &[&str]) -> Grants {
    let http = patterns.iter().map(|p| p.parse().unwrap_or_else(|e| panic!("{e}"))).collect();
    Grants { http, ..Grants::default() }
}

fn tcp(patterns: &[&str]) -> Grants {
    let tcp = patterns.iter().map(|p| p.parse().unwrap_or_else(|e| panic!("{e}"))).collect();
    Grants { tcp, ..Grants::default() }
}

fn url(text: &str) -> Url {
    Url::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"))
}

#[test]
fn nothing_is_granted_by_default() {
    let nothing = Grants::default();
    assert!(nothing.permits_process("nginx").is_err());
    assert!(nothing.permits_all_processes().is_err());
    assert!(nothing.permits_http(&url("http://127.0.0.1/")).is_err());
    assert!(nothing.permits_tcp("127.0.0.1", 80).is_err());
    assert!(nothing.permits_unix("/run/haproxy/admin.sock").is_err());
    assert!(nothing.permits_file("/etc/hostname").is_err());
    assert!(nothing.permits_dns("localhost").is_err());
}

#[test]
fn processes_are_granted_by_exact_name() {
    let names = Grants { process: ProcessGrant::Names(vec!["nginx".into()]), ..Grants::default() };
    assert!(names.permits_process("nginx").is_ok());
    for other in ["Nginx", "nginx ", "ngin", "nginx2", "", "*"] {
        assert!(names.permits_process(other).is_err(), "{other:?}");
    }
    assert!(names.permits_all_processes().is_err());
    let all = Grants { process: ProcessGrant::All, ..Grants::default() };
    assert!(all.permits_process("anything").is_ok());
    assert!(all.permits_all_processes().is_ok());
}

#[test]
fn http_pattern_grants_these_urls() {
    for (pattern, target) in [
        ("http://127.0.0.1/", "http://127.0.0.1/"),
        ("http://127.0.0.1/", "http://127.0.0.1"),
        ("http://127.0.0.1/", "http://127.0.0.1:80/"),
        ("http://127.0.0.1:80/", "http://127.0.0.1/"),
        ("https://a.example/", "https://a.example:443/"),
        ("http://127.0.0.1/", "HTTP://127.0.0.1/"),
        // Other ways to write the same address: all are connections to it.
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
        // Sent as credentials, to the host that is granted.
        ("http://h/", "http://user:password@h/#fragment"),
        // Dots that are part of a name lead nowhere.
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
        // The host is what follows the user, whatever that looks like.
        ("http://127.0.0.1/", "http://127.0.0.1@evil.example/"),
        ("http://127.0.0.1/", "http://127.0.0.1:80@evil.example/"),
        ("http://127.0.0.1/", "http://evil.example#@127.0.0.1/"),
        ("http://127.0.0.1/", "http://evil.example\\@127.0.0.1/"),
        ("http://127.0.0.1/*", "http://127.0.0.1.evil.example/"),
        ("http://h/*", "ftp://h/"),
        // Below means a label more, at a dot.
        ("https://*.example.com/", "https://example.com/"),
        ("https://*.example.com/", "https://evilexample.com/"),
        ("https://*.example.com/", "https://a.example.com.evil.example/"),
        ("https://*.0.0.1.example/", "https://0.0.1.example/"),
        // Nothing climbs out of a prefix, in whatever disguise a server might see through.
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

#[test]
fn tcp_pattern_grants_these_connections() {
    for (pattern, host, port) in [
        ("127.0.0.1:3306", "127.0.0.1", 3306),
        ("127.0.0.1:3306", "::ffff:127.0.0.1", 3306),
        ("10.0.0.0/8:5432", "10.255.0.1", 5432),
        ("10.0.0.0/8:5432", "::ffff:10.0.0.1", 5432),
        ("0.0.0.0/0:53", "192.0.2.1", 53),
        ("[::ffff:10.0.0.0/104]:1", "10.1.2.3", 1),
        ("[::1]:22", "0:0:0:0:0:0:0:1", 22),
        ("[fd00::/8]:*", "fdff::1", 1),
        ("[::/0]:1", "2001:db8::1", 1),
        ("db.local:*", "db.local", 65535),
        ("db.local:5432", "DB.Local.", 5432),
        ("*.example.com:443", "a.b.example.com", 443),
        ("my_db:1", "my_db", 1),
    ] {
        assert!(tcp(&[pattern]).permits_tcp(host, port).is_ok(), "{pattern} should grant {host} {port}");
    }
}

#[test]
fn tcp_pattern_does_not_grant_these_connections() {
    for (pattern, host, port) in [
        ("127.0.0.1:3306", "127.0.0.1", 3307),
        ("127.0.0.1:3306", "localhost", 3306),
        ("localhost:3306", "127.0.0.1", 3306),
        ("10.0.0.0/8:5432", "11.0.0.1", 5432),
        ("10.0.0.0/8:5432", "::10.0.0.1", 5432),
        ("0.0.0.0/0:53", "2001:db8::1", 53),
        ("[::/0]:53", "192.0.2.1", 53),
        // What a network grants are addresses: a name would have to be looked up first, and that tells a name server.
        ("0.0.0.0/0:53", "secret.evil.example", 53),
        // Resolvers read these as addresses; as names they are never granted.
        ("127.0.0.1:80", "127.1", 80),
        ("127.0.0.1:80", "0x7f000001", 80),
        ("127.0.0.1:80", "2130706433", 80),
        ("*.example.com:443", "example.com", 443),
        ("*.example.com:443", ".example.com", 443),
        ("*.example.com:443", "evilexample.com", 443),
        ("*.example.com:443", "evil\0.example.com", 443),
        ("*.example.com:443", "evil/.example.com", 443),
        ("*.example.com:443", "a.example.com.evil.example", 443),
        ("db.local:*", "db.local..", 1),
        ("db.local:*", "", 1),
        ("[::1]:22", "[::1]", 22),
        ("[fe80::/10]:22", "fe80::1%eth0", 22),
    ] {
        assert!(tcp(&[pattern]).permits_tcp(host, port).is_err(), "{pattern} should not grant {host:?} {port}");
    }
}

#[test]
fn invalid_tcp_patterns_are_rejected() {
    for pattern in [
        "",
        "127.0.0.1",
        ":80",
        "host:",
        "host:0",
        "host:65536",
        "host:+1",
        "host:http",
        "*:80",
        "*.:80",
        "a.*.b:80",
        "::1:80",
        "[127.0.0.1]:80x",
        "[::1]",
        "[::1:80",
        "10.0.0.0/33:1",
        "10.0.0.1/8:1",
        "10.0.0.0/:1",
        "10.0.0.0/+8:1",
        "[fd00::1/8]:1",
        "[fd00::/129]:1",
        "127.1:80",
        "0x7f.0x1:80",
        "1234:80",
        "ho st:80",
        "user@host:80",
        "http://host:80",
        "[::ffff:10.0.0.0/64]:1",
    ] {
        assert!(pattern.parse::<TcpPattern>().is_err(), "{pattern:?} should be refused");
    }
}

#[test]
fn refusal_gives_the_whole_allow_line_that_would_permit_it() {
    let mut grants = http(&["http://127.0.0.1/"]);
    grants.process = ProcessGrant::Names(vec!["nginx".into()]);
    let line = |refused: Result<(), Refusal>| refused.expect_err("not granted").line;
    assert_eq!(
        line(grants.permits_tcp("::1", 22)),
        r#"allow = { process = ["nginx"], http = ["http://127.0.0.1/"], tcp = ["[::1]:22"] }"#
    );
    assert_eq!(
        line(grants.permits_http(&url("https://u:p@a.example:8443/x?y=1#z"))),
        r#"allow = { process = ["nginx"], http = ["http://127.0.0.1/", "https://a.example:8443/x?y=1"] }"#
    );
    assert_eq!(
        line(Grants::default().permits_process("an \"odd\"\n\\ one")),
        r#"allow = { process = ["an \"odd\"\u000A\\ one"] }"#
    );
    assert_eq!(line(Grants::default().permits_all_processes()), "allow = { process = true }");
}

#[test]
fn refusal_shows_no_password_and_says_if_nothing_could_grant_it() {
    let refusal = Grants::default().permits_http(&url("http://user:secret@h/")).expect_err("not granted");
    assert!(!refusal.to_string().contains("secret"), "{refusal}");
    let refusal = Grants::default().permits_tcp("127.1", 80).expect_err("not granted");
    assert_eq!(refusal.line, "nothing could grant it");
    let refusal = Grants::default().permits_http(&url("http://h/a*b")).expect_err("not granted");
    assert_eq!(refusal.line, "nothing could grant it");
}

#[test]
fn allow_line_of_a_refusal_permits_what_was_refused() {
    for target in ["http://a.example/x?y=%20", "https://[::1]:8443/", "http://0x7f.1/", "http://a_b.example./c"] {
        let target = url(target);
        let line = Grants::default().permits_http(&target).expect_err("not granted").line;
        let pattern = line.split('"').nth(1).unwrap_or_default();
        assert!(http(&[pattern]).permits_http(&target).is_ok(), "{line}");
    }
    for (host, port) in [("DB.local.", 1), ("::ffff:10.0.0.1", 2), ("fd00::1", 3)] {
        let line = Grants::default().permits_tcp(host, port).expect_err("not granted").line;
        let pattern = line.split('"').nth(1).unwrap_or_default();
        assert!(tcp(&[pattern]).permits_tcp(host, port).is_ok(), "{line}");
    }
}

#[test]
fn patterns_are_shown_as_written() {
    for pattern in ["http://127.0.0.1/", "https://*.example.com:8443/health*", "http://[::1]:8080/a?b"] {
        assert_eq!(pattern.parse::<HttpPattern>().map(String::from).as_deref(), Ok(pattern));
    }
    for pattern in ["127.0.0.1:3306", "10.0.0.0/8:5432", "db.local:*", "[fd00::/8]:1", "*.example.com:443"] {
        assert_eq!(pattern.parse::<TcpPattern>().map(String::from).as_deref(), Ok(pattern));
    }
}

fn files(patterns: &[&str]) -> Grants {
    let files = patterns.iter().map(|p| p.parse().unwrap_or_else(|e| panic!("{e}"))).collect();
    Grants { files, ..Grants::default() }
}

fn dns(patterns: &[&str]) -> Grants {
    let names = patterns.iter().map(|p| p.parse().unwrap_or_else(|e| panic!("{e}"))).collect();
    Grants { dns: DnsGrant::Names(names), ..Grants::default() }
}

#[test]
fn granted_path_is_split_at_the_first_wildcard() {
    for (pattern, path, trusted, rest) in [
        ("/run/app/ready", "/run/app/ready", "/run/app", "ready"),
        ("/run/app/*.flag", "/run/app/a.flag", "/run/app", "a.flag"),
        ("/run/app/*.flag", "/run//app/a.flag/", "/run/app", "a.flag"),
        ("/run/a?p/ready", "/run/app/ready", "/run", "app/ready"),
        ("/run/**", "/run/a/b/c", "/run", "a/b/c"),
        ("/run/**/x", "/run/x", "/run", "x"),
        ("/run/**/x", "/run/a/b/x", "/run", "a/b/x"),
        ("/*", "/run", "/", "run"),
        ("/", "/", "/", ""),
        ("/var/", "/var", "/", "var"),
        ("/proc/pressure/*", "/proc/pressure/cpu", "/proc/pressure", "cpu"),
        ("/a/*b*c", "/a/xbbcxc", "/a", "xbbcxc"),
    ] {
        let expected = GrantedPath { trusted: trusted.to_owned(), rest: rest.to_owned() };
        assert_eq!(files(&[pattern]).permits_file(path), Ok(expected), "{pattern} {path}");
    }
    let both = files(&["/run/**", "/run/app/*"]).permits_file("/run/app/x").unwrap();
    assert_eq!(both.trusted, "/run/app", "the pattern that spells out most counts");
}

#[test]
fn path_pattern_does_not_grant_these_paths() {
    for (pattern, path) in [
        ("/run/app/ready", "/run/app/ready2"),
        ("/run/app/ready", "/run/app"),
        ("/run/app/ready", "run/app/ready"),
        ("/run/app/*", "/run/app/a/b"),
        ("/run/app/*", "/run/app"),
        ("/run/app/**", "/run/app"),
        ("/run/app/*", "/run/app/../secret"),
        ("/run/app/*", "/run/app/.."),
        ("/run/app/*", "/run/app/./a"),
        ("/run/app/*", "/run/app/a\0b"),
        ("/run/app/*.flag", "/run/app/flag"),
        ("/run/app/?", "/run/app/ab"),
        ("/**/x", "/a/y"),
        ("/", "/etc"),
    ] {
        assert!(files(&[pattern]).permits_file(path).is_err(), "{pattern} should not grant {path}");
        assert!(files(&[pattern]).permits_unix(path).is_err(), "files grant no socket");
    }
}

#[test]
fn invalid_path_patterns_are_rejected() {
    for pattern in ["", "run", "./run", "/run/../etc", "/run/.", "/a**", "/**b", "/**/**/**", "/a\nb", "~/x"] {
        assert!(pattern.parse::<PathPattern>().is_err(), "{pattern:?} should be refused");
    }
}

#[test]
fn dns_lookups_are_limited_to_granted_names() {
    let grants = dns(&["db.example.com", "*.example.org"]);
    for name in ["db.example.com", "DB.example.com.", "a.example.org", "a.b.example.org"] {
        assert!(grants.permits_dns(name).is_ok(), "{name}");
    }
    for name in ["example.com", "example.org", "x.db.example.com", "db.example.com.evil.example", "127.0.0.1", "", "*"]
    {
        assert!(grants.permits_dns(name).is_err(), "{name}");
    }
    assert!(Grants { dns: DnsGrant::All, ..Grants::default() }.permits_dns("any.example").is_ok());
    for pattern in ["", "*", "10.0.0.1", "10.0.0.0/8", "a b", "a:1", "127.1"] {
        assert!(pattern.parse::<DnsPattern>().is_err(), "{pattern:?} should be refused");
    }
}

#[test]
fn guarded_address_needs_the_address_or_its_name_spelled_out() {
    let guarded = [
        "169.254.169.254",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "fe80::1",
        "fd00:ec2::254",
        "fd20:ce::254",
        "100.100.100.200",
        "192.0.0.192",
        "168.63.129.16",
        // What a network may turn into such an address: NAT64 in a site, 6to4, translated, compatible, Teredo.
        "64:ff9b:1::a9fe:a9fe",
        "64:ff9b:1:a9fe:a9:fe00::",
        "2002:a9fe:a9fe::1",
        "::ffff:0:169.254.169.254",
        "::169.254.169.254",
        "2001:0:102:304:0:0:5601:5601",
    ];
    for address in guarded {
        let ip: IpAddr = address.parse().unwrap();
        let socket = SocketAddr::new(ip, 80);
        let wide = tcp(&["0.0.0.0/0:*", "[::/0]:*", "169.254.0.0/16:80", "[fe80::/10]:80", "*.example.com:80"]);
        assert!(wide.permits_tcp(address, 80).is_err(), "{address} by a network");
        assert!(wide.permits_tcp_address("a.example.com", socket).is_err(), "{address} by a wildcard name");
        let line = wide.permits_tcp(address, 80).expect_err("not granted").line;
        let pattern = line.rsplit('"').nth(1).unwrap_or_default();
        assert!(tcp(&[pattern]).permits_tcp(address, 80).is_ok(), "{address}: {line}");
        assert!(tcp(&["a.example.com:80"]).permits_tcp_address("a.example.com", socket).is_ok(), "{address} by name");

        let target = url("http://a.example.com/");
        assert!(http(&["http://*.example.com/"]).permits_http_address(&target, ip).is_err(), "{address}");
        assert!(http(&["http://a.example.com/"]).permits_http_address(&target, ip).is_ok(), "{address}");
    }
    for address in [
        "169.253.0.1",
        "fec0::1",
        "fd00:ec2::253",
        "100.100.100.201",
        "::1",
        "127.0.0.1",
        "64:ff9b::a00:1",
        "2002:a00:1::1",
        "2001:db8::a9fe:a9fe",
    ] {
        let grants = tcp(&["0.0.0.0/0:*", "[::/0]:*"]);
        assert!(grants.permits_tcp(address, 80).is_ok(), "{address} is an address like others");
    }
}

#[test]
fn allow_line_of_a_refusal_lists_new_grants_and_hides_the_environment() {
    let mut grants = files(&["/run/*"]);
    grants.env = [("TOKEN".to_owned(), "secret".to_owned())].into();
    let line = |refused: Refusal| refused.line;
    assert_eq!(
        line(grants.permits_file("/etc/hostname").unwrap_err()),
        r#"allow = { files = ["/run/*", "/etc/hostname"], env = { TOKEN = "..." } }"#
    );
    assert_eq!(
        line(Grants::default().permits_unix("/run/a.sock").unwrap_err()),
        r#"allow = { unix = ["/run/a.sock"] }"#
    );
    assert_eq!(line(Grants::default().permits_dns("a.example").unwrap_err()), r#"allow = { dns = ["a.example"] }"#);
    for path in ["relative", "/a/../b", "/a*"] {
        assert_eq!(line(Grants::default().permits_file(path).unwrap_err()), "nothing could grant it", "{path}");
    }
    assert_eq!(line(Grants::default().permits_dns("*.example").unwrap_err()), "nothing could grant it");
}
