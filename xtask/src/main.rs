//! `cargo xtask`: builds, shows, tests and measures vouchd, and sets up first what a fresh machine lacks.

mod conformance;
mod deny;
mod diagram;
mod fuzz;
mod house;
mod languages;
mod links;
mod lint;
mod machine;
mod plugins;
mod quick;
mod simulate;
mod smith;
mod totals;
mod vm;
mod workspace;

use std::env;
use std::ffi::OsStr;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::{Parser, Subcommand};

/// What an operator installs.
const EXECUTABLES: [&str; 4] = ["--package", "vouchd", "--package", "vouchd-checker"];

/// Processor time of the first build, measured on a processor of 2024.
const FIRST_BUILD: Duration = Duration::from_secs(11 * 60);
/// Time of the first build with any number of processors: some crates wait for others.
const SHORTEST_BUILD: Duration = Duration::from_secs(150);

#[derive(Parser)]
#[command(name = "cargo xtask", about)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Runs two routers and a service on this machine, kills the service, and shows the address move
    Demo {
        /// Arguments for `vouchd demo`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Runs all tests: units, properties, plugins, and whole systems in network namespaces
    Test {
        /// Run only units, properties and a handful of whole systems, which takes two minutes
        #[arg(long)]
        quick: bool,
        /// Arguments for `cargo nextest run`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Runs whole-system tests in a virtual machine: VLANs, bonds, VRFs, lossy links, a real systemd
    Vm {
        /// Run only tests whose name contains one of these
        filters: Vec<String>,
    },
    /// Builds the daemon and its plugins as an operator installs them
    Build,
    /// Measures vouchd side by side with keepalived, as ratios of one run
    Bench {
        /// Arguments for `vouchd-bench`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Builds the example plugins in ten languages and tests that they behave alike
    Languages {
        /// Print the cost of a check in each language instead, as a table in Markdown
        #[arg(long)]
        figures: bool,
    },
    /// Tries random plugin files, made by wasm-smith, on the host
    Smith {
        /// Number of files
        #[arg(default_value_t = 2000)]
        count: u64,
        /// The same seed makes the same files
        #[arg(long, default_value_t = 9568)]
        seed: u64,
    },
    /// Simulates elections with every kind of trouble: a million with `--elections 1000000`
    Simulate {
        /// Arguments for `vouchd-simulate`, such as `--seed 7 --replay` or `--help`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Writes into docs/conformance.md which tests prove which row
    Conformance {
        /// Also judge vouchd, keepalived and FRR on this machine, and write the tables into docs/conformance-measured.md
        #[arg(long)]
        measure: bool,
    },
    /// Draws the state diagram into docs/vrrp.md, from a simulation of the code, and writes its table of timers
    Diagram,
    /// Fuzzes packets, the state machine, netlink and the pipe with libFuzzer
    Fuzz {
        /// Seconds for each target
        #[arg(default_value_t = 30)]
        seconds: u64,
    },
    /// Draws into docs/design.md which crate depends on which
    House,
    /// Formatting, clippy, documentation and its links, dependencies, and whether generated documents are up to date
    Lint,
}

/// How long each fuzz target runs among the tests.
const FUZZ_SECONDS: u64 = 30;

fn main() -> anyhow::Result<ExitCode> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace")?.to_owned();
    env::set_current_dir(&root)?;
    match Cli::parse().task {
        Task::Test { quick: false, args } => return test(&root, &args),
        Task::Test { quick: true, args } => return test_quickly(&root, &args),
        Task::Vm { filters } => return Ok(vm::run(&root, &built_for_tests(&root)?, &filters)?.into()),
        Task::Demo { args } => demo(&root, &args),
        Task::Build => build(&root),
        Task::Bench { args } => bench(&root, &args),
        Task::Languages { figures } => languages(&root, figures),
        Task::Smith { count, seed } => smith::try_out(&root, count, seed),
        Task::Simulate { args } => return simulate::simulate(&args),
        Task::Conformance { measure: false } => conformance::update(&root, false),
        Task::Conformance { measure: true } => measure_conformance(&root),
        Task::Diagram => diagram::update(&root, false),
        Task::Fuzz { seconds } => fuzz::fuzz(&root, seconds),
        Task::House => house::update(&root, false),
        Task::Lint => lint::lint(&root),
    }?;
    Ok(ExitCode::SUCCESS)
}

fn demo(root: &Path, args: &[String]) -> anyhow::Result<()> {
    let plugins = plugins::build(root)?;
    let vouchd = build_daemon(root)?;
    run(Command::new(vouchd).arg("demo").arg("--plugins").arg(plugins).args(args))
}

/// Builds both executables for tests and the demo, and returns the path of `vouchd`, which finds the other beside it.
fn build_daemon(root: &Path) -> anyhow::Result<PathBuf> {
    let built = root.join("target/debug");
    if !built.join("vouchd-checker").exists() {
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get) as u64;
        let minutes = (FIRST_BUILD.as_secs() / processors).max(SHORTEST_BUILD.as_secs()).div_ceil(60);
        println!(
            "xtask: compiling vouchd for the first time, most of it the WebAssembly engine: about {minutes} minutes \
             with the {processors} processors of this machine, and seconds from then on"
        );
    }
    run(cargo(["build"]).args(EXECUTABLES))?;
    Ok(built.join("vouchd"))
}

/// Ends as nextest does.
fn test(root: &Path, args: &[String]) -> anyhow::Result<ExitCode> {
    machine::install_packages(machine::FOR_TESTS)?;
    machine::install_nextest()?;
    // Minutes and a gigabyte at first: unless asked for, tests that need them report that they are skipped.
    let with_languages = env::var_os(vouchd_skip::STRICT).is_some();
    let environment = std::thread::scope(|scope| {
        // Beside the rest: downloads and compilers that use one processor.
        let languages = scope.spawn(move || if with_languages { languages::build(root) } else { Ok(()) });
        let mut environment = built_for_tests(root)?;
        environment.push(("VOUCHD_SMITH", smith::build(root)?));
        run(guests(root, ["test"]).envs(environment.clone()))?;
        run(cargo(["test", "--workspace", "--doc"]))?;
        if with_languages && args.is_empty() {
            run(cargo(["nextest", "run", "--workspace", "--no-run"]))?;
        }
        match languages.join() {
            Ok(built) => built.map(|()| environment),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })?;
    languages::test(root, &root.join("target/debug/vouchd"))?;
    // Alone: emulation takes all the processor time there is, and the other tests have real clocks.
    let guest = if args.is_empty() { Some(vm::run(root, &environment, &[])?) } else { None };
    let records = totals::Records::new(root)?;
    let code = nextest(root, &records, &environment, args)?;
    if with_languages && args.is_empty() {
        fuzz::fuzz(root, FUZZ_SECONDS)?;
    }
    match guest {
        None | Some(vm::Outcome::Ran { success: true, .. }) => Ok(code),
        Some(vm::Outcome::Ran { success: false, totals }) => {
            println!("in the virtual machine: {totals}");
            Ok(ExitCode::FAILURE)
        }
        Some(vm::Outcome::Skipped) => {
            println!("the tests in the virtual machine were skipped: see SKIPPED above");
            Ok(code)
        }
    }
}

/// The same with the tests of [`quick`] only.
fn test_quickly(root: &Path, args: &[String]) -> anyhow::Result<ExitCode> {
    machine::install_packages(machine::FOR_TESTS)?;
    machine::install_nextest()?;
    let environment = built_for_tests(root)?;
    let records = totals::Records::new(root)?;
    let all: Vec<String> = quick::arguments(root)?.into_iter().chain(args.iter().cloned()).collect();
    let code = nextest(root, &records, &environment, &all)?;
    println!("{}", quick::LEFT_OUT);
    Ok(code)
}

/// What whole-system tests start, by the variables that name it.
fn built_for_tests(root: &Path) -> anyhow::Result<Vec<(&'static str, PathBuf)>> {
    let plugins = plugins::build(root)?;
    Ok(vec![("VOUCHD_BIN", build_daemon(root)?), ("VOUCHD_PLUGINS", plugins)])
}

fn nextest(
    root: &Path,
    records: &totals::Records,
    environment: &[(&str, PathBuf)],
    args: &[String],
) -> anyhow::Result<ExitCode> {
    let mut nextest = cargo(["nextest", "run", "--workspace", "--no-fail-fast"]);
    nextest.args(args).envs(environment.iter().cloned()).env(vouchd_skip::FILE, records.skipped());
    eprintln!("xtask: {}", shown(&nextest));
    let status = nextest.current_dir(root).status().context("starting cargo nextest")?;
    // Last, so that they are seen: nextest counts a skipped test as passed.
    if let Some(totals) = records.totals()? {
        println!("{totals}");
    }
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.unwrap_or(1)))
}

fn build(root: &Path) -> anyhow::Result<()> {
    let plugins = plugins::build(root)?;
    run(cargo(["build", "--release"]).args(EXECUTABLES))?;
    let release = root.join("target/release");
    println!("built {0}/vouchd, {0}/vouchd-checker and {1}/*.wasm", release.display(), plugins.display());
    Ok(())
}

fn bench(root: &Path, args: &[String]) -> anyhow::Result<()> {
    machine::install_packages(machine::FOR_TESTS)?;
    let plugins = plugins::build(root)?;
    run(cargo(["build", "--release", "--bins", "--package", "vouchd-tests"]).args(EXECUTABLES))?;
    let release = root.join("target/release");
    let environment = [("VOUCHD_BIN", release.join("vouchd")), ("VOUCHD_PLUGINS", plugins)];
    run(Command::new(release.join("vouchd-bench")).args(args).envs(environment))
}

fn measure_conformance(root: &Path) -> anyhow::Result<()> {
    conformance::update(root, false)?;
    machine::install_packages(machine::FOR_TESTS)?;
    let environment = built_for_tests(root)?;
    run(cargo(["build", "--package", "vouchd-conformance"]))?;
    conformance::measure(root, &environment)
}

fn languages(root: &Path, figures: bool) -> anyhow::Result<()> {
    languages::build(root)?;
    let vouchd = match env::var_os("VOUCHD_BIN") {
        Some(vouchd) => PathBuf::from(vouchd),
        None => build_daemon(root)?,
    };
    if figures { languages::print_figures(root, &vouchd) } else { languages::test(root, &vouchd) }
}

/// Cargo, in the workspace of the plugins; their native builds stay apart from the host's.
fn guests<const N: usize>(root: &Path, args: [&str; N]) -> Command {
    let mut command = cargo(args);
    command.current_dir(root.join("plugins")).env("CARGO_TARGET_DIR", root.join("target/plugins-native"));
    command
}

fn cargo<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(args: I) -> Command {
    let mut command = Command::new(env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from));
    // What cargo has set for xtask itself: some build scripts look at it, and half the workspace would be built anew
    // whenever cargo is called once through xtask and once without.
    for (variable, _) in env::vars_os() {
        if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|own| variable.to_string_lossy().starts_with(own)) {
            command.env_remove(variable);
        }
    }
    command.args(args);
    command
}

fn run(mut command: impl std::borrow::BorrowMut<Command>) -> anyhow::Result<()> {
    let command = command.borrow_mut();
    eprintln!("xtask: {}", shown(command));
    let status = command.status().with_context(|| format!("starting {}", shown(command)))?;
    ensure!(status.success(), "{} ended with {status}", shown(command));
    Ok(())
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
