//! `vouchd-conformance`: judges routers and prints the table.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, ensure};
use clap::Parser;
use vouchd_conformance::flood;
use vouchd_conformance::matrix;
use vouchd_conformance::plan::Setup;
use vouchd_conformance::report::Report;
use vouchd_conformance::router::Make;
use vouchd_conformance::runner::{self, Options, Outcome};

/// Judges VRRP routers from outside, row by row of docs/conformance.md
#[derive(Parser)]
#[command(name = "vouchd-conformance")]
struct Cli {
    /// A router to judge: vouchd, keepalived or frr; may be given several times
    #[arg(long = "router", value_name = "NAME")]
    routers: Vec<String>,
    /// The shell script that starts another router in the foreground; its placeholders are those of the template
    #[arg(long, requires = "template")]
    command: Option<String>,
    /// The configuration template of that router
    #[arg(long, requires = "command", value_name = "FILE")]
    template: Option<PathBuf>,
    /// Judge pairs of routers instead: the first router with itself and with each other router, in both roles
    #[arg(long, conflicts_with_all = ["json", "rows", "setups"])]
    matrix: bool,
    /// Only the pairs whose titles contain this, as "v3 IPv6, unicast, vouchd above keepalived"
    #[arg(long, requires = "matrix", value_name = "TEXT", default_value = "")]
    only: String,
    /// Flood each router with 10,000 frames a second instead, and print what it did
    #[arg(long, conflicts_with_all = ["json", "rows", "setups", "matrix"])]
    flood: bool,
    /// Only this row; may be given several times
    #[arg(long = "row", value_name = "NUMBER")]
    rows: Vec<u32>,
    /// Only this set-up: v2, v3, v6, v3mac, v6mac or dual; may be given several times
    #[arg(long = "setup", value_name = "NAME")]
    setups: Vec<String>,
    /// How many rows are tried at a time
    #[arg(long, default_value_t = Options::default().lanes)]
    lanes: usize,
    /// Print the table as JSON
    #[arg(long, conflicts_with = "markdown")]
    json: bool,
    /// Print the table in Markdown
    #[arg(long)]
    markdown: bool,
}

/// The exit status is 0 if every row that applies passes, 1 if one fails, 2 if the routers could not be judged.
fn main() -> ExitCode {
    match judge(&Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn judge(cli: &Cli) -> anyhow::Result<bool> {
    let options = Options {
        rows: cli.rows.clone(),
        setups: cli.setups.iter().map(|name| setup(name)).collect::<anyhow::Result<_>>()?,
        lanes: cli.lanes.max(1),
        ..Options::default()
    };
    let makes = makes(cli)?;
    for make in &makes {
        ensure!(make.is_installed(), "{} is not installed", make.name);
    }
    if cli.flood {
        print!("{}", flood::table(&makes)?);
        return Ok(true);
    }
    if cli.matrix {
        let mut cells = matrix::cells(&makes[0], &makes[1..]);
        cells.retain(|cell| matrix::title(cell).contains(&cli.only));
        let lived = matrix::run(&cells, options.lanes.div_ceil(2));
        print!("{}", matrix::markdown(&lived));
        return Ok(lived.iter().all(|(_, outcome, _)| !matches!(outcome, Outcome::Fail(_))));
    }
    let mut report = Report::default();
    for make in makes {
        let tried = runner::run(&make, &options);
        report.columns.push((make.name, tried));
    }
    if cli.json {
        println!("{:#}", report.json());
    } else if cli.markdown {
        print!("{}", report.markdown());
    } else {
        print!("{}", report.text());
    }
    Ok(report.columns.iter().all(|(make, _)| report.failed(make).is_empty()))
}

fn makes(cli: &Cli) -> anyhow::Result<Vec<Make>> {
    let named = |name: &String| {
        Make::named(name).with_context(|| format!("--router {name}: expected vouchd, keepalived or frr"))
    };
    let mut makes = cli.routers.iter().map(named).collect::<anyhow::Result<Vec<_>>>()?;
    if let (Some(command), Some(template)) = (&cli.command, &cli.template) {
        makes.push(Make {
            name: "router".to_owned(),
            template: fs::read_to_string(template).with_context(|| template.display().to_string())?,
            command: command.clone(),
            reload: "kill -HUP {process}\n".to_owned(),
        });
    }
    ensure!(!makes.is_empty(), "nothing to judge: give --router NAME, or --command and --template");
    Ok(makes)
}

fn setup(name: &str) -> anyhow::Result<Setup> {
    Ok(match name {
        "v2" => Setup::V2,
        "v3" => Setup::V3,
        "v6" => Setup::V6,
        "v3mac" => Setup::V3Mac,
        "v6mac" => Setup::V6Mac,
        "dual" => Setup::Dual,
        _ => anyhow::bail!("--setup {name}: expected v2, v3, v6, v3mac, v6mac or dual"),
    })
}
