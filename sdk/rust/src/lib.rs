//! Write checks for vouchd in Rust.
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
//! # A plugin
//!
//! Put this into a library crate with `crate-type = ["cdylib", "rlib"]`. `cargo build --release --target
//! wasm32-unknown-unknown` makes the plugin, a `.wasm` file; `vouchd plugin new --lang rust NAME` writes such a project, and
//! `vouchd plugin build` builds it.
//!
//! * [`check!`] exports a function as the plugin's check. vouchd calls it once per run, in a fresh instance each time, so no
//!   static variable survives a run; [`Context::remember`] keeps up to 4096 bytes for the next one.
//! * [`params!`] declares the parameters: it makes their type, and tells `vouchd config check` and `vouchd plugin inspect`
//!   what they are. A type of your own that implements serde's `Deserialize`, as above, works without a declaration.
//! * [`Context`] gives a run its parameters, its time budget and the probes. The operator grants each probe in the check's
//!   `allow = { … }`; a probe without a grant is denied.
//!
//! # Report or error
//!
//! * A [`Report`] is about the service: `pass`, `warn`, `fail` or `fault`. What a verdict costs the router is the operator's
//!   choice.
//! * An [`Error`] means that the check could not be carried out: a parameter makes no sense, or a probe was not granted. It
//!   never counts as a pass. `?` turns such failures into errors.
//! * [`ProbeError::or_fail`] sorts a failed probe into the right one of the two.
//!
//! # Tests
//!
//! A check is a plain function, so `cargo test` runs it on your machine against a [`testing::FakeHost`].

#![warn(missing_docs, unreachable_pub)]

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
    Address, Certificate, Connection, FileInfo, FileKind, HttpRequest, HttpResponse, Link, Process, ProcessQuery,
    Space, TcpReply, TcpRequest, Wire,
};
#[doc(hidden)]
pub use serde;

pub use report::{Metric, Report, Verdict};

/// Exports a function `fn(&Context) -> Result<Report>` as the check of this plugin.
///
/// With a second argument, a type made by [`params!`], the plugin also declares its parameters. Use it once per crate. The
/// version and description that `vouchd plugin inspect` shows are those of the crate.
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
