//! The crates of the workspace and everything they depend on, as `cargo metadata` reports it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use serde::Deserialize;

/// Every crate that some crate of the workspace needs on Linux.
pub struct Workspace {
    crates: BTreeMap<String, Crate>,
    members: Vec<String>,
}

/// A package of the workspace or a dependency.
pub struct Crate {
    pub name: String,
    /// The directory below the root of the workspace; of a dependency, its whole path.
    pub directory: PathBuf,
    /// The key `rust-version`.
    pub rust_version: Option<String>,
    /// The root file of its library, unless it has none.
    pub library: Option<PathBuf>,
    /// The names of its test programs, the files and directories of `tests/`.
    pub tests: Vec<String>,
    uses: BTreeSet<Use>,
}

/// A dependency: the package's id and whether only its tests need it.
type Use = (String, Kind);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Normal,
    Build,
    Test,
}

impl Workspace {
    pub fn read(root: &Path) -> anyhow::Result<Self> {
        let arguments = ["metadata", "--format-version=1", "--filter-platform=x86_64-unknown-linux-gnu"];
        let output = crate::cargo(arguments).stderr(std::process::Stdio::inherit()).output()?;
        ensure!(output.status.success(), "cargo metadata ended with {}", output.status);
        Self::parse(&output.stdout, root)
    }

    /// `metadata`: what `cargo metadata` prints. `root`: what directories are relative to.
    pub fn parse(metadata: &[u8], root: &Path) -> anyhow::Result<Self> {
        let metadata: Metadata = serde_json::from_slice(metadata).context("reading the output of cargo metadata")?;
        Ok(metadata.into_workspace(root))
    }

    /// The crates of the workspace, those that others build on first.
    pub fn members(&self) -> Vec<&Crate> {
        let mut members: Vec<_> = self.members.iter().map(|id| &self.crates[id]).collect();
        members.sort_by_key(|member| (self.height(member), &member.directory));
        members
    }

    /// The crates of the workspace that `user` names as dependencies of these kinds.
    pub fn uses<'a>(&'a self, user: &'a Crate, kinds: &'a [Kind]) -> impl Iterator<Item = &'a Crate> {
        self.used(user, kinds).filter(|(id, _)| self.members.contains(id)).map(|(_, used)| used)
    }

    /// The shortest chain of normal dependencies from `user` to a crate of which `wanted` holds, both ends included.
    pub fn path<'a>(&'a self, user: &'a Crate, wanted: impl Fn(&Crate) -> bool) -> Option<Vec<&'a Crate>> {
        let mut seen = BTreeSet::from([&*user.name]);
        let mut paths = VecDeque::from([vec![user]]);
        while let Some(path) = paths.pop_front() {
            let last = path.last().copied()?;
            if path.len() > 1 && wanted(last) {
                return Some(path);
            }
            for (id, used) in self.used(last, &[Kind::Normal]) {
                if seen.insert(id) {
                    paths.push_back(path.iter().copied().chain([used]).collect());
                }
            }
        }
        None
    }

    fn used<'a>(&'a self, user: &'a Crate, kinds: &'a [Kind]) -> impl Iterator<Item = (&'a String, &'a Crate)> {
        user.uses.iter().filter(|(_, kind)| kinds.contains(kind)).map(|(id, _)| (id, &self.crates[id]))
    }

    /// The length of the longest chain of normal dependencies below a crate; cargo rules out that it has a circle.
    fn height(&self, user: &Crate) -> usize {
        self.uses(user, &[Kind::Normal]).map(|used| 1 + self.height(used)).max().unwrap_or(0)
    }
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_members: Vec<String>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    manifest_path: PathBuf,
    rust_version: Option<String>,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
    src_path: PathBuf,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

#[derive(Deserialize)]
struct DependencyKind {
    kind: Option<String>,
}

impl Metadata {
    fn into_workspace(self, root: &Path) -> Workspace {
        let mut uses: BTreeMap<String, BTreeSet<Use>> = BTreeMap::new();
        for node in self.resolve.nodes {
            let of_node = uses.entry(node.id).or_default();
            for dependency in node.deps {
                of_node.extend(dependency.dep_kinds.iter().map(|kind| (dependency.pkg.clone(), kind.kind())));
            }
        }
        let crates = self.packages.into_iter().map(|package| {
            let uses = uses.remove(&package.id).unwrap_or_default();
            (package.id.clone(), package.into_crate(root, uses))
        });
        Workspace { crates: crates.collect(), members: self.workspace_members }
    }
}

impl Package {
    fn into_crate(self, root: &Path, uses: BTreeSet<Use>) -> Crate {
        let directory = self.manifest_path.parent().unwrap_or(&self.manifest_path);
        let is = |target: &Target, kind: &str| target.kind.iter().any(|is| is == kind);
        Crate {
            directory: directory.strip_prefix(root).unwrap_or(directory).to_owned(),
            library: self.targets.iter().find(|target| is(target, "lib")).map(|target| target.src_path.clone()),
            tests: self.targets.iter().filter(|target| is(target, "test")).map(|target| target.name.clone()).collect(),
            name: self.name,
            rust_version: self.rust_version,
            uses,
        }
    }
}

impl DependencyKind {
    fn kind(&self) -> Kind {
        match self.kind.as_deref() {
            Some("dev") => Kind::Test,
            Some("build") => Kind::Build,
            _ => Kind::Normal,
        }
    }
}
