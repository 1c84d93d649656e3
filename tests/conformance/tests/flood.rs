//! A vouchd under 10,000 frames a second.

use vouchd_conformance::flood::{Kind, flood};
use vouchd_conformance::plan::Setup;
use vouchd_conformance::router::Make;
use vouchd_tests::{Need, requirements};

/// Floods over IPv4 and over IPv6 at the same time, each on a host of its own.
fn flooded(kind: Kind) {
    if !requirements::met(&[Need::Vouchd]) {
        return;
    }
    std::thread::scope(|scope| {
        let threads = [Setup::V3, Setup::V6].map(|setup| {
            scope.spawn(move || {
                let found = flood(&Make::vouchd(), setup, kind).expect("an active router");
                println!("{kind:?} in {}: {found:?}", setup.name());
                assert!(found.sent > 50_000, "the machine is too slow to send a flood: {} frames", found.sent);
                found.check(kind).unwrap_or_else(|error| panic!("{}: {error}: {found:?}", setup.name()));
            })
        });
        for thread in threads {
            thread.join().expect("see above");
        }
    });
}

#[test]
fn row_37_flood_of_a_worse_router_is_answered_within_limits() {
    flooded(Kind::Worse);
}

#[test]
fn row_37_flood_of_wrong_checksums_changes_nothing() {
    flooded(Kind::Malformed);
}

#[test]
fn row_37_flood_of_priority_0_is_answered_within_limits() {
    flooded(Kind::Resigned);
}
