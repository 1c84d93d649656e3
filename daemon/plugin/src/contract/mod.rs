//! The Rust side of `sdk/wit/check.wit`: generated types, and the contract's names and version.

mod probe_error;

wasmtime::component::bindgen!({
    path: "../../sdk/wit",
    world: "plugin",
    // `trappable`: these functions fail with `ProbeError`, which `types::Host` converts to the contract's in one place.
    imports: {
        "vouchd:check/process.find": async | trappable,
        "vouchd:check/tcp.probe": async | trappable,
        "vouchd:check/http.fetch": async | trappable,
        "vouchd:check/files.stat": async | trappable,
        "vouchd:check/files.read": async | trappable,
        "vouchd:check/files.space": async | trappable,
        "vouchd:check/dns.resolve": async | trappable,
        "vouchd:check/network.links": async | trappable,
        "vouchd:check/network.addresses": async | trappable,
        "vouchd:check/stream.connect-tcp": async | trappable,
        "vouchd:check/stream.connect-unix": async | trappable,
        "vouchd:check/stream.[method]connection.send": async | trappable,
        "vouchd:check/stream.[method]connection.receive": async | trappable,
        "vouchd:check/stream.[method]connection.start-tls": async | trappable,
        default: async,
    },
    exports: { default: async },
    trappable_error_type: { "vouchd:check/types.probe-error" => crate::contract::ProbeError },
});

pub(crate) use exports::vouchd::check::checker::Context;
pub(crate) use vouchd::check::types;
pub(crate) use vouchd::check::{clock, dns, files, http, log, memo, network, process, simple, stream, tcp};

pub(crate) use probe_error::ProbeError;

/// The package part of every interface name of the contract.
pub(crate) const PACKAGE: &str = "vouchd:check/";

/// The version of the contract that this host implements.
pub(crate) const VERSION: (u64, u64, u64) = (0, 1, 0);

/// The interfaces that a plugin may import.
pub(crate) const OFFERED: [&str; 12] =
    ["types", "process", "tcp", "http", "files", "dns", "network", "stream", "clock", "log", "memo", "simple"];

/// Splits `vouchd:check/http@0.1.0` into `http` and `0.1.0` (empty if the name has no version). `None` if the name is not
/// the contract's.
pub(crate) fn parse_name(name: &str) -> Option<(&str, &str)> {
    let rest = name.strip_prefix(PACKAGE)?;
    Some(rest.split_once('@').unwrap_or((rest, "")))
}

/// Whether a plugin built against `version` runs here: major and minor number must be equal.
pub(crate) fn is_compatible(version: &str) -> bool {
    let mut numbers = version.split(['.', '-', '+']).map(str::parse::<u64>);
    matches!((numbers.next(), numbers.next()), (Some(Ok(major)), Some(Ok(minor))) if (major, minor) == (VERSION.0, VERSION.1))
}

/// [`VERSION`] as text.
pub(crate) fn offered_version() -> String {
    let (major, minor, patch) = VERSION;
    format!("{major}.{minor}.{patch}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_minor_version_is_compatible() {
        let table = [("0.1.0", true), ("0.1.7", true), ("0.2.0", false), ("1.1.0", false), ("", false), ("x.y", false)];
        for (version, expected) in table {
            assert_eq!(is_compatible(version), expected, "{version:?}");
        }
    }

    #[test]
    fn only_names_of_the_package_belong_to_the_contract() {
        assert_eq!(parse_name("vouchd:check/http@0.1.0"), Some(("http", "0.1.0")));
        assert_eq!(parse_name("vouchd:check/http"), Some(("http", "")));
        assert_eq!(parse_name("wasi:cli/run@0.2.0"), None);
    }
}
