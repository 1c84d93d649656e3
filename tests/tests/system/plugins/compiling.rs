//! Plugins that take long to compile: their checks wait, and no address is lost over it. The compiler is stopped where it
//! is, so that it takes as long as the test likes.

use std::fs;
use std::time::Duration;

use anyhow::ensure;
use nix::sys::signal::{Signal, kill};
use vouchd_tests::corpus::with_metadata;
use vouchd_tests::pair::VRID;
use vouchd_tests::site::INTERFACE;
use vouchd_tests::vouchd::{Files, Vouchd};
use vouchd_tests::wait::until;
use vouchd_tests::{Need, Node, Site, VIP, system_test};

/// Longer than the interval, the timeout and the grace of the checks here: without a result they would be errors.
const LONG: u64 = 7;

/// Passes; `functions` make it heavy.
fn guest(functions: usize) -> Vec<u8> {
    let heavy = format!(
        "(func (param i32) (result i32) (local.get 0) {})",
        "(i32.const 7) i32.add (local.get 0) i32.mul ".repeat(50)
    );
    with_metadata(&format!(
        r#"(module
            (memory (export "memory") 2)
            {}
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 4096))
            (func (export "vouchd:check/checker@0.1.0#check") (param i32 i32 i32 i32 i32) (result i32)
                (i32.const 1024)))"#,
        heavy.repeat(functions)
    ))
}

/// Takes seconds to compile, so that its compiler can be met.
fn heavy() -> Vec<u8> {
    guest(4000)
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

/// Waits until `status` says that the check has waited for the compiler for so long.
fn waits_for(vouchd: &Vouchd, seconds: u64) -> anyhow::Result<()> {
    until("the check to say how long it waits", Duration::from_secs(60), || {
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
fn a_check_waits_until_its_plugin_is_compiled_and_so_does_its_instance_whatever_becomes_of_the_checker() {
    system_test("a plugin that takes long to compile", &[Need::Vouchd], |site| {
        let vouchd = start(site, &heavy(), &own())?;
        kill(vouchd.compiler()?, Signal::SIGSTOP)?;
        let waits = |seconds| {
            waits_for(&vouchd, seconds)?;
            let web = vouchd.instance("web")?;
            let reason = web["reason"].as_str().unwrap_or_default();
            ensure!(web["state"] == "initialize" && web["transitions"] == 0, "{web}");
            ensure!(reason.contains("waits for the first result of own (plugin own is being compiled)"), "{web}");
            ensure!(site.holders().now(VIP).is_empty(), "it serves before it is known whether it can");
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
fn a_check_that_is_added_while_its_plugin_is_compiled_leaves_an_active_router_where_it_is() {
    system_test("a reload with a plugin that takes long to compile", &[Need::Vouchd], |site| {
        let vouchd = start(site, &guest(0), &config(""))?;
        vouchd.wait_state("web", "active", Duration::from_secs(10))?;
        let before = vouchd.instance("web")?;
        let plugin = vouchd.files.plugin_dir().join("own.wasm");
        fs::remove_file(&plugin)?;
        until("the plugin to be gone", Duration::from_secs(5), || {
            vouchd.plugin("own").is_err_and(|_| true) || vouchd.plugin("own").is_ok_and(|own| own["sha256"].is_null())
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
fn the_version_before_runs_until_the_new_one_is_compiled() {
    system_test("a new version that takes long to compile", &[Need::Vouchd], |site| {
        let vouchd = start(site, &guest(0), &own())?;
        passes(&vouchd)?;
        let old = vouchd.plugin("own")?["sha256"].clone();
        fs::write(vouchd.files.plugin_dir().join("own.wasm"), heavy())?;
        let compiler = vouchd.compiler()?;
        kill(compiler, Signal::SIGSTOP)?;
        until("status to say so", Duration::from_secs(10), || {
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
fn a_compiler_that_was_killed_is_tried_again() {
    system_test("SIGKILL of the compiler", &[Need::Vouchd], |site| {
        let vouchd = start(site, &heavy(), &own())?;
        kill(vouchd.compiler()?, Signal::SIGKILL)?;
        until("status to say so", Duration::from_secs(10), || {
            vouchd.check("own").is_ok_and(|check| {
                let message = check["message"].as_str().unwrap_or_default();
                check["verdict"] == "waiting"
                    && message
                        .starts_with("plugin own is to be loaded again after 1 s (the compiler was killed by SIGKILL")
            })
        })?;
        passes(&vouchd)?;
        vouchd.wait_state("web", "active", Duration::from_secs(10))
    });
}
