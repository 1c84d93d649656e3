//! Paths and names, above all those that must not match.

use super::*;

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
