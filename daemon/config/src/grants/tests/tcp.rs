//! Connections and guarded addresses, above all those that must not match.

use super::*;

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
        // A network grants addresses. A name would have to be looked up first, which contacts a name server.
        ("0.0.0.0/0:53", "secret.evil.example", 53),
        // Resolvers read these as addresses, so they are never granted as names.
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
        // What a network may translate to such an address: NAT64 in a site, 6to4, translated, compatible, Teredo.
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
