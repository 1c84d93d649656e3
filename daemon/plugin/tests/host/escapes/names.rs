//! Attempts by looking up names.

use vouchd_config::Grants;
use vouchd_config::grants::DnsGrant;

use super::{UNLESS_OK, attempt, placed, said};
use crate::common::{host, reporting};

fn resolve(name: &str) -> Vec<u8> {
    let (data, name) = placed(3000, name);
    let top = format!(r#"(import "vouchd:check/dns@0.1.0" "resolve" (func $resolve (param i32 i32 i32 i32))) {data}"#);
    let body = format!("(call $resolve {name} (i32.const 400) (i32.const 60000)) {UNLESS_OK}");
    reporting(0, "got in", &top, &body)
}

fn names(patterns: &[&str]) -> Grants {
    let dns = match patterns {
        [] => DnsGrant::None,
        patterns => DnsGrant::Names(patterns.iter().map(|pattern| pattern.parse().unwrap()).collect()),
    };
    Grants { dns, ..Grants::default() }
}

const MISSING: &str = "dns = [\"";
const NEVER: &str = "nothing could grant it";
const ADDRESS: &str = "is an address";
const SERVER: &str = "name server \"db.test\": expected an address";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn name_is_never_looked_up_without_a_grant() {
    let labels = format!("{}.db.test", "a.".repeat(130));
    let label = format!("{}.db.test", "a".repeat(64));
    // None of these names would leave this machine if looked up: they are reserved (RFC 6761).
    let table: Vec<(&[&str], &str, &str)> = vec![
        (&[], "localhost", MISSING),
        (&["db.test"], "localhost", MISSING),
        (&["db.test"], "test", MISSING),
        (&["db.test"], "a.db.test", MISSING),
        (&["db.test"], "db.test.invalid", MISSING),
        (&["db.test"], "db.test.localhost", MISSING),
        (&["db.test"], "evil-db.test", MISSING),
        (&["db.test"], "db-test", MISSING),
        (&["db.test"], "dbxtest", MISSING),
        (&["db.test"], "db", MISSING),
        (&["db.test"], "db.test..", NEVER),
        (&["db.test"], ".db.test", NEVER),
        (&["db.test"], "db..test", NEVER),
        (&["db.test"], "db.test.invalid\0.db.test", NEVER),
        (&["db.test"], "db.test\0", NEVER),
        (&["db.test"], " db.test", NEVER),
        (&["db.test"], "db.test\n", NEVER),
        (&["db.test"], "db.test/", NEVER),
        (&["db.test"], "db.test:53", NEVER),
        // The part after the @ is a name server's address.
        (&["db.test"], "x@db.test", SERVER),
        (&["db.test"], "db.test@127.0.0.1:53", "tcp = ["),
        (&["db.test"], "db.test%00", NEVER),
        (&["db.test"], "db\\.test", NEVER),
        (&["db.test"], "\\100b.test", NEVER),
        // Letters that a normalization of names would turn into these.
        (&["db.test"], "\u{ff44}\u{ff42}.test", NEVER),
        (&["db.test"], "db\u{3002}test", NEVER),
        (&["db.test"], "d\u{ad}b.test", NEVER),
        (&["db.test"], "db.te\u{17f}t", NEVER),
        (&["db.test"], "xn--db-.test", MISSING),
        (&["db.test"], "*", NEVER),
        (&["db.test"], "*.test", NEVER),
        (&["db.test"], "", NEVER),
        (&["db.test"], ".", NEVER),
        (&["*.db.test"], "db.test", MISSING),
        (&["*.db.test"], "db.test.", MISSING),
        (&["*.db.test"], ".db.test", NEVER),
        (&["*.db.test"], "*.db.test", NEVER),
        (&["*.db.test"], "adb.test", MISSING),
        (&["*.db.test"], "a.db.test.invalid", MISSING),
        (&["*.db.test"], "a..db.test", NEVER),
        (&["*.db.test"], &labels, NEVER),
        (&["*.db.test"], &label, NEVER),
        // An address is no name, however it is written.
        (&["db.test"], "127.0.0.1", ADDRESS),
        (&["db.test"], "::1", ADDRESS),
        (&["db.test"], "::ffff:169.254.169.254", ADDRESS),
        (&["db.test"], "[::1]", NEVER),
        (&["db.test"], "127.1", NEVER),
        (&["db.test"], "2130706433", NEVER),
        (&["db.test"], "0x7f000001", NEVER),
        (&["db.test"], "0x7f.1", NEVER),
        (&["db.test"], "0177.0.0.1", NEVER),
        (&["db.test"], "127.0.0.1.", NEVER),
        (&["db.test"], "fe80::1%lo", NEVER),
        (&["*.test"], "1.0.0.127.in-addr.arpa", MISSING),
    ];
    let host = host();
    for name in ["localhost", "LocalHost"] {
        let outcome = attempt(&host, &names(&["localhost"]), &resolve(name)).await;
        assert_eq!(said(&outcome), "GOT IN", "{name}");
    }
    let mut complaints = Vec::new();
    for (patterns, name, words) in &table {
        let said = said(&attempt(&host, &names(patterns), &resolve(name)).await);
        println!("{name:?}: {said}");
        if !said.contains(words) {
            complaints.push(format!("{name:?}: {said}"));
        }
    }
    println!("{} attempts by name", table.len());
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// Even with all names granted, an address is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn address_is_no_name_even_if_all_names_are_granted() {
    let grants = Grants { dns: DnsGrant::All, ..Grants::default() };
    let host = host();
    for name in ["127.0.0.1", "::1", "169.254.169.254"] {
        assert!(said(&attempt(&host, &grants, &resolve(name)).await).contains(ADDRESS), "{name}");
    }
    for name in ["a\0b", ""] {
        assert_ne!(said(&attempt(&host, &grants, &resolve(name)).await), "GOT IN", "{name:?}");
    }
}
