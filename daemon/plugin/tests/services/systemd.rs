//! `systemd` through a real D-Bus daemon, against a stand-in for systemd that is written with the reference implementation's
//! library: it owns systemd's name, and has its objects and properties.

use std::fs;
use std::path::Path;

use nix::sys::signal::Signal;
use vouchd_config::Grants;
use vouchd_health::Verdict;

use crate::common::{Params, assert_report, builtin, host, reason};
use crate::server::{Server, can_run, command, directory};
use crate::{checked, unix};

const USER: &str = "messagebus";
const DAEMON: &str = "/usr/bin/dbus-daemon";
const LIBRARIES: [(&str, &str); 2] =
    [("/usr/lib/python3/dist-packages/dbus", "python3-dbus"), ("/usr/lib/python3/dist-packages/gi", "python3-gi")];

/// As strict as the system bus: clients are authenticated by the credentials of their socket.
const CONFIG: &str = r#"<busconfig>
  <type>system</type>
  <listen>unix:path=SOCKET</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus"/>
    <allow send_destination="org.freedesktop.systemd1" send_interface="org.freedesktop.DBus.Properties" send_member="Get"/>
  </policy>
  <policy user="messagebus">
    <allow own="org.freedesktop.systemd1"/>
  </policy>
</busconfig>
"#;

/// Answers from a file with lines of `OBJECT LOAD ACTIVE SUB`, read again for each question.
const SYSTEMD: &str = r#"
import sys
import dbus, dbus.service
from dbus.mainloop.glib import DBusGMainLoop
from gi.repository import GLib

DBusGMainLoop(set_as_default=True)
bus = dbus.bus.BusConnection("unix:path=" + sys.argv[1])

class Units(dbus.service.FallbackObject):
    @dbus.service.method("org.freedesktop.DBus.Properties", "ss", "v", rel_path_keyword="unit")
    def Get(self, interface, name, unit):
        if interface != "org.freedesktop.systemd1.Unit":
            raise dbus.DBusException("no such interface", name="org.freedesktop.DBus.Error.UnknownInterface")
        states = dict(line.split(" ", 1) for line in open(sys.argv[2]))
        state = states.get(unit.strip("/"), "not-found inactive dead").split()
        return dbus.String(dict(zip(["LoadState", "ActiveState", "SubState"], state))[name], variant_level=0)

name = dbus.service.BusName("org.freedesktop.systemd1", bus)
units = Units(bus, "/org/freedesktop/systemd1/unit")
open(sys.argv[2] + ".ready", "w").close()
GLib.MainLoop().run()
"#;

#[tokio::test]
async fn unit_is_judged_by_its_state_on_the_bus() {
    if !can_run(Path::new(DAEMON), "dbus", USER)
        || !LIBRARIES.iter().all(|(path, package)| can_run(Path::new(path), package, USER))
    {
        return;
    }
    let host = host();
    let Some(plugin) = builtin(&host, "systemd") else { return };
    let directory = directory(USER);
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (socket, states) = (path("bus"), path("states"));
    fs::write(path("bus.conf"), CONFIG.replace("SOCKET", &socket)).unwrap();
    let mut daemon = command(USER, Path::new(DAEMON));
    daemon.args(["--nofork", "--nopidfile", "--nosyslog", &format!("--config-file={}", path("bus.conf"))]);
    let mut bus = Server::start(&mut daemon, directory.path().join("bus.log"));
    bus.wait_until("the bus is there", || Path::new(&socket).exists());
    let (grants, socket) = (unix(&socket), ("socket", socket.as_str()));

    let nobody = checked(&host, &plugin, &[socket, ("unit", "web")], &grants).await;
    assert!(reason(&nobody).contains("no LoadState: org.freedesktop.DBus.Error."), "{}", reason(&nobody));

    let object = "web_2dserver_40a_2eservice";
    fs::write(&states, format!("{object} loaded active running\n")).unwrap();
    fs::write(path("systemd.py"), SYSTEMD).unwrap();
    let mut python = command(USER, Path::new("/usr/bin/python3"));
    python.args([&path("systemd.py"), socket.1, &states]);
    let mut systemd = Server::start(&mut python, directory.path().join("systemd.log"));
    systemd.wait_until("systemd is there", || Path::new(&path("states.ready")).exists());

    let table: [(&str, Params<'_>, Verdict, &str); 8] = [
        ("loaded active running", &[], Verdict::Pass, "web-server@a.service is active/running"),
        ("loaded active exited", &[], Verdict::Pass, "is active/exited"),
        ("loaded active exited", &[("pass", "active/running")], Verdict::Fail, "expected active/running"),
        ("loaded reloading reload", &[], Verdict::Warn, "is reloading/reload, expected active"),
        ("loaded activating auto-restart", &[], Verdict::Warn, "is activating/auto-restart, expected active"),
        ("loaded activating auto-restart", &[("warn", "reloading")], Verdict::Fail, "expected active"),
        ("loaded failed failed", &[], Verdict::Fail, "is failed/failed, expected active"),
        ("masked inactive dead", &[], Verdict::Fail, "can't be loaded: masked"),
    ];
    for (state, params, verdict, text) in table {
        fs::write(path("new"), format!("{object} {state}\n")).unwrap();
        fs::rename(path("new"), &states).unwrap();
        let params = [&[socket, ("unit", "web-server@a")], params].concat();
        assert_report(&checked(&host, &plugin, &params, &grants).await, verdict, text);
    }
    let missing = checked(&host, &plugin, &[socket, ("unit", "missing.timer")], &grants).await;
    assert_report(&missing, Verdict::Fail, "missing.timer can't be loaded: not-found");

    let outcome = checked(&host, &plugin, &[("unit", "web")], &Grants::default()).await;
    let line = "allow = { unix = [\"/run/dbus/system_bus_socket\"] }";
    assert!(reason(&outcome).contains(line), "{}", reason(&outcome));
    systemd.freeze();
    let outcome = checked(&host, &plugin, &[socket, ("unit", "web")], &grants).await;
    assert!(reason(&outcome).contains("waiting for LoadState: no answer in time"), "{}", reason(&outcome));
    bus.signal(Signal::SIGKILL);
    bus_is_gone(socket.1);
    let outcome = checked(&host, &plugin, &[socket, ("unit", "web")], &grants).await;
    assert!(reason(&outcome).contains("connection refused"), "{}", reason(&outcome));
}

fn bus_is_gone(socket: &str) {
    while std::os::unix::net::UnixStream::connect(socket).is_ok() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}
