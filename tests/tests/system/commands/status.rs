//! `status`, `explain` and the other commands as scripts and terminals meet them: exit status, readers that go away, daemons
//! that can't be asked, and names that want to be more than names.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use vouchd_tests::site::INTERFACE;
use vouchd_tests::vouchd::{Files, Vouchd, binary};
use vouchd_tests::wait::until;
use vouchd_tests::{Need, Node, Site, VIP, system_test};

const LONG: Duration = Duration::from_secs(20);

/// Nothing that a terminal or a reader could take for something else than text.
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

fn run(vouchd: &Vouchd, words: &[&str]) -> anyhow::Result<Output> {
    Ok(Command::new(binary()).args(words).arg("--control").arg(vouchd.files.control()).output()?)
}

fn texts(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn wait_exit(vouchd: &Vouchd, code: i32) -> anyhow::Result<()> {
    until(&format!("exit status {code}"), LONG, || {
        run(vouchd, &["status"]).is_ok_and(|output| output.status.code() == Some(code))
    })
    .with_context(|| format!("{:?}", run(vouchd, &["status"]).map(|output| texts(&output))))
}

#[test]
fn the_exit_status_follows_what_happens_to_the_router() {
    system_test("exit status", &[Need::Vouchd], |site| {
        let vouchd = start(site, "")?;
        vouchd.wait_state("web", "active", LONG)?;
        wait_exit(&vouchd, 0)?;
        let (_, page, _) = texts(&run(&vouchd, &["status"])?);
        for word in ["INTERFACE", "VRID", "ens33", "55", "192.168.175.100*", "* on the interface", "all is well"] {
            ensure!(page.contains(word), "no {word} in:\n{page}");
        }

        // A configuration that can't be used, then one that can.
        let good = fs::read_to_string(vouchd.files.config())?;
        fs::write(vouchd.files.config(), format!("{good}\nnonsense\n"))?;
        vouchd.process.signal(Signal::SIGHUP);
        wait_exit(&vouchd, 1)?;
        // Named by that configuration the daemon is found all the same.
        let named = Command::new(binary()).args(["status", "-c"]).arg(vouchd.files.config()).output()?;
        let (code, page, error) = texts(&named);
        ensure!(code == Some(1) && page.contains("The configuration on disk can't be used"), "{code:?}: {page}{error}");
        fs::write(vouchd.files.config(), &good)?;
        vouchd.process.signal(Signal::SIGHUP);
        wait_exit(&vouchd, 0)?;

        // The cable.
        site.cable(Node::Nginx01, false)?;
        wait_exit(&vouchd, 2)?;
        let json: Value = serde_json::from_slice(&run(&vouchd, &["status", "--json"])?.stdout)?;
        ensure!(json["level"] == "fault" && json["problems"][0]["subject"] == "instance web", "{json}");
        ensure!(json["instances"][0]["reason"].as_str().is_some_and(|reason| reason.contains("ens33")), "{json}");
        site.cable(Node::Nginx01, true)?;
        wait_exit(&vouchd, 0)?;

        // The checker: degraded while it is gone, well when it is back, and said with its time.
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(vouchd.checker()?), Signal::SIGKILL)?;
        until("the checker to be started again", LONG, || {
            vouchd
                .status()
                .is_ok_and(|status| status["checker"]["restarts"] == 1 && !status["checker"]["pid"].is_null())
        })?;
        wait_exit(&vouchd, 0)?;
        let (_, page, _) = texts(&run(&vouchd, &["status"])?);
        ensure!(page.contains("the checker was started again once, last "), "{page}");
        Ok(())
    });
}

#[test]
fn a_router_that_can_not_be_asked_is_reported_as_what_it_is_with_exit_status_2() {
    system_test("no answer", &[Need::Vouchd], |site| {
        let vouchd = start(site, "")?;
        vouchd.wait_state("web", "active", LONG)?;
        let control = vouchd.files.control();
        let expect = |words: &[&str], output: Output| -> anyhow::Result<()> {
            let (code, page, error) = texts(&output);
            ensure!(code == Some(2) && page.is_empty(), "{code:?}: {page}{error}");
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
        expect(&silent, run(&vouchd, &["status"])?)?;
        ensure!(asked.elapsed() < Duration::from_millis(1500), "{:?}", asked.elapsed());
        expect(&silent, run(&vouchd, &["status", "--json"])?)?;
        vouchd.process.signal_all(Signal::SIGCONT);
        wait_exit(&vouchd, 0)?;

        // Somebody who is in no group.
        let binary = public_binary(site)?;
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&binary).args(["status", "--control"]);
        expect(&["you may not use it", "0660", "root:root", "member of the group"], command.arg(&control).output()?)?;

        let mut command = Command::new(&binary);
        expect(
            &["vouchd is not running", "there is no /nowhere"],
            command.args(["status", "--control", "/nowhere"]).output()?,
        )?;
        vouchd.process.signal(Signal::SIGKILL);
        until("vouchd to be gone", LONG, || {
            run(&vouchd, &["status"])
                .is_ok_and(|output| String::from_utf8_lossy(&output.stderr).contains("nobody listens"))
        })?;
        expect(&["vouchd is not running", "nobody listens at"], run(&vouchd, &["status"])?)
    });
}

/// Where every user may run it.
fn public_binary(site: &Site) -> anyhow::Result<PathBuf> {
    let copy = site.dir("bin")?.join("vouchd");
    fs::copy(binary(), &copy)?;
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755))?;
    Ok(copy)
}

#[test]
fn a_reader_that_goes_away_makes_no_command_panic() {
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
            // Gone before the first byte, and after a line.
            for reader in ["true", "head -1"] {
                let script = format!(
                    "(sleep 0.05; exec {program} {command}) 2>&1 | {reader}; echo \"exit ${{PIPESTATUS[0]}}\" >&2"
                );
                let output = Command::new("bash").args(["-c", &script]).output()?;
                let (_, said, errors) = texts(&output);
                ensure!(!said.contains("panicked"), "{command} | {reader}: {said}");
                ensure!(["exit 0", "exit 1", "exit 2"].contains(&errors.trim()), "{command} | {reader}: {errors}");
            }
        }
        // A full disk is no page.
        let script = format!("{program} status --control {control} > /dev/full");
        let (code, _, error) = texts(&Command::new("sh").args(["-c", &script]).output()?);
        ensure!(code == Some(2) && error.contains("could not write to standard output"), "{code:?}: {error}");
        // Nobody reads, and still the exit status says how well all is.
        let script = format!("set -o pipefail; {program} status --control {control} | true");
        let piped = Command::new("bash").args(["-c", &script]).status()?;
        let alone = run(&vouchd, &["status"])?.status;
        ensure!(piped.code() == alone.code(), "{piped} beside {alone}");
        Ok(())
    });
}

#[test]
fn names_and_files_can_not_write_to_the_terminal_or_forge_a_line_of_the_log() {
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
            let (_, page, error) = texts(&run(&vouchd, words)?);
            ensure!(is_harmless(&page) && is_harmless(&error), "{words:?}: {page:?} {error:?}");
        }
        // What is wrong with a configuration is shown with the line that has it.
        let good = fs::read_to_string(vouchd.files.config())?;
        let bad = "[instance.\"a\u{202e}b\u{1b}[31m\"]\nnonsense\u{2028} = \"\u{2066}\u{200f}\"\n";
        fs::write(vouchd.files.config(), format!("{good}\n{bad}"))?;
        vouchd.process.signal(Signal::SIGHUP);
        wait_exit(&vouchd, 1)?;
        for words in [["status"].as_slice(), &["explain"]] {
            let (_, page, error) = texts(&run(&vouchd, words)?);
            ensure!(is_harmless(&page) && is_harmless(&error), "{words:?}: {page:?} {error:?}");
        }
        let check = Command::new(binary()).args(["config", "check"]).arg(vouchd.files.config()).output()?;
        let (_, page, error) = texts(&check);
        ensure!(!error.is_empty() && is_harmless(&page) && is_harmless(&error), "{page:?} {error:?}");
        for file in [vouchd.files.plugin_dir().join(format!("{hostile}.wasm")), PathBuf::from(format!("/{hostile}"))] {
            for command in ["inspect", "test"] {
                let output = Command::new(binary()).args(["plugin", command]).arg(&file).output()?;
                let (_, page, error) = texts(&output);
                ensure!(is_harmless(&page) && is_harmless(&error), "{command}: {page:?} {error:?}");
            }
        }
        let log = vouchd.process.log();
        ensure!(is_harmless(&log), "{log:?}");
        ensure!(!log.lines().any(|line| line.starts_with("FORGED")), "{log}");
        Ok(())
    });
}

#[test]
fn an_error_ends_with_a_line_break_and_help_says_what_it_is_for() {
    system_test("help", &[Need::Vouchd], |_| {
        for words in [
            ["explain", "--control", "/nowhere"].as_slice(),
            &["config", "check", "/nowhere"],
            &["run", "-c", "/nowhere"],
        ] {
            let (code, _, error) = texts(&Command::new(binary()).args(words).output()?);
            ensure!(code != Some(0) && error.ends_with('\n') && !error.ends_with("\n\n"), "{words:?}: {error:?}");
        }
        let (_, help, _) = texts(&Command::new(binary()).arg("--help").output()?);
        for word in ["VRRP", "WebAssembly", "Exit status", "vouchd status"] {
            ensure!(help.contains(word), "no {word} in:\n{help}");
        }
        Ok(())
    });
}
