//! Changed configuration files are loaded, however the change is made, and a file system that does not answer never blocks
//! the daemon.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use anyhow::ensure;
use vouchd_tests::dead_mount::DeadMount;
use vouchd_tests::site::Site;
use vouchd_tests::vouchd::{Files, Vouchd};
use vouchd_tests::wait::{holds, until};
use vouchd_tests::{Need, Node, VIP, system_test};

const WEB: &str = "web";

/// An instance. Its priority shows which text is loaded.
fn instance(priority: u8) -> String {
    format!(
        "[instance.{WEB}]\ninterface = \"{}\"\nvirtual_router_id = 55\npriority = {priority}\naddresses = [\"{VIP}\"]\n",
        vouchd_tests::site::INTERFACE
    )
}

fn base(vouchd: &Vouchd) -> Option<u64> {
    vouchd.instance(WEB).ok()?["priority"]["base"].as_u64()
}

#[track_caller]
fn loads(vouchd: &Vouchd, priority: u64) -> anyhow::Result<()> {
    until(&format!("priority {priority}"), Duration::from_secs(10), || base(vouchd) == Some(priority))
}

fn start(site: &Site, main: &str, prepare: impl FnOnce(&Files) -> anyhow::Result<()>) -> anyhow::Result<Vouchd> {
    let files = Files::without_builtins(site, Node::Nginx01)?;
    prepare(&files)?;
    let vouchd = Vouchd::start_with(site, Node::Nginx01, files, main)?;
    until("the instance", Duration::from_secs(5), || base(&vouchd).is_some())?;
    Ok(vouchd)
}

/// Replaces a link as Kubernetes does: makes a new one beside it, then renames that.
fn swap(target: &str, link: &Path) -> anyhow::Result<()> {
    let new = link.with_file_name("..new");
    symlink(target, &new)?;
    Ok(fs::rename(new, link)?)
}

#[test]
fn swapped_data_link_of_a_config_map_is_loaded() {
    system_test("a ConfigMap", &[Need::Vouchd], |site| {
        let vouchd = start(site, "", |files| {
            let dir = files.drop_in("..2026_1");
            fs::create_dir_all(&dir)?;
            fs::write(dir.join("web.toml"), instance(101))?;
            symlink("..2026_1", files.drop_in("..data"))?;
            Ok(symlink("..data/web.toml", files.drop_in("web.toml"))?)
        })?;
        loads(&vouchd, 101)?;
        for (version, priority) in [("..2026_2", 102), ("..2026_3", 103)] {
            let dir = vouchd.files.drop_in(version);
            fs::create_dir_all(&dir)?;
            fs::write(dir.join("web.toml"), instance(priority))?;
            swap(version, &vouchd.files.drop_in("..data"))?;
            loads(&vouchd, priority.into())?;
        }
        Ok(())
    });
}

#[test]
fn link_targets_and_every_directory_on_the_way_are_watched() {
    system_test("links", &[Need::Vouchd], |site| {
        let elsewhere = site.dir("elsewhere")?;
        let releases = site.dir("releases")?;
        let vouchd = start(site, "", |files| {
            fs::write(elsewhere.join("text"), instance(101))?;
            Ok(symlink(elsewhere.join("text"), files.drop_in("web.toml"))?)
        })?;
        loads(&vouchd, 101)?;
        // The target is rewritten, then replaced.
        fs::write(elsewhere.join("text"), instance(102))?;
        loads(&vouchd, 102)?;
        fs::write(elsewhere.join("new"), instance(103))?;
        fs::rename(elsewhere.join("new"), elsewhere.join("text"))?;
        loads(&vouchd, 103)?;
        // conf.d becomes a link to a link, and each is swapped.
        for (release, priority) in [("1", 104), ("2", 105)] {
            fs::create_dir_all(releases.join(release))?;
            fs::write(releases.join(release).join("web.toml"), instance(priority))?;
        }
        symlink("1", releases.join("current"))?;
        let conf_d = vouchd.files.drop_in("web.toml");
        let conf_d = conf_d.parent().unwrap_or(Path::new("/"));
        fs::rename(conf_d, conf_d.with_file_name("conf.d.old"))?;
        symlink(releases.join("current"), conf_d)?;
        loads(&vouchd, 104)?;
        swap("2", &releases.join("current"))?;
        loads(&vouchd, 105)?;
        fs::write(releases.join("2/web.toml"), instance(106))?;
        loads(&vouchd, 106)
    });
}

#[test]
fn main_file_is_loaded_only_if_its_text_changes() {
    system_test("the main file", &[Need::Vouchd], |site| {
        let vouchd = start(site, &instance(101), |_| Ok(()))?;
        let loaded_at = || anyhow::Ok(vouchd.status()?["config"]["loaded_at"].clone());
        let file = vouchd.files.config();
        let text = fs::read_to_string(&file)?;
        let replace = |text: &str| -> anyhow::Result<()> {
            fs::write(file.with_extension("new"), text)?;
            Ok(fs::rename(file.with_extension("new"), &file)?)
        };
        replace(&text.replace("101", "102"))?;
        loads(&vouchd, 102)?;
        let before = loaded_at()?;
        replace(&text.replace("101", "102"))?;
        holds("nothing is loaded", Duration::from_secs(2), || loaded_at().is_ok_and(|now| now == before))?;
        // A file that was truncated, as on a full disk, removes nothing.
        fs::write(&file, "")?;
        until("the error", Duration::from_secs(10), || {
            vouchd.status().is_ok_and(|s| s["config"]["error"].as_str().is_some_and(|e| e.contains("it is empty")))
        })?;
        ensure!(base(&vouchd) == Some(102), "{:?}", vouchd.status());
        replace(&text.replace("101", "103"))?;
        loads(&vouchd, 103)?;
        ensure!(vouchd.status()?["config"]["error"].is_null());
        Ok(())
    });
}

#[test]
fn file_still_being_written_is_not_loaded() {
    system_test("a half-written file", &[Need::Vouchd], |site| {
        let other = instance(90).replace(WEB, "other").replace("55", "56").replace(&VIP.to_string(), "192.168.175.99");
        let text = format!("{}\n{other}", instance(101));
        let vouchd = start(site, "", |files| Ok(fs::write(files.drop_in("web.toml"), &text)?))?;
        loads(&vouchd, 101)?;
        // The first instance, which would be a valid file by itself, and the second one a second later.
        let mut file = File::create(vouchd.files.drop_in("web.toml"))?;
        file.write_all(instance(102).as_bytes())?;
        holds("both instances", Duration::from_secs(1), || {
            vouchd.instance("other").is_ok() && base(&vouchd) == Some(101)
        })?;
        file.write_all(format!("\n{other}").as_bytes())?;
        drop(file);
        loads(&vouchd, 102)?;
        ensure!(vouchd.instance("other").is_ok());
        Ok(())
    });
}

/// The error in `status` about the configuration on disk.
fn complaint(vouchd: &Vouchd) -> String {
    vouchd.status().ok().and_then(|status| Some(status["config"]["error"].as_str()?.to_owned())).unwrap_or_default()
}

#[test]
fn dead_drop_in_directory_blocks_neither_start_nor_changes() {
    system_test("a dead conf.d", &[Need::Vouchd], |site| {
        let host = site.host(Node::Nginx01);
        let mut dead = None;
        let vouchd = start(site, &instance(101), |files| {
            let other =
                instance(90).replace(WEB, "other").replace("55", "56").replace("192.168.175.100", "192.168.175.99");
            fs::write(files.drop_in("other.toml"), other)?;
            let file = files.drop_in("other.toml");
            dead = Some(DeadMount::over(host, file.parent().unwrap_or(Path::new("/")))?);
            Ok(())
        })?;
        vouchd.wait_state(WEB, "active", Duration::from_secs(10))?;
        until("the error with its duration", Duration::from_secs(10), || {
            let complaint = complaint(&vouchd);
            complaint.contains("conf.d has not answered for ") && !complaint.contains("for 0 s")
        })?;
        ensure!(vouchd.instance("other").is_err(), "it is in a file that cannot be read");

        // The main file is still loaded, after a change and after SIGHUP.
        let file = vouchd.files.config();
        fs::write(&file, fs::read_to_string(&file)?.replace("101", "102"))?;
        loads(&vouchd, 102)?;
        vouchd.process.signal(nix::sys::signal::Signal::SIGHUP);
        holds("the instance is unchanged", Duration::from_secs(2), || {
            vouchd.instance(WEB).is_ok_and(|web| web["state"] == "active") && base(&vouchd) == Some(102)
        })?;

        if let Some(dead) = dead {
            dead.remove(host)?;
        }
        until("the drop-in", Duration::from_secs(30), || vouchd.instance("other").is_ok())?;
        until("no error", Duration::from_secs(10), || complaint(&vouchd).is_empty())?;

        // The same while it runs: the instance of the drop-in stays.
        let drop_in = vouchd.files.drop_in("other.toml");
        let dead = DeadMount::over(host, drop_in.parent().unwrap_or(Path::new("/")))?;
        until("the error", Duration::from_secs(20), || complaint(&vouchd).contains("has not answered for "))?;
        fs::write(&file, fs::read_to_string(&file)?.replace("102", "103"))?;
        loads(&vouchd, 103)?;
        ensure!(vouchd.instance("other").is_ok(), "its instance was removed");
        dead.remove(host)
    });
}

#[test]
fn dead_file_keeps_its_last_text_and_others_are_loaded() {
    system_test("dead links", &[Need::Vouchd], |site| {
        let host = site.host(Node::Nginx01);
        let (text, other) = (site.dir("text")?, site.dir("other")?);
        let drop_in = |vrid: u8, priority: u8| {
            instance(priority)
                .replace(WEB, &format!("i{vrid}"))
                .replace("= 55", &format!("= {vrid}"))
                .replace(&VIP.to_string(), &format!("192.168.175.{vrid}"))
        };
        fs::write(other.join("far.toml"), drop_in(61, 90))?;
        let mut dead = Some(DeadMount::over(host, &other)?);
        let vouchd = start(site, "", |files| {
            // The main file becomes a link too, later.
            fs::write(text.join("main.toml"), instance(101))?;
            symlink(other.join("far.toml"), files.drop_in("a.toml"))?;
            Ok(fs::write(files.drop_in("b.toml"), instance(101))?)
        })?;
        let base_of = |name: &str| vouchd.instance(name).ok()?["priority"]["base"].as_u64();
        until("the error", Duration::from_secs(10), || complaint(&vouchd).contains("a.toml has not answered for "))?;
        ensure!(base_of("i61").is_none());
        fs::write(vouchd.files.drop_in("b.toml"), instance(102))?;
        loads(&vouchd, 102)?;

        if let Some(dead) = dead.take() {
            dead.remove(host)?;
        }
        until("the other file", Duration::from_secs(40), || base_of("i61") == Some(90))?;

        // The main file's own directory: no instance is removed, and the daemon can still be stopped.
        let main = vouchd.files.config();
        fs::copy(&main, text.join("main.toml"))?;
        fs::rename(&main, main.with_extension("old"))?;
        symlink(text.join("main.toml"), &main)?;
        let _dead = DeadMount::over(host, &text)?;
        until("the error", Duration::from_secs(20), || {
            complaint(&vouchd).contains("vouchd.toml has not answered for ")
        })?;
        fs::write(vouchd.files.drop_in("b.toml"), instance(103))?;
        loads(&vouchd, 103)?;
        vouchd.process.signal(nix::sys::signal::Signal::SIGHUP);
        fs::write(vouchd.files.drop_in("b.toml"), instance(104))?;
        loads(&vouchd, 104)?;
        ensure!(base_of("i61") == Some(90), "{}", vouchd.status()?);
        ensure!(vouchd.stop()?.code() == Some(0));
        Ok(())
    });
}

#[test]
fn new_directory_and_files_saved_by_editors_are_loaded() {
    system_test("editors", &[Need::Vouchd], |site| {
        let vouchd = start(site, &instance(101), |files| {
            let file = files.drop_in("a.toml");
            Ok(fs::remove_dir(file.parent().unwrap_or(Path::new("/")))?)
        })?;
        let second = |priority| instance(priority).replace(WEB, "second").replace("55", "56").replace(".100", ".99");
        let priority = || vouchd.instance("second").ok()?["priority"]["base"].as_u64();
        let file = vouchd.files.drop_in("second.toml");
        fs::create_dir(file.parent().unwrap_or(Path::new("/")))?;
        fs::write(&file, second(10))?;
        until("the new directory", Duration::from_secs(10), || priority() == Some(10))?;
        // As vim saves: the old file is renamed, and a new one is written.
        fs::write(vouchd.files.drop_in("4913"), "")?;
        fs::remove_file(vouchd.files.drop_in("4913"))?;
        fs::rename(&file, vouchd.files.drop_in("second.toml~"))?;
        fs::write(&file, second(20))?;
        fs::remove_file(vouchd.files.drop_in("second.toml~"))?;
        until("the new text", Duration::from_secs(10), || priority() == Some(20))?;
        // A mount over the directory, which inotify does not report.
        let dir = file.parent().unwrap_or(Path::new("/")).display().to_string();
        site.host(Node::Nginx01)
            .sh(&format!("mount -t tmpfs tmpfs {dir} && cat > {dir}/second.toml <<END\n{}END", second(30)))?;
        until("the mounted file", Duration::from_secs(15), || priority() == Some(30))?;
        site.host(Node::Nginx01).sh(&format!("umount {dir}"))?;
        until("the file below the mount", Duration::from_secs(15), || priority() == Some(20))?;
        fs::remove_file(&file)?;
        until("the file gone", Duration::from_secs(10), || vouchd.instance("second").is_err())?;
        ensure!(base(&vouchd) == Some(101));
        Ok(())
    });
}
