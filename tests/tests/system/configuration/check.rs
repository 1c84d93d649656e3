//! Configurations that are wrong are refused with the place, the value and what was expected.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::ensure;
use serde_json::Value;
use vouchd_tests::site::Site;
use vouchd_tests::vouchd::{Files, binary, builtin_plugins};
use vouchd_tests::{Need, Node, system_test};

const GOOD: &str = r#"
[check.nginx]
plugin = "process"
params = { name = "nginx" }
interval = "1s"
weight = -40
allow = { process = ["nginx"] }

[instance.web]
interface = "ens33"
virtual_router_id = 55
priority = 100
addresses = ["192.168.175.100"]
checks = ["nginx"]

[instance.other]
interface = "ens33"
virtual_router_id = 56
addresses = ["192.168.175.99"]
"#;

/// A change that makes the good configuration bad.
struct Bad {
    name: &'static str,
    change: (&'static str, &'static str),
    /// Text in the line that the error must name.
    line: &'static str,
    /// What the error must say.
    words: &'static [&'static str],
}

const BAD: [Bad; 11] = [
    Bad {
        name: "an unknown key",
        change: ("priority = 100", "prioritty = 100"),
        line: "prioritty",
        words: &["prioritty", "priority"],
    },
    Bad { name: "a wrong type", change: ("priority = 100", "priority = \"high\""), line: "priority", words: &["high"] },
    Bad { name: "a syntax error", change: ("priority = 100", "priority = = 100"), line: "priority", words: &[] },
    Bad {
        name: "the same virtual router twice",
        change: ("virtual_router_id = 56", "virtual_router_id = 55 # again"),
        line: "# again",
        words: &["55", "web"],
    },
    Bad {
        name: "a plugin that is not there",
        change: ("plugin = \"process\"", "plugin = \"proces\""),
        line: "proces\"",
        words: &["proces", "process"],
    },
    Bad {
        name: "a bad address",
        change: ("192.168.175.100", "192.168.175.1000"),
        line: "192.168.175.1000",
        words: &["192.168.175.1000"],
    },
    Bad {
        name: "a weight out of range",
        change: ("weight = -40", "weight = -400"),
        line: "weight",
        words: &["-400", "253"],
    },
    Bad {
        name: "virtual router 0",
        change: ("virtual_router_id = 55", "virtual_router_id = 0"),
        line: "virtual_router_id = 0",
        words: &["0", "1", "255"],
    },
    Bad {
        name: "virtual router 256",
        change: ("virtual_router_id = 55", "virtual_router_id = 256"),
        line: "256",
        words: &["256", "1", "255"],
    },
    Bad {
        name: "two families in one instance",
        change: ("[\"192.168.175.100\"]", "[\"192.168.175.100\", \"fe80::1\"]"),
        line: "fe80",
        words: &["fe80::1", "IPv4"],
    },
    Bad {
        name: "a check that is not there",
        change: ("checks = [\"nginx\"]", "checks = [\"ngnix\"]"),
        line: "checks",
        words: &["ngnix", "nginx"],
    },
];

/// Exit status and what is said of a configuration.
fn check(site: &Site, node: Node, rest: &str) -> anyhow::Result<(Option<i32>, String, String)> {
    let files = Files::new(site, node)?;
    files.write_config("nginx01", rest)?;
    let output = Command::new(binary()).args(["config", "check"]).arg(files.config()).output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    Ok((output.status.code(), said, files.config().display().to_string()))
}

#[test]
fn a_good_configuration_is_accepted() {
    system_test("a good configuration", &[Need::Vouchd], |site| {
        let (code, said, _) = check(site, Node::Nginx01, GOOD)?;
        ensure!(code == Some(0), "{code:?}: {said}");
        Ok(())
    });
}

#[test]
fn a_bad_configuration_is_refused_with_its_place_and_what_was_expected() {
    system_test("bad configurations", &[Need::Vouchd], |site| {
        let mut wrong = Vec::new();
        for bad in &BAD {
            let text = GOOD.replacen(bad.change.0, bad.change.1, 1);
            let (code, said, path) = check(site, Node::Nginx01, &text)?;
            let file = fs::read_to_string(&path)?;
            let line = 1 + file.lines().position(|line| line.contains(bad.line)).unwrap_or(0);
            let place = format!("{path}:{line}:");
            let column =
                said.split_once(&place).map(|(_, rest)| rest.split(':').next().unwrap_or_default().parse::<u32>());
            let is_right =
                code == Some(2) && matches!(column, Some(Ok(1..))) && bad.words.iter().all(|word| said.contains(word));
            if !is_right {
                wrong.push(format!(
                    "{}: exit {code:?}, expected 2; {place}COLUMN and {:?} expected in:\n{said}",
                    bad.name, bad.words
                ));
            }
        }
        ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
        Ok(())
    });
}

#[test]
fn the_daemon_does_not_start_with_a_bad_configuration() {
    system_test("run with a bad configuration", &[Need::Vouchd], |site| {
        let files = Files::new(site, Node::Nginx01)?;
        files.write_config("nginx01", &GOOD.replace("weight = -40", "weight = -400"))?;
        let output = Command::new(binary()).args(["run", "-c"]).arg(files.config()).output()?;
        ensure!(output.status.code() == Some(2), "exit status {}", output.status);
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(said.contains("vouchd.toml:") && said.contains("-400"), "{said}");
        Ok(())
    });
}

/// Parameters of the plugins that ship, wrong in every way.
const PARAMS: [(&str, &str, &str, &str); 8] = [
    (
        "process",
        "{ name = \"nginx\", mni = 1 }",
        "mni",
        "params.mni = 1: plugin process has no such parameter (did you mean `min`?)",
    ),
    ("process", "{ name = \"nginx\", min = \"many\" }", "\"many\"", "params.min = \"many\": expected a whole number"),
    ("http", "{ status = 200 }", "params", "params: `url` is missing; plugin http needs it"),
    ("file", "{ path = \"/x\", max_age = 5 }", "5", "params.max_age = 5: expected a duration with its unit"),
    ("disk", "{ path = \"/\", free = { wran = \"5%\" } }", "wran", "expected one of: free.warn, free.fail"),
    ("pressure", "{ window = 70000, cpu.warn = 5 }", "70000", "expected a whole number from 0 to 65535"),
    ("tls", "{ address = \"a:1\", verify = 1 }", "1 }", "params.verify = 1: expected true or false"),
    ("vip", "{ address = [\"192.0.2.1\"], link = [\"a\", \"b\"] }", "\"b\"", "expected a string, found a list"),
];

#[test]
fn a_wrong_parameter_of_a_plugin_is_told_with_its_place() {
    system_test("wrong parameters", &[Need::Vouchd], |site| {
        for (plugin, params, at, words) in PARAMS {
            let line = format!("params = {params}");
            let text = format!("[check.c]\nplugin = \"{plugin}\"\n{line}\n");
            let (code, said, path) = check(site, Node::Nginx01, &text)?;
            let row = 1 + fs::read_to_string(&path)?.lines().position(|found| found == line).unwrap_or(0);
            let column = 1 + line.rfind(at).unwrap_or(0);
            let place = format!("{path}:{row}:{column}: check.c.params");
            ensure!(code == Some(2), "{plugin} {params}: exit {code:?}: {said}");
            ensure!(
                said.contains(&place) && said.contains(words),
                "{plugin} {params}: expected {place} and {words:?} in:\n{said}"
            );
        }
        let text = "[check.c]\nplugin = \"file\"\nparams = { path = \"/x\", max_age = \"1d\" }\n";
        let (code, said, _) = check(site, Node::Nginx01, text)?;
        ensure!(code == Some(0), "{code:?}: {said}");
        Ok(())
    });
}

#[test]
fn what_a_plugin_takes_is_shown_without_running_it() {
    system_test("plugin inspect", &[Need::Vouchd], |_| {
        let file = builtin_plugins().join("disk.wasm");
        let output = Command::new(binary()).args(["plugin", "inspect", "--json"]).arg(&file).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let found: Value = serde_json::from_slice(&output.stdout)?;
        ensure!(found["error"].is_null() && found["params_error"].is_null(), "{found}");
        ensure!(found["plugin"]["allow"] == "allow = { files = [\"/PATH\"] }", "{found}");
        let params: Vec<_> = found["params"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|p| (&p["name"], &p["type"], &p["required"]))
            .collect();
        let expected = [
            ("path", "text", true),
            ("free", "table", false),
            ("free.warn", "text", false),
            ("free.fail", "text", false),
            ("inodes", "table", false),
            ("inodes.warn", "text", false),
            ("inodes.fail", "text", false),
        ];
        ensure!(params.len() == expected.len(), "{params:?}");
        for (found, (name, kind, needed)) in params.into_iter().zip(expected) {
            ensure!(
                found == (&name.into(), &kind.into(), &needed.into()),
                "{found:?}, expected {name} {kind} {needed}"
            );
        }
        Ok(())
    });
}

/// What `docs/replacing-scripts.md` puts in the place of scripts, block by block.
#[test]
fn what_replaces_scripts_is_accepted_without_a_warning() {
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
            let (code, said, _) = check(site, Node::Nginx01, &format!("{block}\n\n{instance}"))?;
            ensure!(code == Some(0), "{code:?}: {said}\n{block}");
            ensure!(!said.contains("warning"), "{said}\n{block}");
        }
        ensure!(blocks >= 15, "{blocks} blocks");
        Ok(())
    });
}

/// `vouchd config check` with these arguments and this standard input.
fn config_check(args: &[&str], input: &str) -> anyhow::Result<(Option<i32>, String)> {
    let mut command = Command::new(binary());
    command.args(["config", "check"]).args(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A check that needs no input may have ended.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    Ok((output.status.code(), said))
}

#[test]
fn a_file_that_is_not_in_its_place_yet_is_checked_with_the_rest_of_its_configuration() {
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

        // Alone, it lacks the check that is in conf.d.
        let (code, said) = config_check(&[temporary], "")?;
        ensure!(code == Some(2) && said.contains("there is no such check"), "{code:?}: {said}");
        let (code, said) = config_check(&[temporary, "--with-dir", dir, "--strict"], "")?;
        ensure!(code == Some(0) && said.contains("1 instance, 1 check, no errors"), "{code:?}: {said}");
        let (code, said) = config_check(&["-", "--with-dir", dir], &format!("{main}\n{instance}rise = 1\n"))?;
        ensure!(code == Some(2) && said.contains("standard input:"), "{code:?}: {said}");

        // A drop-in, as new text for the file that is there.
        let bad = check.replace("process", "proces");
        let (code, said) = config_check(&["-", "--with-dir", dir, "--as", "conf.d/c.toml"], &bad)?;
        ensure!(code == Some(2) && said.contains("standard input:2:10"), "{code:?}: {said}");
        let (code, said) = config_check(&["-", "--with-dir", dir, "--as", "conf.d/c.toml"], check)?;
        ensure!(code == Some(0), "{code:?}: {said}");
        let (code, said) = config_check(&["-", "--with-dir", dir, "--as", "conf.d/c.conf"], check)?;
        ensure!(code == Some(2) && said.contains("a name that ends in .toml"), "{code:?}: {said}");

        // Names that the daemon does not read, and other ways to write those that it does.
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

        // A warning is an error where that is wanted.
        let unused = format!("{main}\n{}", check.replace("[check.c]", "[check.d]"));
        for (args, expected) in [(&["-"][..], 0), (&["-", "--strict"], 2)] {
            let (code, said) = config_check(args, &unused)?;
            ensure!(code == Some(expected) && said.contains("warning: standard input:"), "{code:?}: {said}");
        }
        Ok(())
    });
}

#[test]
fn what_nobody_may_ever_write_to_is_not_waited_for() {
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
        // These have a writer.
        let output = Command::new("bash")
            .args(["-c", "\"$0\" config check <(echo) && echo | \"$0\" config check /dev/stdin"])
            .arg(binary())
            .output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    });
}

#[test]
fn the_summary_says_that_there_is_more() {
    system_test("many lines", &[Need::Vouchd], |_| {
        for (lines, words) in [(20, "standard input: 20 errors, "), (21, "standard input: 20 errors and more, ")] {
            let (code, said) = config_check(&["-"], &"priority 100\n".repeat(lines))?;
            ensure!(code == Some(2) && said.contains(words), "{lines}: {code:?}: {said}");
        }
        Ok(())
    });
}

#[test]
fn a_user_that_does_not_exist_is_told() {
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
fn everything_that_is_wrong_is_told_at_once_plugins_and_files_included() {
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
            "a.conf: left out",
            "b.toml~: left out",
            ".c.toml: left out",
            "d.toml.rpmsave: left out",
        ] {
            ensure!(said.contains(words), "{words} expected in:\n{said}");
        }
        Ok(())
    });
}

#[test]
fn a_file_that_only_root_can_read_is_told_with_the_mode_that_works() {
    system_test("permissions", &[Need::Vouchd], |_| {
        let dir = tempfile::tempdir()?;
        let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
        mode(dir.path(), 0o755)?;
        let binary = dir.path().join("vouchd");
        fs::copy(vouchd_tests::vouchd::binary(), &binary)?;
        let (main, conf_d) = (dir.path().join("etc/vouchd.toml"), dir.path().join("etc/conf.d"));
        fs::create_dir_all(&conf_d)?;
        fs::write(&main, "")?;
        fs::write(conf_d.join("a.toml"), "")?;
        let etc = dir.path().join("etc");
        for (path, closed, open, works) in [
            (&main, 0o600, 0o644, "0640"),
            // As it should be, for somebody who is not in the group.
            (&main, 0o640, 0o644, "0640"),
            (&conf_d.join("a.toml"), 0o600, 0o644, "0640"),
            (&conf_d, 0o700, 0o755, "0750"),
            (&etc, 0o700, 0o755, "0750"),
        ] {
            mode(path, closed)?;
            let mut command = Command::new("setpriv");
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(&binary);
            let output = command.args(["config", "check"]).arg(&main).output()?;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            ensure!(output.status.code() == Some(2), "{}: {said}", output.status);
            let advice = format!("`chown root:vouchd {0} && chmod {works} {0}`", path.display());
            ensure!(said.contains(&advice), "{advice} expected in:\n{said}");
            ensure!(said.contains(&format!("which has the mode {closed:04o}")), "{said}");
            mode(path, open)?;
        }
        Ok(())
    });
}
