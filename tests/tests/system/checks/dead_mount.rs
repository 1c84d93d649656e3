//! A file system that does not answer affects the checks that look at it, and nothing else.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use anyhow::{Context, ensure};
use vouchd_tests::dead_mount::DeadMount;
use vouchd_tests::pair::VRID;
use vouchd_tests::site::INTERFACE;
use vouchd_tests::vouchd::{Files, Vouchd};
use vouchd_tests::wait::{holds, until};
use vouchd_tests::{Need, Node, VIP, system_test};

/// The most threads of the checker: its usual ones, and a few that wait.
const THREADS: usize = 40;

fn instance(checks: &str) -> String {
    format!(
        "[instance.web]\ninterface = \"{INTERFACE}\"\nvirtual_router_id = {VRID}\naddresses = [\"{VIP}\"]\n\
         checks = [{checks}]\n"
    )
}

fn file_check(name: &str, path: &str) -> String {
    format!(
        "[check.{name}]\nplugin = \"file\"\ninterval = \"100ms\"\ntimeout = \"300ms\"\nparams = {{ path = {path:?} }}\n\
         allow = {{ files = [{path:?}] }}\n"
    )
}

#[test]
fn dead_mount_affects_only_checks_that_look_at_it() {
    system_test("a dead mount under checks", &[Need::Vouchd], |site| {
        let node = Node::Nginx01;
        let dir = site.dir("mounts")?;
        let (dead, good) = (dir.join("dead"), dir.join("good"));
        fs::create_dir(&dead)?;
        fs::write(&good, "up")?;
        let mount = DeadMount::over(site.host(node), &dead)?;
        let path = |name: &str| dead.join(name).display().to_string();
        let mut config = instance("\"healthy\"");
        config += &file_check("healthy", &good.display().to_string());
        for number in 0..12 {
            config += &file_check(&format!("dead{number}"), &path(&format!("flag{number}")));
        }
        let _ = writeln!(
            config,
            "[check.pid]\nplugin = \"process\"\ninterval = \"100ms\"\ntimeout = \"300ms\"\n\
             params = {{ pid_file = {pid:?} }}\nallow = {{ process = true, files = [{pid:?}] }}\n\
             [check.space]\nplugin = \"disk\"\ninterval = \"100ms\"\ntimeout = \"300ms\"\n\
             params = {{ path = {disk:?}, free = {{ fail = \"1%\" }} }}\nallow = {{ files = [{disk:?}] }}",
            pid = path("pid"),
            disk = path("disk"),
        );
        // An ordinary plugin in the same directory as a link to the mount.
        config += &file_check("own", &good.display().to_string()).replace("\"file\"", "\"own\"");
        config += "[check.linked]\nplugin = \"linked\"\n";
        let files = Files::new(site, node)?;
        fs::copy(files.builtin_plugin_dir().join("file.wasm"), files.plugin_dir().join("own.wasm"))?;
        symlink(dead.join("linked.wasm"), files.plugin_dir().join("linked.wasm"))?;
        let vouchd = Vouchd::start_with(site, node, files, &config)?;
        vouchd.wait_state("web", "active", Duration::from_secs(20))?;
        until("the plugin next to the link to run", Duration::from_secs(20), || {
            vouchd.check("own").is_ok_and(|check| check["verdict"] == "pass")
        })
        .with_context(|| format!("{:?}", vouchd.check("own")))?;
        until("the link's check to name the cause", Duration::from_secs(20), || {
            vouchd.check("linked").is_ok_and(|check| {
                check["message"].as_str().is_some_and(|text| text.contains("its file system does not answer"))
            })
        })
        .with_context(|| format!("{:?}", vouchd.check("linked")))?;
        let stuck: Vec<String> =
            (0..12).map(|number| format!("dead{number}")).chain(["pid", "space"].map(str::to_owned)).collect();
        let error = |name: &str| -> Option<String> {
            let check = vouchd.check(name).ok()?;
            (check["verdict"] == "error").then(|| check["message"].as_str().unwrap_or_default().to_owned())
        };
        until("every check of the mount to run forty times", Duration::from_secs(60), || {
            vouchd.status().is_ok_and(|status| {
                let checks = status["checks"].as_array().into_iter().flatten();
                let dead = checks.filter(|check| stuck.iter().any(|name| check["name"] == name.as_str()));
                dead.into_iter().all(|check| check["runs"].as_u64() >= Some(40))
            })
        })?;
        for name in &stuck {
            let message = error(name).with_context(|| format!("{name}: {:?}", vouchd.check(name)))?;
            let expected = format!("the file system under {} (fuse.dead) has not answered for ", dead.display());
            ensure!(message.contains(&expected), "{name}: {message}");
        }
        let threads = fs::read_dir(format!("/proc/{}/task", vouchd.checker()?))?.count();
        println!("{threads} threads");
        ensure!(threads <= THREADS, "the checker has {threads} threads");
        holds("the healthy check passes", Duration::from_secs(3), || {
            vouchd.check("healthy").is_ok_and(|check| check["verdict"] == "pass")
        })?;
        ensure!(vouchd.status()?["checker"]["restarts"] == 0, "{}", vouchd.status()?["checker"]);
        ensure!(vouchd.instance("web")?["state"] == "active", "{}", vouchd.instance("web")?);

        mount.answer();
        until("the checks of the mount to be answered", Duration::from_secs(20), || {
            stuck.iter().all(|name| !error(name).is_some_and(|message| message.contains("not answer")))
        })?;
        Ok(())
    });
}

#[test]
fn daemon_starts_and_stops_with_dead_directories() {
    system_test("dead directories", &[Need::Vouchd], |site| {
        let node = Node::Nginx01;
        let dir = site.dir("mounts")?;
        let (dead, good) = (dir.join("dead"), dir.join("good"));
        fs::create_dir(&dead)?;
        fs::write(&good, "up")?;
        let _mount = DeadMount::over(site.host(node), &dead)?;
        let mut config = instance("\"healthy\"");
        config += &file_check("healthy", &good.display().to_string());
        config += "[check.mine]\nplugin = \"mine\"\n";
        config += &file_check("dead", &dead.join("flag").display().to_string());
        let files = Files::new(site, node)?.with_plugin_dir(dead.join("plugins")).with_cache_dir(dead.join("cache"));
        let vouchd = Vouchd::start_with(site, node, files, &config)?;
        vouchd.wait_state("web", "active", Duration::from_secs(60))?;
        ensure!(vouchd.check("healthy")?["verdict"] == "pass", "{}", vouchd.check("healthy")?);
        until("the check of the missing plugin to name the cause", Duration::from_secs(10), || {
            vouchd.check("mine").is_ok_and(|check| {
                check["message"].as_str().is_some_and(|text| text.contains("its file system does not answer"))
            })
        })
        .with_context(|| format!("{:?}", vouchd.check("mine")))?;
        let log = vouchd.process.log();
        ensure!(log.contains("so every start compiles all plugins again: the file system under"), "{log}");
        // So that it stops with a thread that nothing can end.
        until("a call to hang", Duration::from_secs(10), || {
            vouchd.check("dead").is_ok_and(|check| check["verdict"] == "error")
        })?;
        let status = vouchd.stop()?;
        ensure!(status.success(), "{status}");
        Ok(())
    });
}
