//! `vouchd config check`: files, directories, standard input and permissions.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::ensure;
use vouchd_tests::command::{Output, install_into};
use vouchd_tests::vouchd::{Files, binary};
use vouchd_tests::{Need, Node, system_test};

use super::check;

/// The examples of `docs/replacing-scripts.md`.
#[test]
fn examples_for_replacing_scripts_are_accepted_without_a_warning() {
    system_test("what replaces scripts", &[Need::Vouchd], |site| {
        let page = include_str!("../../../../docs/replacing-scripts.md");
        let mut blocks = 0;
        for block in page.split("\n```toml\n").skip(1).filter_map(|rest| rest.split("\n```").next()) {
            blocks += 1;
            let names = block.lines().filter_map(|line| line.strip_prefix("[check.")?.strip_suffix(']'));
            let names: Vec<_> = names.filter(|name| !name.contains('.')).collect();
            ensure!(!names.is_empty(), "no check in:\n{block}");
            let instance = format!(
                "[instance.web]\ninterface = \"lo\"\nvirtual_router_id = 55\naddresses = [\"192.0.2.1\"]\nchecks = {names:?}\n"
            );
            let (output, _) = check(site, &format!("{block}\n\n{instance}"))?;
            ensure!(output.code == Some(0) && !output.text().contains("warning"), "{output:?}\n{block}");
        }
        ensure!(blocks >= 15, "{blocks} blocks");
        Ok(())
    });
}

/// Exit status and output of `vouchd config check` with these arguments and this standard input.
fn config_check(args: &[&str], input: &str) -> anyhow::Result<(Option<i32>, String)> {
    let mut command = Command::new(binary());
    command.args(["config", "check"]).args(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A command that reads no input may have ended.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = Output::from(child.wait_with_output()?);
    Ok((output.code, output.text()))
}

#[test]
fn file_not_yet_installed_is_checked_with_the_rest_of_the_configuration() {
    system_test("validate", &[Need::Vouchd], |site| {
        let files = Files::new(site, Node::Nginx01)?;
        files.write_config("nginx01", "")?;
        let main = fs::read_to_string(files.config())?;
        let dir = site.dir("vouchd-nginx01")?;
        let dir = dir.to_str().unwrap_or_default();
        let instance = "[instance.web]\ninterface = \"lo\"\nvirtual_router_id = 1\naddresses = [\"192.0.2.1\"]\nchecks = [\"c\"]\n";
        let check = "[check.c]\nplugin = \"process\"\nparams = { name = \"a\" }\nallow = { process = [\"a\"] }\n";
        fs::write(files.drop_in("c.toml"), check)?;
        let temporary = site.dir("tmp")?.join("ansible.tmp");
        fs::write(&temporary, format!("{main}\n{instance}"))?;
        let temporary = temporary.to_str().unwrap_or_default();

        // By itself, it lacks the check in conf.d.
        let (code, said) = config_check(&[temporary], "")?;
        ensure!(code == Some(2) && said.contains("there is no such check"), "{code:?}: {said}");
        let (code, said) = config_check(&[temporary, "--with-dir", dir, "--strict"], "")?;
        ensure!(code == Some(0) && said.contains("1 instance, 1 check, no errors"), "{code:?}: {said}");
        let (code, said) = config_check(&["-", "--with-dir", dir], &format!("{main}\n{instance}rise = 1\n"))?;
        ensure!(code == Some(2) && said.contains("standard input:"), "{code:?}: {said}");

        // A drop-in, checked in the place of the existing file.
        let bad = check.replace("process", "proces");
        let (code, said) = config_check(&["-", "--with-dir", dir, "--as", "conf.d/c.toml"], &bad)?;
        ensure!(code == Some(2) && said.contains("standard input:2:10"), "{code:?}: {said}");
        let (code, said) = config_check(&["-", "--with-dir", dir, "--as", "conf.d/c.toml"], check)?;
        ensure!(code == Some(0), "{code:?}: {said}");
        let (code, said) = config_check(&["-", "--with-dir", dir, "--as", "conf.d/c.conf"], check)?;
        ensure!(code == Some(2) && said.contains("a name that ends in .toml"), "{code:?}: {said}");

        // Names that the daemon does not read, and other spellings of those that it reads.
        for name in [
            "web.toml",
            "x.toml",
            "sub/x.toml",
            "../x.toml",
            "../vouchd.toml",
            "conf.d",
            "conf.d/sub/x.toml",
            "conf.d/../x.toml",
            "conf.d/../conf.d/x.toml",
            "conf.d/.x.toml",
            "sub/vouchd.toml",
            ".",
            &format!("{dir}/conf.d/x.toml"),
        ] {
            let (code, said) = config_check(&["-", "--with-dir", dir, "--as", name], check)?;
            ensure!(
                code == Some(2) && (said.contains("expected a name") || said.contains("expected one in DIR")),
                "{name}: {code:?}: {said}"
            );
        }
        for name in ["./conf.d/c.toml", "conf.d//c.toml"] {
            let (code, said) = config_check(&["-", "--with-dir", dir, "--as", name], check)?;
            ensure!(code == Some(0), "{name}: {code:?}: {said}");
        }
        let (code, said) = config_check(&["-", "--with-dir", dir, "--as", "vouchd.toml"], &main)?;
        ensure!(code == Some(0) && said.contains("standard input: 0 instances, 1 check"), "{code:?}: {said}");

        // `--strict` makes a warning an error.
        let unused = format!("{main}\n{}", check.replace("[check.c]", "[check.d]"));
        for (args, expected) in [(&["-"][..], 0), (&["-", "--strict"], 2)] {
            let (code, said) = config_check(args, &unused)?;
            ensure!(code == Some(expected) && said.contains("warning: standard input:"), "{code:?}: {said}");
        }
        Ok(())
    });
}

#[test]
fn pipes_and_devices_are_rejected_without_waiting() {
    system_test("a named pipe", &[Need::Vouchd], |site| {
        let dir = site.dir("pipes")?;
        let pipe = dir.join("vouchd.toml");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU)?;
        let (pipe, dir) = (pipe.to_str().unwrap_or_default(), dir.to_str().unwrap_or_default());
        for (args, words) in [
            (&[pipe][..], "it is a named pipe; expected a regular file"),
            (&["-", "--with-dir", dir, "--as", "conf.d/a.toml"], "it is a named pipe"),
            (&["/dev/zero"], "it is a device"),
        ] {
            let (code, said) = config_check(args, "")?;
            ensure!(code == Some(2) && said.contains(words), "{args:?}: {code:?}: {said}");
        }
        // Pipes with a writer are read.
        let output = Command::new("bash")
            .args(["-c", "\"$0\" config check <(echo) && echo | \"$0\" config check /dev/stdin"])
            .arg(binary())
            .output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    });
}

#[test]
fn summary_says_if_there_are_more_errors() {
    system_test("many lines", &[Need::Vouchd], |_| {
        for (lines, words) in [(20, "standard input: 20 errors, "), (21, "standard input: 20 errors and more, ")] {
            let (code, said) = config_check(&["-"], &"priority 100\n".repeat(lines))?;
            ensure!(code == Some(2) && said.contains(words), "{lines}: {code:?}: {said}");
        }
        Ok(())
    });
}

#[test]
fn unknown_user_is_reported() {
    system_test("no such user", &[Need::Vouchd], |_| {
        let (code, said) = config_check(&["-"], "[daemon]\nuser = \"nosuchuser\"\n")?;
        let place = "standard input:2:8: daemon.user = \"nosuchuser\": this host has no such user";
        ensure!(said.contains(place), "{code:?}: {said}");
        let (strict, said) = config_check(&["-", "--strict"], "[daemon]\nuser = \"nosuchuser\"\n")?;
        ensure!(strict == Some(2), "{strict:?}: {said}");
        let (code, said) = config_check(&["-"], "[daemon]\nuser = \"root\"\n")?;
        ensure!(code == Some(2) && said.contains("this is root"), "{code:?}: {said}");
        Ok(())
    });
}

#[test]
fn all_errors_are_reported_at_once_including_plugins_and_files() {
    system_test("all errors", &[Need::Vouchd], |site| {
        let files = Files::new(site, Node::Nginx01)?;
        let whole = fs::read(files.builtin_plugin_dir().join("http.wasm"))?;
        fs::write(files.plugin_dir().join("cut.wasm"), &whole[..whole.len() / 2])?;
        for name in ["a.conf", "b.toml~", ".c.toml", "d.toml.rpmsave"] {
            fs::write(files.drop_in(name), "not read")?;
        }
        fs::write(files.drop_in("e.toml"), "colour = 1\n")?;
        let zeros = "0".repeat(64);
        files.write_config(
            "nginx01",
            &format!(
                "[check.a]\nplugin = \"process\"\nparams = {{ name = \"a\", mni = 1, max = \"x\" }}\nsha256 = \"{zeros}\"\n\
                 [check.b]\nplugin = \"cut\"\nrise = 0\n[check.c]\nplugin = \"cut\"\n[check.d]\nplugin = \"none\"\n"
            ),
        )?;
        let (code, said) = config_check(&[files.config().to_str().unwrap_or_default()], "")?;
        ensure!(code == Some(2), "{code:?}: {said}");
        for words in [
            "params.mni = 1: plugin process has no such parameter",
            "params.max = \"x\": expected a whole number",
            "process.wasm has ",
            "check.b.rise = 0",
            "cut.wasm: damaged or cut off",
            "there is no such plugin",
            "e.toml:1:1: colour: unknown key",
            "a.conf: not read",
            "b.toml~: not read",
            ".c.toml: not read",
            "d.toml.rpmsave: not read",
        ] {
            ensure!(said.contains(words), "{words} expected in:\n{said}");
        }
        Ok(())
    });
}

#[test]
fn file_readable_only_by_root_is_reported_with_the_mode_that_works() {
    system_test("permissions", &[Need::Vouchd], |_| {
        let dir = tempfile::tempdir()?;
        let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
        mode(dir.path(), 0o755)?;
        let binary = install_into(dir.path())?;
        let (main, conf_d) = (dir.path().join("etc/vouchd.toml"), dir.path().join("etc/conf.d"));
        fs::create_dir_all(&conf_d)?;
        fs::write(&main, "")?;
        fs::write(conf_d.join("a.toml"), "")?;
        let etc = dir.path().join("etc");
        for (path, closed, open, works) in [
            (&main, 0o600, 0o644, "0640"),
            // The right mode, but the user is not in the group.
            (&main, 0o640, 0o644, "0640"),
            (&conf_d.join("a.toml"), 0o600, 0o644, "0640"),
            (&conf_d, 0o700, 0o755, "0750"),
            (&etc, 0o700, 0o755, "0750"),
        ] {
            mode(path, closed)?;
            let mut command = Command::new("setpriv");
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(&binary);
            let output = Output::of(command.args(["config", "check"]).arg(&main))?;
            ensure!(output.code == Some(2), "{output:?}");
            let said = output.stderr;
            let advice = format!("`chown root:vouchd {0} && chmod {works} {0}`", path.display());
            ensure!(said.contains(&advice), "{advice} expected in:\n{said}");
            ensure!(said.contains(&format!("which has the mode {closed:04o}")), "{said}");
            mode(path, open)?;
        }
        Ok(())
    });
}
