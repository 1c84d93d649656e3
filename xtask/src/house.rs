//! The picture of the crates in docs/design.md, and the rules about which crate may depend on which.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, bail, ensure};

use crate::workspace::{Crate, Kind, Workspace};

const DOCUMENT: &str = "docs/design.md";
const START: &str = "<!-- crates: written by `cargo xtask house` -->";
const END: &str = "<!-- end of crates -->";

/// Crates that must not depend on others, directly or through a third.
struct Rule {
    crates: &'static [&'static str],
    never: &'static [&'static str],
    reason: &'static str,
}

/// Libraries that read, write, wait or log.
const IO: &[&str] = &[
    "hyper",
    "libc",
    "mio",
    "netlink-sys",
    "nix",
    "notify",
    "pnet_datalink",
    "pnet_transport",
    "reqwest",
    "rtnetlink",
    "rustix",
    "rustls",
    "signal-hook",
    "socket2",
    "tempfile",
    "tokio",
    "tracing",
    "wasmtime",
    "wasmtime-wasi",
];

const RULES: &[Rule] = &[
    Rule {
        crates: &["vouchd-health", "vouchd-iproute", "vouchd-printable", "vouchd-vrrp", "vouchd-wire"],
        never: IO,
        reason: "it is pure: input and time come in, actions go out",
    },
    Rule {
        crates: &["vouchd-config"],
        never: &["hyper", "mio", "nix", "reqwest", "rustls", "socket2", "tokio", "tracing", "wasmtime"],
        reason: "it reads files and does nothing else",
    },
    Rule {
        crates: &["vouchd", "vouchd-router"],
        never: &["cranelift-codegen", "hyper", "reqwest", "rustls", "vouchd-plugin", "wasmtime", "wasmtime-wasi"],
        reason: "it has privileges: plugins run, and the network is probed, in vouchd-checker only",
    },
    Rule {
        crates: &["vouchd-checker"],
        never: &["vouchd-net", "vouchd-router", "vouchd-vrrp"],
        reason: "it runs checks and knows nothing of VRRP",
    },
    Rule {
        crates: &["vouchd-net"],
        never: &["vouchd-vrrp", "vouchd-health", "vouchd-config"],
        reason: "it carries out decisions and takes none",
    },
    Rule {
        crates: &["vouchd-tests"],
        never: &[
            "vouchd-wire",
            "vouchd-vrrp",
            "vouchd-health",
            "vouchd-config",
            "vouchd-net",
            "vouchd-router",
            "vouchd-plugin",
        ],
        reason: "it judges the daemon from outside only",
    },
];

/// Writes the picture, or with `check` fails if it is out of date.
///
/// # Errors
/// If crates depend on one another in a circle, or against a rule.
pub fn update(root: &Path, check: bool) -> anyhow::Result<()> {
    let workspace = Workspace::read(root)?;
    no_circle(&workspace)?;
    RULES.iter().try_for_each(|rule| rule.check(&workspace))?;

    let path = root.join(DOCUMENT);
    let document = fs::read_to_string(&path).context(DOCUMENT)?;
    let written = insert(&document, &picture(&workspace))?;
    if check {
        ensure!(written == document, "{DOCUMENT} is out of date; run `cargo xtask house`");
    } else if written != document {
        fs::write(&path, written)?;
    }
    Ok(())
}

impl Rule {
    fn check(&self, workspace: &Workspace) -> anyhow::Result<()> {
        for name in self.crates {
            let found = workspace.members().into_iter().find(|member| member.name == *name);
            let member =
                found.with_context(|| format!("a rule in xtask/src/house.rs is about {name}, which is no crate"))?;
            if let Some(path) = workspace.path(member, |used| self.never.contains(&&*used.name)) {
                let path: Vec<_> = path.iter().map(|used| &*used.name).collect();
                bail!(
                    "{} must not depend on {}: {}\n  {}",
                    member.name,
                    path[path.len() - 1],
                    self.reason,
                    path.join(" -> ")
                );
            }
        }
        Ok(())
    }
}

/// Cargo rules out circles of normal dependencies. Those of tests can close one.
fn no_circle(workspace: &Workspace) -> anyhow::Result<()> {
    fn visit<'a>(
        workspace: &'a Workspace,
        path: &mut Vec<&'a Crate>,
        done: &mut BTreeSet<&'a str>,
    ) -> anyhow::Result<()> {
        let Some(user) = path.last().copied() else { return Ok(()) };
        for used in workspace.uses(user, &[Kind::Normal, Kind::Build, Kind::Test]) {
            if let Some(start) = path.iter().position(|on_path| on_path.name == used.name) {
                let circle: Vec<_> = path[start..].iter().map(|on_path| &*on_path.name).collect();
                bail!("crates depend on one another in a circle: {} -> {}", circle.join(" -> "), used.name);
            }
            if !done.contains(&*used.name) {
                path.push(used);
                visit(workspace, path, done)?;
                path.pop();
            }
        }
        done.insert(&user.name);
        Ok(())
    }
    let mut done = BTreeSet::new();
    workspace.members().into_iter().try_for_each(|member| visit(workspace, &mut vec![member], &mut done))
}

/// Each crate with all it uses as text, and the same as a graph without the arrows that follow from others.
fn picture(workspace: &Workspace) -> String {
    let members = workspace.members();
    let width = members.iter().map(|member| member.directory.as_os_str().len()).max().unwrap_or(0);
    let (mut text, mut graph) = (String::new(), String::new());
    for member in members {
        let directory = member.directory.display().to_string();
        let used: Vec<_> = workspace.uses(member, &[Kind::Normal]).collect();
        let mut names: Vec<_> = used.iter().map(|used| short(used)).collect();
        names.sort_unstable();
        let _ = writeln!(text, "{}", format!("{directory:width$}  {}", names.join(" ")).trim_end());
        let _ = writeln!(graph, "  {}[\"{directory}\"]", short(member));
        let follows = |used: &Crate| {
            workspace
                .uses(member, &[Kind::Normal])
                .any(|other| workspace.path(other, |below| below.name == used.name).is_some())
        };
        let mut arrows: Vec<_> = used.iter().filter(|used| !follows(used)).map(|used| short(used)).collect();
        arrows.sort_unstable();
        for arrow in arrows {
            let _ = writeln!(graph, "  {} --> {arrow}", short(member));
        }
    }
    format!(
        "Each crate and the crates of the workspace that it uses, from the bottom up:\n\n```text\n{text}```\n\nThe same as a \
         graph, without the arrows that follow from others:\n\n```mermaid\nflowchart TD\n{graph}```\n"
    )
}

/// The name of a crate's directory: the crate's own without `vouchd-`.
fn short(member: &Crate) -> &str {
    member.name.strip_prefix("vouchd-").unwrap_or(&member.name)
}

fn insert(document: &str, picture: &str) -> anyhow::Result<String> {
    let parts = document.split_once(START).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, after) =
        parts.with_context(|| format!("{DOCUMENT} has no lines `{START}` and `{END}` for the picture"))?;
    Ok(format!("{before}{START}\n{picture}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A workspace of crates in `/root`, from each crate's name and what it uses; `!` marks a dependency of tests. What
    /// starts with `vouchd` is a member.
    fn workspace(crates: &[(&str, &[&str])]) -> Workspace {
        let package = |(name, _): &(&str, &[&str])| {
            format!(r#"{{"id":"{name}","name":"{name}","manifest_path":"/repository/{name}/Cargo.toml","targets":[]}}"#)
        };
        let node = |(name, uses): &(&str, &[&str])| {
            let uses = uses.iter().map(|used| {
                let (kind, used) = used.strip_prefix('!').map_or(("null", *used), |used| ("\"dev\"", used));
                format!(r#"{{"pkg":"{used}","dep_kinds":[{{"kind":{kind}}}]}}"#)
            });
            format!(r#"{{"id":"{name}","deps":[{}]}}"#, uses.collect::<Vec<_>>().join(","))
        };
        let members = crates.iter().filter(|(name, _)| name.starts_with("vouchd")).map(|(name, _)| format!("{name:?}"));
        let metadata = format!(
            r#"{{"packages":[{}],"workspace_members":[{}],"resolve":{{"nodes":[{}]}}}}"#,
            crates.iter().map(package).collect::<Vec<_>>().join(","),
            members.collect::<Vec<_>>().join(","),
            crates.iter().map(node).collect::<Vec<_>>().join(",")
        );
        Workspace::parse(metadata.as_bytes(), Path::new("/repository")).expect("the shape that cargo reports")
    }

    #[test]
    fn picture_is_ordered_from_the_bottom_up_and_leaves_out_arrows_that_follow() {
        let workspace = workspace(&[
            ("vouchd", &["vouchd-net", "vouchd-wire"]),
            ("vouchd-net", &["vouchd-wire", "tokio"]),
            ("vouchd-wire", &[]),
            ("tokio", &[]),
        ]);
        let picture = picture(&workspace);
        assert!(picture.contains("```text\nvouchd-wire\nvouchd-net   wire\nvouchd       net wire\n```"), "{picture}");
        assert!(picture.contains("  vouchd --> net\n```"), "{picture}");
    }

    #[test]
    fn forbidden_dependency_is_found_through_others_but_not_through_tests() {
        let rule = Rule { crates: &["vouchd-wire"], never: &["tokio"], reason: "it is pure" };
        let through = workspace(&[("vouchd-wire", &["hyper"]), ("hyper", &["tokio"]), ("tokio", &[])]);
        let error = rule.check(&through).unwrap_err().to_string();
        assert_eq!(error, "vouchd-wire must not depend on tokio: it is pure\n  vouchd-wire -> hyper -> tokio");
        let in_tests = workspace(&[("vouchd-wire", &["!tokio"]), ("tokio", &[])]);
        rule.check(&in_tests).expect("only tests need it");
    }

    #[test]
    fn circle_through_a_dependency_of_tests_is_found() {
        let circle = workspace(&[("vouchd-a", &["vouchd-b"]), ("vouchd-b", &["!vouchd-a"])]);
        let error = no_circle(&circle).unwrap_err().to_string();
        assert_eq!(error, "crates depend on one another in a circle: vouchd-b -> vouchd-a -> vouchd-b");
        let diamond =
            [("vouchd-a", ["vouchd-b", "vouchd-c"].as_slice()), ("vouchd-b", &["vouchd-c"]), ("vouchd-c", &[])];
        no_circle(&workspace(&diamond)).expect("no circle");
    }

    #[test]
    fn picture_replaces_what_stands_between_its_markers() {
        let document = format!("before\n{START}\nold\n{END}\nafter\n");
        assert_eq!(insert(&document, "new\n").unwrap(), format!("before\n{START}\nnew\n{END}\nafter\n"));
        assert!(insert("before\nafter\n", "new\n").is_err());
    }
}
