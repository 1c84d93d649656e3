//! Matching, above all what must not match, and what a refusal says.

mod http;
mod names;
mod tcp;

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
