//! What a test needs from the machine, and what of it is missing.

use std::path::{Path, PathBuf};

/// Something that not every machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    Nginx,
    Keepalived,
    Haproxy,
    /// The daemon under test and its built-in plugins.
    Vouchd,
    /// A compiler of C for WebAssembly.
    Clang,
    /// The example plugin in a language.
    Language(&'static str),
    Strace,
}

/// Something that the machine lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    pub what: String,
    /// What to do about it.
    pub cure: String,
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.what, self.cure)
    }
}

impl Missing {
    pub fn new(what: impl Into<String>, cure: impl Into<String>) -> Self {
        Missing { what: what.into(), cure: cure.into() }
    }

    /// Of what Debian has a package.
    pub fn package(what: impl Into<String>, package: &str) -> Self {
        Missing::new(what, format!("install the package {package}"))
    }
}

/// Whether the test can run; if not, it is skipped.
///
/// # Panics
/// If what is missing is not the machine's but has to be built first; with `VOUCHD_TESTS_STRICT` always.
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

/// Command, and the Debian package that has it.
const ALWAYS: [(&str, &str); 4] =
    [("ip", "iproute2"), ("unshare", "util-linux"), ("nsenter", "util-linux"), ("curl", "curl")];

/// With what it needs for WebAssembly.
const CLANG: &str = "clang-19, and lld-19, wasi-libc and libclang-rt-19-dev-wasm32";

/// Where the workspace builds plugins in other languages.
pub fn languages() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("target").join("languages")
}

/// The example plugin in a language.
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

/// What of the daemon under test was not built. Unlike what the machine lacks this is never a reason to skip a test.
pub fn not_built(needs: &[Need]) -> Option<String> {
    if !needs.contains(&Need::Vouchd) {
        return None;
    }
    let (binary, plugin) = (crate::vouchd::binary(), crate::vouchd::builtin_plugins().join("process.wasm"));
    if !binary.exists() {
        return Some(format!("no daemon at {}: run `cargo xtask build`, or set VOUCHD_BIN", binary.display()));
    }
    (!plugin.exists()).then(|| format!("no {}: run `cargo xtask build`, or set VOUCHD_PLUGINS", plugin.display()))
}

fn installed(command: &str) -> bool {
    ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].iter().any(|directory| Path::new(directory).join(command).exists())
}
