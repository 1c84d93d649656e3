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

/// What the machine lacks, each in words that say what to do.
pub fn missing(needs: &[Need]) -> Vec<String> {
    let mut missing = Vec::new();
    if !nix::unistd::geteuid().is_root() {
        missing.push("needs root, to make network namespaces with raw sockets".to_owned());
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
                let file = language(name);
                if !file.exists() {
                    missing.push(format!("no {}: `cargo xtask languages` builds it", file.display()));
                }
            }
            Need::Strace => commands.push(("strace", "strace")),
            Need::Vouchd => {}
        }
    }
    for (command, package) in commands {
        if !installed(command) {
            missing.push(format!("no command `{command}`: install the package {package}"));
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
