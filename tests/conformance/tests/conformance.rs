//! The rows against real routers: vouchd passes all that apply, and the others fail as they are known to.

use std::collections::BTreeSet;

use vouchd_conformance::matrix::{self, Cell, Protocol};
use vouchd_conformance::report::Report;
use vouchd_conformance::router::Make;
use vouchd_conformance::runner::{self, Options, Outcome};
use vouchd_tests::{Need, requirements};

/// Whether the make can run; else the test is skipped.
fn can_run(make: &Make, package: &str) -> bool {
    if !requirements::met(&[]) {
        return false;
    }
    if !make.is_installed() {
        vouchd_skip::skip(&format!("no {}", make.name), &format!("install the package {package}"));
        return false;
    }
    true
}

fn failed(make: Make, known_failures: &[u32]) -> BTreeSet<u32> {
    let name = make.name.clone();
    let options = Options { known_failures: known_failures.to_vec(), ..Options::default() };
    let report = Report { columns: vec![(name.clone(), runner::run(&make, &options))] };
    print!("{}", report.text());
    report.failed(&name)
}

#[test]
fn vouchd_passes_every_row_that_applies() {
    if requirements::met(&[Need::Vouchd]) {
        assert_eq!(failed(Make::vouchd(), &[]), BTreeSet::new());
    }
}

/// docs/conformance-measured.md explains each.
#[test]
fn keepalived_fails_as_it_is_known_to() {
    let make = Make::keepalived();
    if can_run(&make, "keepalived") {
        let known = KEEPALIVED;
        assert_eq!(failed(make, known), known.iter().copied().collect());
    }
}

/// The same page explains each.
#[test]
fn frr_fails_as_it_is_known_to() {
    let make = Make::frr();
    if can_run(&make, "frr") {
        let known = FRR;
        assert_eq!(failed(make, known), known.iter().copied().collect());
    }
}

#[rustfmt::skip]
const KEEPALIVED: &[u32] = &[
    9, 14, 15, 16, 17, 18, 19, 20, 21, 22, 25, 26, 27, 29, 33, 34, 35, 36, 45, 57, 58, 61, 65, 82, 83, 89, 90, 91, 93, 96,
];

#[rustfmt::skip]
const FRR: &[u32] = &[
    4, 9, 11, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 30, 33, 34, 36, 38, 41, 42, 45, 46, 48, 49, 50, 51, 52, 53,
    56, 57, 58, 59, 60, 61, 65, 69, 71, 79, 80, 81, 82, 83, 85, 87, 94, 96,
];

/// A compact part of the matrix: vouchd with itself everywhere, and with keepalived where most people meet it.
#[test]
fn pairs_have_one_active_router_and_take_over_in_time() {
    if !requirements::met(&[Need::Vouchd, Need::Keepalived]) {
        return;
    }
    let (vouchd, keepalived) = (Make::vouchd(), Make::keepalived());
    let mut cells = matrix::cells(&vouchd, &[]);
    for makes in [[&vouchd, &keepalived], [&keepalived, &vouchd]] {
        let makes = makes.map(Make::clone);
        cells.push(Cell { makes: makes.clone(), protocol: Protocol::V2Password, unicast: true });
        cells.push(Cell { makes: makes.clone(), protocol: Protocol::V3, unicast: false });
        cells.push(Cell { makes, protocol: Protocol::V6, unicast: false });
    }
    let lived = matrix::run(&cells, 14);
    print!("{}", matrix::markdown(&lived));
    let failed: Vec<_> =
        lived.iter().filter(|(_, outcome, _)| *outcome != Outcome::Pass).map(|(_, outcome, _)| outcome).collect();
    assert!(failed.is_empty(), "{failed:?}");
}
