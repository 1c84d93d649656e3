//! `status`, `explain` and the other commands as scripts and terminals use them: exit status, closed pipes, daemons that
//! cannot be asked, and names with control characters.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use vouchd_tests::command::{Output, install_into, vouchd};
use vouchd_tests::site::INTERFACE;
use vouchd_tests::vouchd::{Files, Vouchd, binary};
use vouchd_tests::wait::until;
use vouchd_tests::{Need, Node, Site, VIP, system_test};

const LONG: Duration = Duration::from_secs(20);

/// Whether the text has no control characters, and nothing that changes the direction of text.
fn is_harmless(text: &str) -> bool {
    let hostile = |c: char| {
        c.is_control() && c != '\n'
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    !text.contains(hostile)
}

fn start(site: &Site, rest: &str) -> anyhow::Result<Vouchd> {
    let files = Files::without_builtins(site, Node::Nginx01)?;
    Vouchd::start_with(site, Node::Nginx01, files, &format!("{}{rest}", instance("web", 55, &VIP.to_string())))
}

fn instance(name: &str, vrid: u8, address: &str) -> String {
    format!(
        "[instance.{name}]\ninterface = \"{INTERFACE}\"\nvirtual_router_id = {vrid}\npriority = 100\nversion = 3\n\
         advert_interval = \"200ms\"\naddresses = [\"{address}\"]\n"
    )
}

fn wait_exit(vouchd: &Vouchd, code: i32) -> anyhow::Result<()> {
    until(&format!("exit status {code}"), LONG, || {
        vouchd.command(&["status"]).is_ok_and(|output| output.code == Some(code))
    })
    .with_context(|| format!("{:?}", vouchd.command(&["status"])))
}

#[test]
fn exit_status_follows_the_state_of_the_router() {
    system_test("exit status", &[Need::Vouchd], |site| {
        let vouchd = start(site, "")?;
        vouchd.wait_state("web", "active", LONG)?;
        wait_exit(&vouchd, 0)?;
        let page = vouchd.command(&["status"])?.stdout;
        for word in ["INTERFACE", "VRID", "ens33", "55", "192.168.175.100*", "* on the interface", "all is well"] {
            ensure!(page.contains(word), "no {word} in:\n{page}");
        }

        // An invalid configuration, then a valid one.
        let good = fs::read_to_string(vouchd.files.config())?;
        fs::write(vouchd.files.config(), format!("{good}\nnonsense\n"))?;
        vouchd.process.signal(Signal::SIGHUP);
        wait_exit(&vouchd, 1)?;
        // The daemon is found by its configuration although that is invalid.
        let output = Output::of(Command::new(binary()).args(["status", "-c"]).arg(vouchd.files.config()))?;
        ensure!(
            output.code == Some(1) && output.stdout.contains("The configuration on disk can't be used"),
            "{output:?}"
        );
        fs::write(vouchd.files.config(), &good)?;
        vouchd.process.signal(Signal::SIGHUP);
        wait_exit(&vouchd, 0)?;

        // The cable.
        site.cable(Node::Nginx01, false)?;
        wait_exit(&vouchd, 2)?;
        let json: Value = serde_json::from_str(&vouchd.command(&["status", "--json"])?.stdout)?;
        ensure!(json["level"] == "fault" && json["problems"][0]["subject"] == "instance web", "{json}");
        ensure!(json["instances"][0]["reason"].as_str().is_some_and(|reason| reason.contains("ens33")), "{json}");
        site.cable(Node::Nginx01, true)?;
        wait_exit(&vouchd, 0)?;

        // The checker: the status is degraded while it is gone, and names the time of the restart afterwards.
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(vouchd.checker()?), Signal::SIGKILL)?;
        until("the checker to be restarted", LONG, || {
            vouchd
                .status()
                .is_ok_and(|status| status["checker"]["restarts"] == 1 && !status["checker"]["pid"].is_null())
        })?;
        wait_exit(&vouchd, 0)?;
        let page = vouchd.command(&["status"])?.stdout;
        ensure!(page.contains("the checker was restarted once, last "), "{page}");
        Ok(())
    });
}

#[test]
fn router_that_cannot_be_asked_is_explained_with_exit_status_2() {
    system_test("no answer", &[Need::Vouchd], |site| {
        let vouchd = start(site, "")?;
        vouchd.wait_state("web", "active", LONG)?;
        let control = vouchd.files.control();
        let expect = |words: &[&str], output: Output| -> anyhow::Result<()> {
            ensure!(output.code == Some(2) && output.stdout.is_empty(), "{output:?}");
            let error = output.stderr;
            ensure!(error.ends_with('\n') && words.iter().all(|word| error.contains(word)), "{words:?}: {error}");
            Ok(())
        };

        vouchd.process.signal(Signal::SIGSTOP);
        let is_stopped =
            |task: fs::DirEntry| fs::read_to_string(task.path().join("stat")).is_ok_and(|stat| stat.contains(") T "));
        until("all threads to be stopped", LONG, || {
            let tasks = fs::read_dir(format!("/proc/{}/task", vouchd.process.pid()));
            tasks.is_ok_and(|tasks| tasks.flatten().all(is_stopped))
        })?;
        let asked = Instant::now();
        let pid = vouchd.process.pid().to_string();
        let silent = ["does not answer", &pid, "it is stopped", "kill -CONT"];
        expect(&silent, vouchd.command(&["status"])?)?;
        ensure!(asked.elapsed() < Duration::from_millis(1500), "{:?}", asked.elapsed());
        expect(&silent, vouchd.command(&["status", "--json"])?)?;
        vouchd.process.signal_all(Signal::SIGCONT);
        wait_exit(&vouchd, 0)?;

        // A user who is in no group.
        let binary = install_into(&site.dir("bin")?)?;
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&binary).args(["status", "--control"]);
        expect(
            &["you may not use it", "0660", "root:root", "member of the group"],
            Output::of(command.arg(&control))?,
        )?;

        let mut command = Command::new(&binary);
        expect(
            &["vouchd is not running", "there is no /nowhere"],
            Output::of(command.args(["status", "--control", "/nowhere"]))?,
        )?;
        vouchd.process.signal(Signal::SIGKILL);
        until("vouchd to be gone", LONG, || {
            vouchd.command(&["status"]).is_ok_and(|output| output.stderr.contains("nobody listens"))
        })?;
        expect(&["vouchd is not running", "nobody listens at"], vouchd.command(&["status"])?)
    });
}

/// The exit status of a command whose standard output is a pipe without a reader.
fn without_reader(command: &mut Command, arguments: &[&str]) -> anyhow::Result<Option<i32>> {
    let (reader, writer) = std::io::pipe()?;
    drop(reader);
    Ok(command.args(arguments).stdout(writer).status()?.code())
}

#[test]
fn closed_pipe_makes_no_command_panic() {
    system_test("broken pipes", &[Need::Vouchd], |site| {
        let many: String =
            (1..=60).map(|n| instance(&format!("web{n}"), n, &format!("192.168.175.{}", n + 130))).collect();
        let vouchd = start(site, &many.replace("virtual_router_id = 55\n", "virtual_router_id = 255\n"))?;
        let (program, control) = (binary(), vouchd.files.control());
        let (program, control) = (program.display(), control.display());
        let config = vouchd.files.config();
        let commands = [
            format!("status --control {control}"),
            format!("status --json --control {control}"),
            format!("explain --control {control}"),
            format!("plugin list --control {control}"),
            format!("plugin list --json --control {control}"),
            format!("config check {}", config.display()),
            "plugin inspect /dev/null".to_owned(),
            "plugin test /dev/null".to_owned(),
            "config check /nowhere".to_owned(),
            "status --control /nowhere".to_owned(),
            "--help".to_owned(),
            "help plugin".to_owned(),
            "--version".to_owned(),
            "status --nonsense".to_owned(),
        ];
        for command in &commands {
            // The reader is gone before the first byte.
            let output = without_reader(&mut Command::new("sh"), &["-c", &format!("exec {program} {command} 2>&1")])?;
            ensure!(matches!(output, Some(0..=2)), "{command}: exit status {output:?}");
            // The reader goes after a line.
            let script = format!("{program} {command} 2>&1 | head -1; echo \"exit ${{PIPESTATUS[0]}}\" >&2");
            let output = Output::of(Command::new("bash").args(["-c", &script]))?;
            ensure!(!output.stdout.contains("panicked"), "{command} | head -1: {output:?}");
            ensure!(["exit 0", "exit 1", "exit 2"].contains(&output.stderr.trim()), "{command} | head -1: {output:?}");
        }
        // Other errors of the output are reported.
        let script = format!("{program} status --control {control} > /dev/full");
        let output = Output::of(Command::new("sh").args(["-c", &script]))?;
        ensure!(output.code == Some(2) && output.stderr.contains("could not write to standard output"), "{output:?}");
        // Without a reader, the exit status is still that of the router.
        let unread = without_reader(&mut Command::new(binary()), &["status", "--control", &control.to_string()])?;
        let read = vouchd.command(&["status"])?.code;
        ensure!(unread == read, "exit status {unread:?} without a reader, {read:?} with one");
        Ok(())
    });
}

#[test]
fn names_and_files_cannot_control_the_terminal_or_forge_log_lines() {
    system_test("hostile names", &[Need::Vouchd], |site| {
        let files = Files::without_builtins(site, Node::Nginx01)?;
        let hostile = "x\u{202e}\u{1b}[2J\nFORGED line\u{2028}y";
        fs::write(files.plugin_dir().join(format!("{hostile}.wasm")), "not a plugin")?;
        symlink("/nowhere\u{202e}\u{1b}]0;title\u{7}", files.plugin_dir().join("link\u{2066}.wasm"))?;
        let vouchd = Vouchd::start_with(site, Node::Nginx01, files, &instance("web", 55, &VIP.to_string()))?;
        vouchd.wait_state("web", "active", LONG)?;
        until("the plugins to be seen", LONG, || {
            vouchd.status().is_ok_and(|status| status["plugins"].as_array().is_some_and(|plugins| !plugins.is_empty()))
        })?;
        for words in [["status", "--all"].as_slice(), &["explain"], &["plugin", "list"]] {
            let output = vouchd.command(words)?;
            ensure!(is_harmless(&output.text()), "{words:?}: {output:?}");
        }
        // An error in a configuration is shown with its line.
        let good = fs::read_to_string(vouchd.files.config())?;
        let bad = "[instance.\"a\u{202e}b\u{1b}[31m\"]\nnonsense\u{2028} = \"\u{2066}\u{200f}\"\n";
        fs::write(vouchd.files.config(), format!("{good}\n{bad}"))?;
        vouchd.process.signal(Signal::SIGHUP);
        wait_exit(&vouchd, 1)?;
        for words in [["status"].as_slice(), &["explain"]] {
            let output = vouchd.command(words)?;
            ensure!(is_harmless(&output.text()), "{words:?}: {output:?}");
        }
        let check = Output::of(Command::new(binary()).args(["config", "check"]).arg(vouchd.files.config()))?;
        ensure!(!check.stderr.is_empty() && is_harmless(&check.text()), "{check:?}");
        for file in [vouchd.files.plugin_dir().join(format!("{hostile}.wasm")), PathBuf::from(format!("/{hostile}"))] {
            for command in ["inspect", "test"] {
                let output = Output::of(Command::new(binary()).args(["plugin", command]).arg(&file))?;
                ensure!(is_harmless(&output.text()), "{command}: {output:?}");
            }
        }
        let log = vouchd.process.log();
        ensure!(is_harmless(&log), "{log:?}");
        ensure!(!log.lines().any(|line| line.starts_with("FORGED")), "{log}");
        Ok(())
    });
}

#[test]
fn errors_end_with_a_newline_and_help_describes_the_program() {
    system_test("help", &[Need::Vouchd], |_| {
        for words in [
            ["explain", "--control", "/nowhere"].as_slice(),
            &["config", "check", "/nowhere"],
            &["run", "-c", "/nowhere"],
        ] {
            let output = vouchd(words)?;
            let error = &output.stderr;
            ensure!(
                output.code != Some(0) && error.ends_with('\n') && !error.ends_with("\n\n"),
                "{words:?}: {output:?}"
            );
        }
        let help = vouchd(["--help"])?.stdout;
        for word in ["VRRP", "WebAssembly", "Exit status", "vouchd status"] {
            ensure!(help.contains(word), "no {word} in:\n{help}");
        }
        Ok(())
    });
}
