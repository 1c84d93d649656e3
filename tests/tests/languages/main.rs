//! Checks in every language: the example plugin of each, copied into the plugin directory of running daemons, decides who
//! holds the address. So do ordinary C programs that know nothing of vouchd.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::Value;
use vouchd_tests::nginx::Nginx;
use vouchd_tests::pair::VRID;
use vouchd_tests::site::INTERFACE;
use vouchd_tests::vouchd::{Files, Vouchd};
use vouchd_tests::wait::{eventually, until};
use vouchd_tests::web::Web;
use vouchd_tests::{Need, Node, Site, VIP, requirements, system_test};

/// The check of both routers, and the plugin for which it waits.
const CHECK: &str = "service";
const PLUGIN: &str = "dropped";
/// CPython takes half a minute to compile while other tests use the processors.
const LOADED: Duration = Duration::from_secs(150);
const JUDGED: Duration = Duration::from_secs(5);
const MOVED: Duration = Duration::from_secs(10);

/// Two routers with proxies and web servers. Their check's plugin is still missing.
struct Routers<'s> {
    site: &'s Site,
    // Fields are dropped in this order: routers first, as at a shutdown.
    vouchds: [Vouchd; 2],
    proxies: [Nginx<'s>; 2],
    _webs: [Web; 2],
}

impl<'s> Routers<'s> {
    /// Starts everything and waits until each router reports an error of its check, and one is active anyway.
    fn start(site: &'s Site, check: &str) -> anyhow::Result<Self> {
        let webs = [Web::start(site, Node::Web01)?, Web::start(site, Node::Web02)?];
        let proxies = [Nginx::start_on(site, Node::Nginx01)?, Nginx::start_on(site, Node::Nginx02)?];
        let router = |node: Node, priority: u8| {
            let config = format!(
                "[check.{CHECK}]\nplugin = \"{PLUGIN}\"\ninterval = \"200ms\"\ntimeout = \"1s\"\nweight = -40\n{check}\n\n\
                 [instance.web]\ninterface = \"{INTERFACE}\"\nvirtual_router_id = {VRID}\npriority = {priority}\n\
                 addresses = [\"{VIP}\"]\nchecks = [\"{CHECK}\"]\n"
            );
            Vouchd::start_with(site, node, Files::without_builtins(site, node)?, &config)
        };
        let vouchds = [router(Node::Nginx01, 100)?, router(Node::Nginx02, 80)?];
        let routers = Self { site, vouchds, proxies, _webs: webs };
        for index in [0, 1] {
            routers.wait_verdict(index, "error", "", MOVED)?;
        }
        until("one node to hold the address", MOVED, || site.holders().now(VIP).len() == 1)?;
        Ok(routers)
    }

    /// Copies a plugin into a router's directory.
    fn drop_in(&self, index: usize, file: &Path) -> anyhow::Result<()> {
        let place = self.vouchds[index].files.plugin_dir().join(PLUGIN).with_extension("wasm");
        fs::copy(file, place).with_context(|| format!("copying {}", file.display()))?;
        Ok(())
    }

    /// Waits for a verdict whose message has these words, and returns the status of the check.
    fn wait_verdict(&self, index: usize, verdict: &str, words: &str, within: Duration) -> anyhow::Result<Value> {
        let vouchd = &self.vouchds[index];
        eventually(&format!("{verdict} with the words `{words}`"), within, || {
            let check = vouchd.check(CHECK).ok()?;
            let has_words = check["message"].as_str().is_some_and(|message| message.contains(words));
            (check["verdict"] == verdict && has_words).then_some(check)
        })
        .with_context(|| format!("status: {:?}, {:?}", vouchd.check(CHECK), vouchd.plugin(PLUGIN)))
    }

    fn wait_holder(&self, node: Node) -> anyhow::Result<()> {
        self.site.holders().wait_for(node, VIP, MOVED)
    }
}

/// The plugin `port` in a language sees nginx stop and start, and the address follows.
fn fails_over_by_the_plugin_in(language: &'static str) {
    system_test(language, &[Need::Vouchd, Need::Nginx, Need::Language(language)], |site| {
        let check = "params = { address = \"127.0.0.1:80\" }\nallow = { tcp = [\"127.0.0.1:80\"] }";
        let mut routers = Routers::start(site, check)?;
        let file = requirements::language(language);
        for index in [0, 1] {
            let dropped = Instant::now();
            routers.drop_in(index, &file)?;
            let check = routers.wait_verdict(index, "pass", "127.0.0.1:80 accepts connections", LOADED)?;
            println!(
                "{language}: router {index} had a verdict {:.1} s after the copy",
                dropped.elapsed().as_secs_f64()
            );
            let metrics = check["last_run"]["metrics"].as_array();
            let connect = metrics.into_iter().flatten().find(|metric| metric["name"] == "connect");
            ensure!(connect.is_some_and(|metric| metric["unit"] == "s"), "no metric `connect`: {check}");
        }
        routers.wait_holder(Node::Nginx01)?;

        let gone = Instant::now();
        routers.proxies[0].stop()?;
        routers.wait_holder(Node::Nginx02)?;
        println!("{language}: the address had moved {:.1} s after nginx was stopped", gone.elapsed().as_secs_f64());
        routers.wait_verdict(0, "fail", "connection refused", JUDGED)?;

        routers.proxies[0].start()?;
        routers.wait_holder(Node::Nginx01)?;
        routers.wait_verdict(0, "pass", "accepts connections", JUDGED)?;
        Ok(())
    });
}

macro_rules! languages {
    ($($language:ident)*) => {
        $(
            #[test]
            fn $language() {
                fails_over_by_the_plugin_in(stringify!($language));
            }
        )*

        #[test]
        fn every_language_that_is_built_is_tested() {
            let tested = [$(stringify!($language)),*];
            let Ok(built) = fs::read_dir(requirements::languages()) else {
                return vouchd_skip::skip("no plugins in other languages", "run `cargo xtask languages` first");
            };
            let built = built.flatten();
            let files = built.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "wasm"));
            for name in files.filter_map(|file| Some(file.file_stem()?.to_str()?.to_owned())) {
                // Each language has a second plugin, for the list of behaviours.
                assert!(tested.contains(&name.as_str()) || name.starts_with("conformance-"), "no test for {name}");
            }
        }
    };
}

languages! { rust c cpp zig go python javascript typescript assemblyscript wat }

/// Compiles a C program for WASI without any part of vouchd.
fn compiled(site: &Site, name: &str, source: &str) -> anyhow::Result<PathBuf> {
    let dir = site.dir("programs")?;
    let (source_file, file) = (dir.join(name).with_extension("c"), dir.join(name).with_extension("wasm"));
    fs::write(&source_file, source)?;
    let clang = Command::new("clang-19")
        .args(["--target=wasm32-wasi", "-O2", "-s"])
        .arg(&source_file)
        .arg("-o")
        .arg(&file)
        .output()
        .context("clang-19")?;
    ensure!(clang.status.success(), "{}", String::from_utf8_lossy(&clang.stderr));
    Ok(file)
}

#[test]
fn ordinary_c_programs_decide_a_failover() {
    const WELL: &str = r#"#include <stdio.h>
        int main(void) { puts("all is well"); return 0; }"#;
    const FULL: &str = r#"#include <stdio.h>
        int main(void) { puts("DISK CRITICAL - 2% free | free=2%"); return 2; }"#;
    // Configuration, the program that fails, and the message of its check.
    let table = [
        ("", "int main(void) { return 1; }", "exit status 1"),
        ("exit_codes = \"nagios\"", FULL, "DISK CRITICAL - 2% free"),
    ];
    for (config, failing, message) in table {
        system_test(message, &[Need::Vouchd, Need::Nginx, Need::Clang], |site| {
            let (well, failing) = (compiled(site, "well", WELL)?, compiled(site, "failing", failing)?);
            let routers = Routers::start(site, config)?;
            for index in [0, 1] {
                routers.drop_in(index, &well)?;
                let check = routers.wait_verdict(index, "pass", "all is well", JUDGED)?;
                ensure!(check["message"] == "all is well", "{check}");
            }
            routers.wait_holder(Node::Nginx01)?;

            routers.drop_in(0, &failing)?;
            routers.wait_holder(Node::Nginx02)?;
            routers.wait_verdict(0, "fail", message, JUDGED)?;

            routers.drop_in(0, &well)?;
            routers.wait_holder(Node::Nginx01)?;
            routers.wait_verdict(0, "pass", "all is well", JUDGED)?;
            Ok(())
        });
    }
}
