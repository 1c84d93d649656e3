//! Write a check for vouchd in Rust.
//!
//! ```
//! use serde::Deserialize;
//! use vouchd_check::{Context, HttpRequest, Report, Result};
//!
//! #[derive(Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct Params {
//!     url: String,
//! }
//!
//! fn check(ctx: &Context) -> Result<Report> {
//!     let params: Params = ctx.params()?;
//!     match ctx.http(&HttpRequest::get(&params.url)) {
//!         Ok(response) if response.status == 200 => Ok(Report::pass("200")),
//!         Ok(response) => Ok(Report::fail(format!("HTTP {}, expected 200", response.status))),
//!         Err(error) => error.or_fail(&params.url),
//!     }
//! }
//!
//! vouchd_check::check!(check);
//! # fn main() {}
//! ```
//!
//! The library that contains this is a `cdylib`, built for `wasm32-unknown-unknown`; the resulting `.wasm` is the plugin.
//! A check is a plain function, so `cargo test` runs it on the developer's machine against a [`testing::FakeHost`].
//!
//! * A [`Report`] says what was found out about the service. What that costs is the operator's choice.
//! * An [`Error`] says that the check itself could not be carried out. `?` makes one of a bad parameter and of a probe that
//!   was not granted; [`ProbeError::or_fail`] makes the other failures of a probe a `fail`.

#[doc(hidden)]
pub mod bindings;
mod context;
#[doc(hidden)]
pub mod declare;
mod error;
mod params;
mod probes;
mod report;
#[cfg(not(target_family = "wasm"))]
pub mod testing;

pub use context::{Context, Host, Level};
pub use declare::Parameter;
pub use error::{Error, ProbeError, Result};
pub use params::{OneOrMany, ParamError, duration, from_pairs, optional_duration};
pub use probes::{
    Address, Certificate, Connection, DiskUsage, FileInfo, FileKind, HttpRequest, HttpResponse, Link, Process,
    ProcessQuery, TcpReply, TcpRequest, Wire,
};
#[doc(hidden)]
pub use serde;

pub use report::{Metric, Report, Verdict};

/// Makes a function `fn(&Context) -> Result<Report>` the check of this plugin; with the type of its parameters made by
/// [`params!`], they are declared.
#[macro_export]
macro_rules! check {
    ($run:path, $Params:ty) => {
        $crate::check!($run);

        // Read by `vouchd plugin inspect` and `vouchd config check` without running the plugin.
        #[cfg(target_family = "wasm")]
        const _: () = {
            const DECLARED: &[$crate::declare::Declared] = <$Params as $crate::declare::Params>::DECLARED;

            #[used]
            #[unsafe(link_section = "vouchd:params")]
            static PARAMS: [u8; $crate::declare::json_len(DECLARED)] = $crate::declare::json(DECLARED);
        };
    };
    ($run:path) => {
        #[cfg(target_family = "wasm")]
        const _: () = {
            struct Plugin;

            impl $crate::bindings::Guest for Plugin {
                fn check(
                    context: $crate::bindings::RawContext,
                ) -> ::core::result::Result<$crate::bindings::RawReport, ::std::string::String> {
                    $crate::bindings::run(context, $run)
                }
            }

    $crate::bindings::export!(Plugin with_types_in $crate::bindings);

            // Read by `vouchd plugin inspect` without running the plugin.
            #[used]
            #[unsafe(link_section = "version")]
            static VERSION: [u8; env!("CARGO_PKG_VERSION").len()] = $crate::bindings::bytes(env!("CARGO_PKG_VERSION"));
            #[used]
            #[unsafe(link_section = "description")]
            static DESCRIPTION: [u8; env!("CARGO_PKG_DESCRIPTION").len()] =
                $crate::bindings::bytes(env!("CARGO_PKG_DESCRIPTION"));
        };
    };
}
