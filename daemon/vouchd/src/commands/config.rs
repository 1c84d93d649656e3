//! `vouchd config check`: checks a configuration before the daemon reads it.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::FileTypeExt;
use std::path::{Component, Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Subcommand};
use nix::unistd::User;
use vouchd_blocking::Blocking;
use vouchd_config::{Config, DEFAULT_FILE, Errors, FileText, Files, PartialConfig, PluginFile, Problem};
use vouchd_router::host::this_host;
use vouchd_router::{CheckerProgram, available_plugins, host_addresses};

use vouchd_console::output::{complain, print};

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Reports what is wrong with a configuration, with file, line and column
    Check(CheckArgs),
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The main file, or - for standard input; the drop-ins in conf.d beside it are read too. A drop-in is checked together
    /// with the rest of its configuration
    #[arg(default_value = DEFAULT_FILE)]
    file: PathBuf,
    /// Checks FILE as the future main file of this directory, together with its conf.d
    #[arg(long, value_name = "DIR")]
    with_dir: Option<PathBuf>,
    /// Checks FILE as this other future file of DIR, such as conf.d/web.toml
    #[arg(long = "as", value_name = "NAME", requires = "with_dir")]
    name: Option<PathBuf>,
    /// Treats warnings as errors
    #[arg(long)]
    strict: bool,
}

pub(crate) fn run(command: &ConfigCommand) -> anyhow::Result<ExitCode> {
    match command {
        ConfigCommand::Check(args) => check(args),
    }
}

fn check(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let mut examined = match files(args) {
        Ok(files) => files.examine(),
        Err(error) => {
            complain(format_args!("vouchd: {error:#}"));
            return Ok(ExitCode::from(2));
        }
    };
    let mut warnings = Vec::new();
    // Only if the plugin directories are known: the default ones may lack the operator's plugins.
    if examined.daemon_is_known {
        let config = &examined.config;
        let missing = config.check_plugins(&available_plugins(config)).err();
        let mut errors: Vec<Problem> = missing.map(|errors| errors.problems().to_vec()).unwrap_or_default();
        match plugin_files(config) {
            Ok(files) => errors.extend(config.check_plugin_files(&files)),
            Err(error) => errors.push(unexamined(&error)),
        }
        examined.errors.extend(errors);
        // If users cannot be looked up, nothing is known about this one.
        let user = config.daemon.user.as_deref().and_then(|name| User::from_name(name).ok());
        if let Some(user) = user {
            let problem = config.check_user(user.as_ref().map(|user| user.uid.as_raw()));
            // A user that does not exist here may exist on the host that will run the configuration. Root is always wrong.
            let found = if user.is_some() { &mut examined.errors } else { &mut warnings };
            found.extend(problem);
        }
    }
    examined.config.warnings.extend(warnings);
    if let Some(host) = this_host() {
        let found = examined.config.check_host(&host);
        examined.errors.extend(found.errors);
        examined.config.warnings.extend(found.warnings);
    }
    let found = host_addresses::check(&examined.config);
    examined.errors.extend(found.errors);
    examined.config.warnings.extend(found.warnings);
    let shown = if is_standard_input(&args.file) { Path::new(STANDARD_INPUT) } else { &args.file };
    report(shown, examined, args.strict)
}

fn report(file: &Path, examined: PartialConfig, strict: bool) -> anyhow::Result<ExitCode> {
    let PartialConfig { mut config, mut errors, has_more, .. } = examined;
    let mut warnings = std::mem::take(&mut config.warnings);
    vouchd_config::sort_by_place(&mut errors, &config);
    vouchd_config::sort_by_place(&mut warnings, &config);
    let mut said = String::new();
    for warning in &warnings {
        said += &format!("warning: {warning}\n");
    }
    for note in &config.notes {
        said += &format!("note: {note}\n");
    }
    let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let (file, warned) = (file.display().to_string(), count(warnings.len(), "warning"));
    let file = vouchd_printable::printable(&file);
    if !errors.is_empty() || strict && !warnings.is_empty() {
        print(said)?;
        let more = if has_more { " and more" } else { "" };
        let counted = count(errors.len(), "error") + more;
        let listed = Errors::of(errors).map(|errors| format!("{errors}\n")).unwrap_or_default();
        complain(format_args!("{listed}{file}: {counted}, {warned}"));
        return Ok(ExitCode::from(2));
    }
    said += &format!(
        "{file}: {}, {}, no errors{}\n",
        count(config.instances.len(), "instance"),
        count(config.checks.len(), "check"),
        if warnings.is_empty() { String::new() } else { format!(", {warned}") }
    );
    print(said)?;
    Ok(ExitCode::SUCCESS)
}

/// The files to check together.
///
/// # Errors
/// When standard input or the directory cannot be read.
fn files(args: &CheckArgs) -> anyhow::Result<Files> {
    let as_name = args.name.as_deref().map(destination).transpose()?;
    let given = if is_standard_input(&args.file) { standard_input()? } else { read_once(&args.file)? };
    let Some(directory) = args.with_dir.clone().or_else(|| directory_of_drop_in(&args.file)) else {
        if is_standard_input(&args.file) {
            return with_keys(Files::alone(given));
        }
        return with_drop_ins(given, vouchd_config::drop_in_dir(&args.file));
    };
    // The permissions of a copy say nothing about the file that it will become.
    let given = if args.with_dir.is_some() { FileText { access: None, ..given } } else { given };
    anyhow::ensure!(directory.is_dir(), "{}: expected a directory, like /etc/vouchd", directory.display());
    let drop_ins = vouchd_config::drop_in_dir(&directory.join(MAIN));
    let is_in_drop_ins =
        |path: &Path| path.parent().and_then(|it| it.canonicalize().ok()) == drop_ins.canonicalize().ok();
    let becomes = match as_name {
        Some(Destination::Main) => None,
        Some(Destination::DropIn(name)) => Some(drop_ins.join(name)),
        None => (drop_ins.is_dir() && is_in_drop_ins(&args.file)).then(|| args.file.clone()),
    };
    let Some(becomes) = becomes else { return with_drop_ins(given, drop_ins) };
    anyhow::ensure!(vouchd_config::is_drop_in(&becomes), "{}: expected {DROP_IN_NAME}", becomes.display());
    let main = read_once(&directory.join(MAIN))?;
    with_keys(with_drop_ins(main, drop_ins)?.with_drop_in(&becomes, given))
}

const DROP_IN_NAME: &str = "a name that ends in .toml and does not begin with a dot: others are not read";

/// The file of a directory's configuration that a checked file will become.
enum Destination {
    Main,
    /// A file in conf.d, by name.
    DropIn(PathBuf),
}

/// The destination that `--as` names.
///
/// # Errors
/// When the daemon does not read a file of this name.
fn destination(name: &Path) -> anyhow::Result<Destination> {
    anyhow::ensure!(
        !name.is_absolute(),
        "--as {}: expected a name within DIR, like {MAIN} or conf.d/web.toml",
        name.display()
    );
    let parts: Vec<Component<'_>> = name.components().filter(|part| !matches!(part, Component::CurDir)).collect();
    match parts.as_slice() {
        [Component::Normal(main)] if *main == MAIN => Ok(Destination::Main),
        [Component::Normal(directory), Component::Normal(file)] if *directory == "conf.d" => {
            let file = PathBuf::from(file);
            anyhow::ensure!(vouchd_config::is_drop_in(&file), "--as {}: expected {DROP_IN_NAME}", name.display());
            Ok(Destination::DropIn(file))
        }
        _ => anyhow::bail!(
            "--as {}: the daemon does not read a file of this name; expected one in DIR that it reads: {MAIN}, or \
             conf.d/NAME.toml",
            name.display()
        ),
    }
}

fn is_standard_input(file: &Path) -> bool {
    file == Path::new("-")
}

/// The main file and the drop-ins in `directory`.
///
/// # Errors
/// When the directory's file system does not answer.
fn with_drop_ins(main: FileText, directory: PathBuf) -> anyhow::Result<Files> {
    let place = directory.clone();
    Ok(Blocking::default().wait("conf.d", &place, FILE_TIME, move || Files::read(main, &directory))?)
}

/// The name of the main file in a directory that is given without it.
const MAIN: &str = "vouchd.toml";

const STANDARD_INPUT: &str = "standard input";

/// Reads a file, or the pipe of a shell's `<(...)`, which has a writer.
///
/// # Errors
/// For other named pipes, sockets and devices, which may never end.
fn read_once(file: &Path) -> anyhow::Result<FileText> {
    let is_open = ["/dev/stdin", "/dev/fd/", "/proc/self/fd/"]
        .iter()
        .any(|open| file.as_os_str().as_encoded_bytes().starts_with(open.as_bytes()));
    if let Ok(kind) = std::fs::metadata(file).map(|it| it.file_type())
        && !is_open
    {
        let what = if kind.is_fifo() {
            "a named pipe"
        } else if kind.is_socket() {
            "a socket"
        } else if kind.is_char_device() || kind.is_block_device() {
            "a device"
        } else {
            return Ok(vouchd_config::read_main(file));
        };
        anyhow::bail!("{}: it is {what}; expected a regular file, or - for standard input", file.display());
    }
    Ok(vouchd_config::read_main(file))
}

fn standard_input() -> anyhow::Result<FileText> {
    let mut bytes = Vec::new();
    std::io::stdin().lock().read_to_end(&mut bytes).context("reading standard input")?;
    Ok(FileText { path: STANDARD_INPUT.into(), text: Ok(bytes), access: None })
}

/// The directory of the configuration to which a file in conf.d belongs.
fn directory_of_drop_in(file: &Path) -> Option<PathBuf> {
    let drop_ins = file.parent()?;
    let directory = drop_ins.parent().map(|it| if it.as_os_str().is_empty() { Path::new(".") } else { it })?;
    (drop_ins.file_name()? == "conf.d" && directory.join(MAIN).exists()).then(|| directory.to_owned())
}

/// How long all drop-ins together may take to be read.
const FILE_TIME: Duration = Duration::from_secs(5);

/// The time that the checker has to look at all plugin files. It gives up a file that can't be read by itself.
const DESCRIBE_TIME: Duration = Duration::from_secs(60);

/// The files of the checks' plugins, by plugin name. `vouchd-checker` reads them, since this program has no WebAssembly
/// engine.
///
/// # Errors
/// When `vouchd-checker` cannot be started, or fails.
fn plugin_files(config: &Config) -> anyhow::Result<BTreeMap<String, PluginFile>> {
    if config.checks.is_empty() {
        return Ok(BTreeMap::new());
    }
    let program = CheckerProgram::find()?;
    program.check_version()?;
    let arguments = |command: &mut Command| {
        command.arg("describe").args([&config.daemon.plugin_dir, &config.daemon.builtin_plugin_dir]).arg("--");
        command.args(config.checks.iter().map(|check| &check.plugin));
    };
    let answer = program.output(arguments, DESCRIBE_TIME)?;
    anyhow::ensure!(answer.status.success(), "vouchd-checker: {}", answer.status);
    serde_json::from_slice(&answer.stdout).context("reading the output of vouchd-checker")
}

/// The error that plugin files could not be checked. The daemon does not start without its checker either.
fn unexamined(error: &anyhow::Error) -> Problem {
    Problem {
        place: None,
        subject: "plugins".to_owned(),
        message: format!("their files could not be checked: {error:#}"),
    }
}

/// Reads the files with HMAC keys, which may be on a file system that does not answer.
fn with_keys(files: Files) -> anyhow::Result<Files> {
    let place = files.key_files().into_iter().next().unwrap_or_default();
    Ok(Blocking::default().wait("keys", &place, FILE_TIME, move || files.with_keys())?)
}
