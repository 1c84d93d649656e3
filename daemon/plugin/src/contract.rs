//! The Rust side of `sdk/wit/check.wit`, and the names and version it goes by.

wasmtime::component::bindgen!({
    path: "../../sdk/wit",
    world: "plugin",
    // Those that answer with the host's own error type, which is converted to the contract's in one place.
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
    trappable_error_type: { "vouchd:check/types.probe-error" => crate::probes::ProbeError },
    with: { "vouchd:check/stream.connection": crate::probes::stream::Connection },
});

pub(crate) use exports::vouchd::check::checker::Context;
pub(crate) use vouchd::check::types;
pub(crate) use vouchd::check::{clock, dns, files, http, log, memo, network, process, simple, stream, tcp};

pub(crate) use crate::probes::ProbeError;

/// The package that every name of the contract begins with.
pub(crate) const PACKAGE: &str = "vouchd:check/";

/// The version of the contract that this host offers.
pub(crate) const VERSION: (u64, u64, u64) = (0, 1, 0);

/// The interfaces that a plugin may import.
pub(crate) const OFFERED: [&str; 12] =
    ["types", "process", "tcp", "http", "files", "dns", "network", "stream", "clock", "log", "memo", "simple"];

/// `vouchd:check/http@0.1.0` as (`http`, version). None if the name is not of the contract.
pub(crate) fn parse_name(name: &str) -> Option<(&str, &str)> {
    let rest = name.strip_prefix(PACKAGE)?;
    Some(rest.split_once('@').unwrap_or((rest, "")))
}

/// Whether code built against `version` runs here: the same 0.1, whatever the last number.
pub(crate) fn is_compatible(version: &str) -> bool {
    let mut numbers = version.split(['.', '-', '+']).map(str::parse::<u64>);
    matches!((numbers.next(), numbers.next()), (Some(Ok(major)), Some(Ok(minor))) if (major, minor) == (VERSION.0, VERSION.1))
}

/// The offered version as text.
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
    fn names_of_the_contract_are_told_from_others() {
        assert_eq!(parse_name("vouchd:check/http@0.1.0"), Some(("http", "0.1.0")));
        assert_eq!(parse_name("vouchd:check/http"), Some(("http", "")));
        assert_eq!(parse_name("wasi:cli/run@0.2.0"), None);
    }
}
