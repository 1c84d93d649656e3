//! Tests of whole systems: real daemons, nginx and keepalived on hosts made of Linux namespaces.
//!
//! This library is the fixture; the tests are in `tests/`. It links no part of vouchd, so that the daemon is judged only from
//! outside. A test looks like this:
//!
//! ```no_run
//! use vouchd_tests::{Need, system_test};
//!
//! system_test("what it shows", &[Need::Nginx], |site| {
//!     let pair = vouchd_tests::pair::Pair::start(site, Default::default())?;
//!     pair.alternates()
//! });
//! ```
//!
//! | module | provides |
//! |---|---|
//! | [`site`] | the hosts and their network |
//! | [`host`], [`background`] | commands, daemons and threads on one host |
//! | [`holders`] | who held which virtual address when |
//! | [`addresses`] | a host's addresses in all their forms, and every change of them |
//! | [`vouchd`], [`command`] | the daemon under test, and its commands |
//! | [`web`], [`nginx`], [`keepalived`] | the other programs on the hosts |
//! | [`pair`] | two routers, each vouchd or keepalived, from one description |
//! | [`client`], [`outage`] | a client that fetches all the time, and how long it went without service |
//! | [`capture`], [`injector`], [`frame`] | packets on the wire: recorded, sent, built |
//! | [`ipv6`] | the site over IPv6, and what is on its wire |
//! | [`neighbour`] | the client's neighbour entry for the virtual address |
//! | [`claimants`] | which MAC addresses claim an address |
//! | [`sniffer`] | everything that one host sends |
//! | [`dead_mount`] | a file system that does not answer |
//! | [`local`] | servers in the test's own process |
//! | [`guest`] | plugins, built from WebAssembly text |
//! | [`corpus`] | plugin files that misbehave in every known way |
//! | [`mod@bench`] | the comparison with keepalived |
//!
//! Environment variables:
//!
//! * `VOUCHD_BIN` and `VOUCHD_PLUGINS` name the executable and the plugins under test; by default those that the workspace
//!   has built. `vouchd-checker` lies beside the executable.
//! * `VOUCHD_LOG` is the log filter of the daemons.
//! * `VOUCHD_TESTS_STRICT` makes a test fail that would be skipped (crate `vouchd-skip`).
//! * `VOUCHD_TESTS_KEEP` keeps the daemons' files and logs: `vouchd-tests-…` in the temporary directory.

#![warn(missing_docs, unreachable_pub)]

pub mod addresses;
pub mod background;
pub mod bench;
mod bytes;
pub mod capture;
pub mod claimants;
pub mod client;
pub mod command;
pub mod corpus;
pub mod dead_mount;
pub mod frame;
pub mod guest;
pub mod holders;
pub mod host;
pub mod injector;
pub mod ipv6;
pub mod keepalived;
pub mod local;
pub mod neighbour;
pub mod nginx;
mod notices;
pub mod outage;
pub mod pair;
pub mod requirements;
pub mod site;
pub mod sniffer;
pub mod vouchd;
pub mod wait;
pub mod web;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

pub use requirements::Need;
pub use site::{Node, Site, VIP};

/// Runs a test on a new site. `name` says what it shows.
///
/// If the machine lacks something that the test needs, the test is [skipped](vouchd_skip::skip). If the test fails, the logs
/// of all its daemons are printed.
///
/// # Panics
/// If `body` fails or panics, or the site cannot be made.
pub fn system_test(name: &str, needs: &[Need], body: impl FnOnce(&Site) -> anyhow::Result<()>) {
    if !requirements::met(needs) {
        return;
    }
    let site = Site::new().unwrap_or_else(|error| panic!("{name}: no site: {error:?}"));
    match catch_unwind(AssertUnwindSafe(|| body(&site))) {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            site.print_logs();
            panic!("{name}: {error:#}");
        }
        Err(panic) => {
            site.print_logs();
            resume_unwind(panic);
        }
    }
}
