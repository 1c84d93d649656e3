//! Routes and rules in the grammar of ip-route(8) and ip-rule(8): from text to typed values, and back.
//!
//! * [`Route::parse`] and [`Rule::parse`] read what follows `ip route add` and `ip rule add`. A [`Mistake`] names its place in
//!   the text.
//! * `Display` writes the shortest text that parses to the same value.
//! * Defaults are those of the program `ip`: they are filled in here, so that two texts with the same meaning are equal.
//!
//! A leading `-4` or `-6` chooses the family where no address does, as in `ip -6 rule add`. The protocol of a route or rule
//! (`proto`) is its owner's mark, so no text can set it. Names of tables in /etc/iproute2/rt_tables are unknown: a
//! configuration has the same meaning on every host.
#![forbid(unsafe_code)]
#![warn(missing_docs, unreachable_pub)]

mod metrics;
mod prefix;
mod route;
mod rule;
mod words;

pub use metrics::{Metric, Metrics};
pub use prefix::{Family, Prefix};
pub use route::{NextHop, Preference, Route, RouteId, RouteKind};
pub use rule::{FwMark, Rule, RuleAction};
pub use words::Mistake;

/// The number of the table `default`.
pub const TABLE_DEFAULT: u32 = 253;
/// The number of the table `main`.
pub const TABLE_MAIN: u32 = 254;
/// The number of the table `local`.
pub const TABLE_LOCAL: u32 = 255;
