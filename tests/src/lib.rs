//! Whole-system tests: real daemons, real nginx and real keepalived on hosts made of Linux namespaces.
//!
//! This library is the fixture, the files in `tests/` are the tests; nothing in here links a part of vouchd, so that
//! the daemon is judged from outside only. A test looks like this:
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
//! | module | what it gives |
//! |---|---|
//! | [`site`] | the hosts, their network and who holds which address |
//! | [`host`] | commands and daemons on one host |
//! | [`addresses`] | a host's addresses in all their forms, and every change of them |
//! | [`web`], [`nginx`], [`keepalived`], [`vouchd`] | what runs on the hosts |
//! | [`pair`] | the two routers of a test, either of them vouchd or keepalived, from one description |
//! | [`client`], [`outage`] | a client that fetches without a pause, and what it had to go without |
//! | [`capture`], [`injector`], [`frame`] | what is on the wire, seen and made |
//! | [`neighbour`] | what the client believes of the virtual address |
//! | [`sniffer`] | whatever one host sends, loopback too |
//! | [`dead_mount`] | a file system that does not answer |
//! | [`bench`] | the comparison with keepalived |
//! | [`corpus`] | plugin files that misbehave in every known way |
//!
//! Environment: `VOUCHD_BIN` and `VOUCHD_PLUGINS` name what is tested (by default what the workspace has built),
//! `VOUCHD_LOG` is the daemons' log filter, `VOUCHD_TESTS_STRICT` makes a skipped test a failed one (crate `vouchd-skip`), and
//! `VOUCHD_TESTS_KEEP` keeps the directory with the daemons' files and logs (`vouchd-tests-…` in the temporary directory).

pub mod addresses;
pub mod bench;
pub mod capture;
pub mod client;
pub mod corpus;
pub mod dead_mount;
pub mod frame;
pub mod holders;
pub mod host;
pub mod injector;
pub mod keepalived;
pub mod neighbour;
pub mod nginx;
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

/// Runs one test on a site of its own.
///
/// Where something that the test needs is missing, the test is skipped with a line that says so; with
/// `VOUCHD_TESTS_STRICT` set it fails instead. When the test fails, the logs of all its daemons are printed.
///
/// # Panics
/// When `body` fails or panics, or the site can't be made.
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
