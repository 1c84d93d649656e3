//! Random operations on the plugin directory of a running router. Whatever they are, `status` ends up with what is in the
//! directory, no check gets a wrong verdict meanwhile, nothing is restarted, and the virtual address stays where it is.
//!
//! `VOUCHD_SEED` repeats a run, `VOUCHD_OPERATIONS` sets its length.

mod dice;
mod directory;
mod expected;
mod model;
mod operations;
mod version;

use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use directory::Directory;
use model::Model;
use serde_json::Value;
use version::Version;
use vouchd_tests::capture::{Capture, longest_gap};
use vouchd_tests::pair::VRID;
use vouchd_tests::site::INTERFACE;
use vouchd_tests::vouchd::{Files, Vouchd};
use vouchd_tests::wait::{holds, until};
use vouchd_tests::{Need, Node, VIP, system_test};

const OPERATIONS: usize = 500;

/// Names of plugins and of the checks that run them. The instance depends on the first [`PASSING`], whose versions all pass.
const NAMES: [&str; 6] = ["ash", "beech", "cedar", "elm", "fir", "oak"];
const PASSING: usize = 4;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|number| number.parse().ok())
}

fn checks() -> String {
    NAMES
        .iter()
        .chain(&["calm"])
        .map(|name| format!("[check.{name}]\nplugin = \"{name}\"\ntimeout = \"3s\"\nrise = 1\nfall = 1\n"))
        .collect()
}

fn instance(priority: u8, checks: &str) -> String {
    format!(
        "[instance.web]\ninterface = \"{INTERFACE}\"\nvirtual_router_id = {VRID}\npriority = {priority}\n\
         addresses = [\"{VIP}\"]\nchecks = [{checks}]\n"
    )
}

/// What must not change.
fn lasting(first: &Vouchd, second: &Vouchd) -> anyhow::Result<[Value; 5]> {
    let of = |vouchd: &Vouchd| -> anyhow::Result<Value> { Ok(vouchd.instance("web")?["transitions"].clone()) };
    let status = first.status()?;
    Ok([
        of(first)?,
        of(second)?,
        status["pid"].clone(),
        status["checker"]["pid"].clone(),
        status["checker"]["restarts"].clone(),
    ])
}

#[test]
fn status_ends_up_with_what_is_in_the_directory() {
    system_test("random operations on the plugin directory", &[Need::Vouchd], |site| {
        let moment = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |time| time.subsec_nanos());
        let seed = number("VOUCHD_SEED").unwrap_or_else(|| u64::from(moment)).max(1);
        println!("VOUCHD_SEED={seed}");
        let operations = number("VOUCHD_OPERATIONS").and_then(|n| usize::try_from(n).ok()).unwrap_or(OPERATIONS);

        let arena = site.dir("arena")?;
        let host = site.host(Node::Nginx01);
        host.sh(&format!("mount -t tmpfs -o size=2m,mode=755 tmpfs {}", arena.display()))?;
        // The same directory, reached from outside the host's mount namespace.
        let inside = format!("/proc/{}/root{}", host.init(), arena.display());
        let mut directory = Directory::new(inside.into(), seed)?;
        let files = Files::without_builtins(site, Node::Nginx01)?.with_plugin_dir(arena.join("plugins"));
        // In the directory of built-in plugins, which nobody touches.
        fs::write(files.builtin_plugin_dir().join("calm.wasm"), Version::passing(9_000_000).bytes())?;
        let model = Mutex::new(Model::new(&NAMES));
        directory.fill(&mut model.lock().expect("no thread panics with it"))?;

        let held: Vec<_> =
            NAMES[..PASSING].iter().map(|name| format!("{{ name = \"{name}\", on_error = \"hold\" }}")).collect();
        let first_config = checks() + &instance(150, &format!("\"calm\", {}", held.join(", ")));
        let first = Vouchd::start_with(site, Node::Nginx01, files, &first_config)?;
        site.holders().wait_for(Node::Nginx01, VIP, Duration::from_secs(10))?;
        let other_files = Files::without_builtins(site, Node::Nginx02)?;
        let second = Vouchd::start_with(site, Node::Nginx02, other_files, &instance(100, ""))?;
        second.wait_state("web", "backup", Duration::from_secs(5))?;
        until("status to show all plugins", Duration::from_secs(15), || directory.complaints(&first).is_empty())
            .with_context(|| format!("{:#?}", directory.complaints(&first)))?;
        let before = lasting(&first, &second)?;
        let capture = Capture::start(site)?;
        let start = Instant::now();

        // Compares the status with the model all the time, during the operations and for a while after them.
        let (done, looks) = (AtomicBool::new(false), Mutex::new((0, None)));
        let worked = thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let seen = first
                        .status()
                        .and_then(|status| model.lock().expect("no thread panics with it").judge(&status));
                    let mut looks = looks.lock().expect("no thread panics with it");
                    looks.0 += 1;
                    if let Err(wrong) = seen {
                        looks.1.get_or_insert(wrong);
                    }
                }
            });
            let worked = (|| {
                for n in 0..operations {
                    directory.operate(&model).with_context(|| format!("operation {n}"))?;
                    if let Some(wrong) = looks.lock().expect("no thread panics with it").1.take() {
                        return Err(wrong.context(format!("after operation {n}: {}", directory.latest())));
                    }
                }
                directory.finish(&model)?;
                println!("{operations} operations in {:.1} s", start.elapsed().as_secs_f64());
                let settling = Instant::now();
                until("status to show what is in the directory", Duration::from_secs(20), || {
                    directory.complaints(&first).is_empty()
                })
                .with_context(|| format!("{:#?}", directory.complaints(&first)))?;
                println!("settled {:.1} s after the last", settling.elapsed().as_secs_f64());
                holds("status shows what is in the directory", Duration::from_millis(1500), || {
                    directory.complaints(&first).is_empty()
                })
                .with_context(|| format!("{:#?}", directory.complaints(&first)))
            })();
            done.store(true, Ordering::Relaxed);
            worked
        });
        worked?;
        let (looks, wrong) = looks.into_inner().expect("no thread panics with it");
        if let Some(wrong) = wrong {
            return Err(wrong);
        }
        println!("{looks} looks at status; {}", directory.summary());
        ensure!(looks > operations / 20, "only {looks} looks");
        ensure!(lasting(&first, &second)? == before, "{:?} became {:?}", before, lasting(&first, &second)?);
        ensure!(site.holders().lost(Node::Nginx01, VIP, start).is_none(), "{:?}", site.holders());
        ensure!(site.holders().now(VIP) == [Node::Nginx01]);
        let sent = capture.advertisements(Node::Nginx01, VRID, start);
        let gap = longest_gap(sent.iter().map(|a| a.at), start, Instant::now());
        println!("longest gap between advertisements: {:.3} s", gap.as_secs_f64());
        ensure!(gap <= Duration::from_millis(1100), "a gap of {gap:?} between advertisements");
        ensure!(sent.iter().all(|a| a.priority() == 150), "the priority changed");
        ensure!(capture.advertisements(Node::Nginx02, VRID, start).is_empty(), "the backup sent advertisements");
        Ok(())
    });
}
