//! What a test needs from the machine, and what of it is missing.

use std::path::Path;

/// Something that not every machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    Nginx,
    Keepalived,
    /// The daemon under test and its built-in plugins.
    Vouchd,
}

/// Command, and the Debian package that has it.
const ALWAYS: [(&str, &str); 4] =
    [("ip", "iproute2"), ("unshare", "util-linux"), ("nsenter", "util-linux"), ("curl", "curl")];

/// What is missing, each in words that say what to do.
pub fn missing(needs: &[Need]) -> Vec<String> {
    let mut missing = Vec::new();
    if !nix::unistd::geteuid().is_root() {
        missing.push("needs root, to make network namespaces with raw sockets".to_owned());
    }
    let mut commands = ALWAYS.to_vec();
    for need in needs {
        match need {
            Need::Nginx => commands.push(("nginx", "nginx-light")),
            Need::Keepalived => {
                commands.extend([("keepalived", "keepalived"), ("killall", "psmisc")]);
            }
            Need::Vouchd => {
                let binary = crate::vouchd::binary();
                if !binary.exists() {
                    missing.push(format!("no daemon at {}: `cargo xtask build`, or VOUCHD_BIN", binary.display()));
                }
                let plugins = crate::vouchd::builtin_plugins();
                if !plugins.join("process.wasm").exists() {
                    missing.push(format!(
                        "no built-in plugins in {}: `cargo xtask build`, or VOUCHD_PLUGINS",
                        plugins.display()
                    ));
                }
            }
        }
    }
    for (command, package) in commands {
        if !installed(command) {
            missing.push(format!("no command `{command}`: install the package {package}"));
        }
    }
    missing
}

fn installed(command: &str) -> bool {
    ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].iter().any(|directory| Path::new(directory).join(command).exists())
}
