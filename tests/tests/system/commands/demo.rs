//! `vouchd demo`, as root and as another user.

use std::process::{Command, Output};

use vouchd_tests::command::install_into;
use vouchd_tests::{Need, requirements, vouchd};

fn shows_both_failovers(output: &Output) {
    let said = String::from_utf8_lossy(&output.stdout);
    let (out, err) = (&said, String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
    for line in ["node-a -> node-b", "node-b -> node-a"] {
        assert!(said.lines().any(|other| other.starts_with(line)), "no line {line}:\n{out}");
    }
    assert!(said.contains("called an election"), "{out}");
    println!("{out}");
}

#[test]
fn demo_shows_a_failover_and_the_way_back() {
    if !requirements::met(&[Need::Vouchd]) {
        return;
    }
    let output = Command::new(vouchd::binary()).args(["demo", "--plugins"]).arg(vouchd::builtin_plugins()).output();
    shows_both_failovers(&output.unwrap());
}

/// The built-in `tcp` takes the part of an author's plugin.
#[test]
fn demo_fails_over_by_an_authors_plugin() {
    if !requirements::met(&[Need::Vouchd]) {
        return;
    }
    let mut demo = Command::new(vouchd::binary());
    demo.args(["demo", "--param", "address=127.0.0.1:80", "--plugin"]).arg(vouchd::builtin_plugins().join("tcp.wasm"));
    let output = demo.args(["--allow", "{ tcp = [\"127.0.0.1:80\"] }"]).output().unwrap();
    shows_both_failovers(&output);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("check web: pass -> fail: 127.0.0.1:80: connection refused"), "{said}");
}

#[test]
fn demo_rejects_a_plugin_that_fails_a_running_service() {
    if !requirements::met(&[Need::Vouchd]) {
        return;
    }
    let mut demo = Command::new(vouchd::binary());
    demo.args(["demo", "--param", "address=127.0.0.1:80", "--plugin"]).arg(vouchd::builtin_plugins().join("tcp.wasm"));
    let output = demo.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("allow = { tcp = [\"127.0.0.1:80\"] }"), "{said}");
    assert!(said.contains("expected pass while the web servers run"), "{said}");
}

#[test]
fn demo_needs_no_root() {
    if !requirements::met(&[Need::Vouchd]) {
        return;
    }
    // A copy that another user can run.
    let dir =
        tempfile::Builder::new().permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755)).tempdir().unwrap();
    let copy = install_into(dir.path()).unwrap();
    for plugin in std::fs::read_dir(vouchd::builtin_plugins()).unwrap().flatten() {
        std::fs::copy(plugin.path(), dir.path().join(plugin.file_name())).unwrap();
    }
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&copy)
        .args(["demo", "--plugins"])
        .arg(dir.path())
        .output()
        .unwrap();
    shows_both_failovers(&output);
}
