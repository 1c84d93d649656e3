//! Plugins that take long to compile: their checks wait, and no address is lost. The compiler is stopped by a signal, so
//! that it takes as long as the test needs.

use std::fs;
use std::time::Duration;

use anyhow::ensure;
use nix::sys::signal::{Signal, kill};
use vouchd_tests::guest::Guest;
use vouchd_tests::pair::VRID;
use vouchd_tests::site::INTERFACE;
use vouchd_tests::vouchd::{Files, Vouchd};
use vouchd_tests::wait::until;
use vouchd_tests::{Need, Node, Site, VIP, system_test};

/// Seconds. Longer than interval, timeout and grace of the checks together, after which a missing result is an error.
const LONG: u64 = 7;

/// A plugin that passes.
fn light() -> Vec<u8> {
    Guest::new("").module()
}

/// A plugin that passes, and takes seconds to compile, so that the test can find its compiler.
fn heavy() -> Vec<u8> {
    let function = format!(
        "(func (param i32) (result i32) (local.get 0) {})",
        "(i32.const 7) i32.add (local.get 0) i32.mul ".repeat(50)
    );
    Guest::new("").top(function.repeat(4000)).module()
}

fn config(checks: &str) -> String {
    format!(
        "[instance.web]\ninterface = \"{INTERFACE}\"\nvirtual_router_id = {VRID}\npriority = 150\n\
         addresses = [\"{VIP}\"]\nchecks = [{checks}]\n"
    )
}

fn own() -> String {
    format!("[check.own]\nplugin = \"own\"\n\n{}", config("\"own\""))
}

fn start(site: &Site, plugin: &[u8], config: &str) -> anyhow::Result<Vouchd> {
    let files = Files::without_builtins(site, Node::Nginx01)?;
    fs::write(files.plugin_dir().join("own.wasm"), plugin)?;
    Vouchd::start_with(site, Node::Nginx01, files, config)
}

/// Waits until `status` shows that the check has waited for the compiler for this long.
fn waits_for(vouchd: &Vouchd, seconds: u64) -> anyhow::Result<()> {
    until("the check to show how long it waits", Duration::from_secs(60), || {
        let Ok(check) = vouchd.check("own") else { return false };
        let message = check["message"].as_str().unwrap_or_default();
        let waited = message
            .strip_prefix("plugin own is being compiled, for ")
            .and_then(|rest| rest.split(' ').next()?.parse().ok());
        check["verdict"] == "waiting" && waited >= Some(seconds)
    })
    .map_err(|error| error.context(format!("{:?}", vouchd.check("own"))))
}

fn passes(vouchd: &Vouchd) -> anyhow::Result<()> {
    until("the check to pass", Duration::from_secs(120), || {
        vouchd.check("own").is_ok_and(|check| check["verdict"] == "pass")
    })
}

#[test]
fn check_and_instance_wait_for_the_compiler_even_if_the_checker_dies() {
    system_test("a plugin that takes long to compile", &[Need::Vouchd], |site| {
        let vouchd = start(site, &heavy(), &own())?;
        kill(vouchd.compiler()?, Signal::SIGSTOP)?;
        let waits = |seconds| {
            waits_for(&vouchd, seconds)?;
            let web = vouchd.instance("web")?;
            let reason = web["reason"].as_str().unwrap_or_default();
            ensure!(web["state"] == "initialize" && web["transitions"] == 0, "{web}");
            ensure!(reason.contains("waits for the first result of own (plugin own is being compiled)"), "{web}");
            ensure!(site.holders().now(VIP).is_empty(), "it is active before its check has a result");
            Ok(())
        };
        waits(LONG)?;

        let checker = vouchd.checker()?;
        kill(nix::unistd::Pid::from_raw(checker), Signal::SIGKILL)?;
        until("another checker", Duration::from_secs(10), || vouchd.checker().is_ok_and(|now| now != checker))?;
        let compiler = vouchd.compiler()?;
        kill(compiler, Signal::SIGSTOP)?;
        waits(LONG)?;

        kill(compiler, Signal::SIGCONT)?;
        passes(&vouchd)?;
        vouchd.wait_state("web", "active", Duration::from_secs(10))
    });
}

#[test]
fn check_added_while_its_plugin_compiles_changes_no_active_router() {
    system_test("a reload with a plugin that takes long to compile", &[Need::Vouchd], |site| {
        let vouchd = start(site, &light(), &config(""))?;
        vouchd.wait_state("web", "active", Duration::from_secs(10))?;
        let before = vouchd.instance("web")?;
        let plugin = vouchd.files.plugin_dir().join("own.wasm");
        fs::remove_file(&plugin)?;
        until("the plugin to be gone", Duration::from_secs(5), || {
            vouchd.plugin("own").map_or(true, |own| own["sha256"].is_null())
        })?;
        fs::write(&plugin, heavy())?;
        let compiler = vouchd.compiler()?;
        kill(compiler, Signal::SIGSTOP)?;
        vouchd.files.write_config("nginx01", &own())?;
        vouchd.process.signal(Signal::SIGHUP);
        waits_for(&vouchd, LONG)?;
        let unchanged = || {
            let now = vouchd.instance("web")?;
            for field in ["state", "transitions"] {
                ensure!(now[field] == before[field], "{before} became {now}");
            }
            ensure!(now["priority"]["effective"] == 150, "{now}");
            ensure!(site.holders().now(VIP) == [Node::Nginx01]);
            Ok(())
        };
        unchanged()?;
        kill(compiler, Signal::SIGCONT)?;
        passes(&vouchd)?;
        unchanged()
    });
}

#[test]
fn previous_version_runs_until_the_new_one_is_compiled() {
    system_test("a new version that takes long to compile", &[Need::Vouchd], |site| {
        let vouchd = start(site, &light(), &own())?;
        passes(&vouchd)?;
        let old = vouchd.plugin("own")?["sha256"].clone();
        fs::write(vouchd.files.plugin_dir().join("own.wasm"), heavy())?;
        let compiler = vouchd.compiler()?;
        kill(compiler, Signal::SIGSTOP)?;
        until("status to show it", Duration::from_secs(10), || {
            vouchd.plugin("own").is_ok_and(|own| {
                own["sha256"] == old
                    && own["pending"].as_str().is_some_and(|text| text.starts_with("is being compiled, for "))
            })
        })?;
        let runs = |vouchd: &Vouchd| vouchd.check("own").ok().and_then(|check| check["runs"].as_u64());
        let before = runs(&vouchd);
        until("more runs", Duration::from_secs(20), || runs(&vouchd) >= before.map(|runs| runs + 5))?;
        ensure!(vouchd.check("own")?["verdict"] == "pass", "{:?}", vouchd.check("own"));
        kill(compiler, Signal::SIGCONT)?;
        until("the new version", Duration::from_secs(120), || {
            vouchd.plugin("own").is_ok_and(|own| own["sha256"] != old && own["pending"].is_null())
        })?;
        passes(&vouchd)
    });
}

#[test]
fn killed_compiler_is_retried() {
    system_test("SIGKILL of the compiler", &[Need::Vouchd], |site| {
        let vouchd = start(site, &heavy(), &own())?;
        kill(vouchd.compiler()?, Signal::SIGKILL)?;
        until("status to show it", Duration::from_secs(10), || {
            vouchd.check("own").is_ok_and(|check| {
                let message = check["message"].as_str().unwrap_or_default();
                check["verdict"] == "waiting"
                    && message.starts_with("plugin own will be loaded again in 1 s (the compiler was killed by SIGKILL")
            })
        })?;
        passes(&vouchd)?;
        vouchd.wait_state("web", "active", Duration::from_secs(10))
    });
}
