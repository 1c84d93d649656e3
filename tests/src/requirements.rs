//! What a test needs from the machine, and what is missing.

use std::path::{Path, PathBuf};

/// Something that not every machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// nginx.
    Nginx,
    /// keepalived.
    Keepalived,
    /// HAProxy.
    Haproxy,
    /// The daemon under test and its built-in plugins.
    Vouchd,
    /// A C compiler for WebAssembly.
    Clang,
    /// The example plugin in this language.
    Language(&'static str),
    /// strace.
    Strace,
}

/// Something that the machine lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// What is missing: `no command `nginx``.
    pub what: String,
    /// How to get it.
    pub cure: String,
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.what, self.cure)
    }
}

impl Missing {
    /// Something that is missing, and how to get it.
    pub fn new(what: impl Into<String>, cure: impl Into<String>) -> Self {
        Missing { what: what.into(), cure: cure.into() }
    }

    /// Something that a Debian package has.
    pub fn package(what: impl Into<String>, package: &str) -> Self {
        Missing::new(what, format!("install the package {package}"))
    }
}

/// Whether the test can run. If not, it is [skipped](vouchd_skip::skip) and has to return.
///
/// # Panics
/// If the daemon or its plugins are not built. With `VOUCHD_TESTS_STRICT`, if anything is missing.
pub fn met(needs: &[Need]) -> bool {
    let missing = missing(needs);
    if !missing.is_empty() {
        let join = |part: fn(&Missing) -> &str| missing.iter().map(part).collect::<Vec<_>>().join(", ");
        vouchd_skip::skip(&join(|missing| &missing.what), &join(|missing| &missing.cure));
        return false;
    }
    if let Some(not_built) = not_built(needs) {
        panic!("{not_built}");
    }
    true
}

/// Commands that every test needs, and the Debian packages that have them.
const ALWAYS: [(&str, &str); 4] =
    [("ip", "iproute2"), ("unshare", "util-linux"), ("nsenter", "util-linux"), ("curl", "curl")];

/// The packages of a C compiler for WebAssembly.
const CLANG: &str = "clang-19, and lld-19, wasi-libc and libclang-rt-19-dev-wasm32";

/// The directory in which `cargo xtask languages` builds plugins.
pub fn languages() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("target").join("languages")
}

/// The file of the example plugin in a language.
pub fn language(name: &str) -> PathBuf {
    languages().join(name).with_extension("wasm")
}

/// What the machine lacks.
pub fn missing(needs: &[Need]) -> Vec<Missing> {
    let mut missing = Vec::new();
    if !nix::unistd::geteuid().is_root() {
        missing.push(Missing::new("no root, to make network namespaces with raw sockets", "run the tests as root"));
    }
    let mut commands = ALWAYS.to_vec();
    for need in needs {
        match need {
            Need::Nginx => commands.push(("nginx", "nginx-light")),
            Need::Haproxy => commands.push(("haproxy", "haproxy")),
            Need::Keepalived => {
                commands.extend([("keepalived", "keepalived"), ("killall", "psmisc")]);
            }
            Need::Clang => commands.push(("clang-19", CLANG)),
            Need::Language(name) => {
                if !language(name).exists() {
                    missing.push(Missing::new(format!("no plugin in {name}"), "run `cargo xtask languages` first"));
                }
            }
            Need::Strace => commands.push(("strace", "strace")),
            Need::Vouchd => {}
        }
    }
    for (command, package) in commands {
        if !installed(command) {
            missing.push(Missing::package(format!("no command `{command}`"), package));
        }
    }
    missing
}

/// Why the daemon under test cannot run, if `needs` has it. Unlike what the machine lacks, this is never a reason to skip a
/// test.
pub fn not_built(needs: &[Need]) -> Option<String> {
    if !needs.contains(&Need::Vouchd) {
        return None;
    }
    let plugin = crate::vouchd::builtin_plugins().join("process.wasm");
    for executable in [crate::vouchd::binary(), crate::vouchd::checker_binary()] {
        if !executable.exists() {
            return Some(format!("no {}: run `cargo xtask build`, or set VOUCHD_BIN", executable.display()));
        }
    }
    (!plugin.exists()).then(|| format!("no {}: run `cargo xtask build`, or set VOUCHD_PLUGINS", plugin.display()))
}

fn installed(command: &str) -> bool {
    ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].iter().any(|directory| Path::new(directory).join(command).exists())
}
