//! Configurations that are accepted, and what comes of them.
#![expect(clippy::disallowed_methods, reason = "a test may read and write files")]

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use vouchd_config::{Config, Daemon, ExitCodes, Garp, Limits, ProcessGrant, VirtualAddress, load, resolve};
use vouchd_health::{Influence, OnError, Thresholds, Weight};
use vouchd_wire::{AdvertInterval, Auth, ChecksumForm, Priority, Version, Vrid};

fn config(text: &str) -> Config {
    resolve(vec![(PathBuf::from("v.toml"), text.to_owned())]).unwrap_or_else(|errors| panic!("{errors}"))
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn weight(weight: i16) -> Option<Weight> {
    Weight::try_from(weight).ok()
}

/// The example of the manual's first page.
const EXAMPLE: &str = r#"
[daemon]
name = "nginx01"
plugin_dir = "/etc/vouchd/plugins"      # besides the built-ins in /usr/lib/vouchd/plugins
control = "/run/vouchd/control.sock"

[check.nginx]
plugin = "process"
params = { name = "nginx" }
interval = "1s"
timeout = "500ms"
rise = 2
fall = 2
weight = -40                            # leave out: hard fault
allow = { process = ["nginx"] }

[check.site]
plugin = "http"
params = { url = "http://127.0.0.1/", status = 200 }
allow = { http = ["http://127.0.0.1/"] }

[instance.web_server_group]
interface = "ens33"
virtual_router_id = 55
priority = 100
version = 2
advert_interval = "1s"
auth = { type = "pass", password = "1234" }
preempt = true
addresses = ["192.168.175.100"]
unicast = { source = "192.168.175.101", peers = ["192.168.175.102"] }   # leave out: multicast
checks = ["nginx", { name = "site", weight = -20 }]
"#;

#[test]
fn the_example() {
    let config = config(EXAMPLE);
    assert_eq!(config.daemon.name.as_deref(), Some("nginx01"));
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);

    let [nginx, site] = config.checks.as_slice() else { panic!("two checks") };
    assert_eq!((nginx.name.as_str(), nginx.plugin.as_str()), ("nginx", "process"));
    assert_eq!(nginx.timeout, Duration::from_millis(500));
    assert_eq!(nginx.thresholds, Thresholds { rise: 2, fall: 2 });
    assert_eq!(nginx.influence, Influence { weight: weight(-40), ..Influence::default() });
    assert_eq!(nginx.grants.process, ProcessGrant::Names(vec!["nginx".into()]));
    assert_eq!(
        site.params,
        [("url".to_owned(), "http://127.0.0.1/".to_owned()), ("status".to_owned(), "200".to_owned())]
    );

    let [instance] = config.instances.as_slice() else { panic!("one instance") };
    assert_eq!(Ok(instance.vrid), Vrid::new(55));
    assert_eq!(instance.auth, Auth::simple(b"1234"));
    assert_eq!(instance.addresses, [VirtualAddress { ip: ip("192.168.175.100"), prefix: 32 }]);
    let unicast = instance.unicast.as_ref().expect("unicast");
    assert_eq!((unicast.source, unicast.peers.as_slice()), (ip("192.168.175.101"), [ip("192.168.175.102")].as_slice()));
    let uses: Vec<_> = instance.checks.iter().map(|u| (u.check.as_str(), u.influence.weight)).collect();
    assert_eq!(uses, [("nginx", weight(-40)), ("site", weight(-20))]);
    assert_eq!(site.influence.weight, None, "an override is the instance's own");
}

#[test]
fn defaults() {
    let config = config(
        "[check.c]\nplugin = \"p\"\n[instance.a]\ninterface = \"e\"\nvirtual_router_id = 1\n\
         addresses = [\"192.0.2.1\"]\nchecks = [\"c\"]\n",
    );
    assert_eq!(config.daemon, Daemon::default());
    assert_eq!(config.daemon.control, PathBuf::from("/run/vouchd/control.sock"));

    let check = &config.checks[0];
    assert_eq!(check.interval, Duration::from_secs(1));
    assert_eq!(check.timeout, Duration::from_secs(1));
    assert_eq!(check.fast_interval, Duration::from_millis(100));
    assert_eq!(check.thresholds, Thresholds { rise: 1, fall: 1 });
    assert_eq!(check.influence, Influence::default());
    assert_eq!(check.influence.on_error, OnError::LastResort);
    assert_eq!(check.grants.process, ProcessGrant::None);
    assert_eq!(check.limits, Limits::default());
    assert_eq!((check.exit_codes, check.sha256.as_deref()), (ExitCodes::Plain, None));
    assert_eq!(check.limits.memory, 16 * 1024 * 1024);

    let instance = &config.instances[0];
    assert_eq!(instance.priority, Priority::DEFAULT);
    assert_eq!(instance.version, Version::V2);
    assert_eq!(instance.advert_interval, AdvertInterval::ONE_SECOND);
    assert_eq!(instance.auth, Auth::None);
    assert_eq!(instance.checksum, ChecksumForm::PseudoHeader);
    assert_eq!(instance.garp, Garp::default());
    assert!(instance.preempt && instance.lease && !instance.adopt && instance.unicast.is_none());
}

#[test]
fn copies_are_adopted_only_if_configured() {
    for (line, expected) in [("", false), ("adopt = false", false), ("adopt = true", true)] {
        let text =
            format!("[instance.a]\ninterface = \"e\"\nvirtual_router_id = 1\naddresses = [\"192.0.2.1\"]\n{line}\n");
        assert_eq!(config(&text).instances[0].adopt, expected, "{line}");
    }
}

#[test]
fn the_other_values() {
    let config = config(
        r#"
        [daemon]
        builtin_plugin_dir = "/opt/plugins"
        cache_dir = "off"
        user = "checks"
        plugin_keys = ["RWQPWdDO1o3mzp6LbizY/vhj9fzPOp/BqDEKcuwKkfD/1zfLFMiKqLLv"]
        error_grace = "500ms"
        realtime = false

        [check.c]
        plugin = "p"
        warn_weight = -5
        adjust = [-50, 10]
        on_error = "hold"
        exit_codes = "nagios"
        sha256 = "0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef"
        allow = { process = true, tcp = ["db.local:*"] }

        [check.c.limits]
        memory = "32MiB"
        cpu = "1s"
        table_elements = 500
        output = "1KiB"
        log_lines = 0
        connections = 1
        probes = 2
        probe_bytes = "4KiB"

        [instance.a]
        interface = "e"
        virtual_router_id = 255
        priority = 255
        version = 3
        advert_interval = "40950ms"
        preempt = false
        addresses = ["192.0.2.1/24", "192.0.2.2"]
        unicast = { source = "192.0.2.1", peers = ["192.0.2.3"] }   # owns it
        checks = [{ name = "c", warn_weight = -6, adjust = [0, 0], on_error = "fail" }]
        lease = "off"
        checksum = "message-only"
        garp = { repeat = 1, delay = "0s", refresh = "1m", refresh_repeat = 2 }
        "#,
    );
    let daemon = &config.daemon;
    assert_eq!((daemon.cache_dir.as_ref(), daemon.user.as_deref()), (None, Some("checks")));
    assert_eq!((daemon.error_grace, daemon.realtime), (Duration::from_millis(500), false));
    assert_eq!(daemon.plugin_keys, ["RWQPWdDO1o3mzp6LbizY/vhj9fzPOp/BqDEKcuwKkfD/1zfLFMiKqLLv"]);
    assert_eq!(daemon.builtin_plugin_dir, PathBuf::from("/opt/plugins"));

    let check = &config.checks[0];
    let sha256 = "0123456789abcdef".repeat(4);
    assert_eq!((check.exit_codes, check.sha256.as_ref()), (ExitCodes::Nagios, Some(&sha256)));
    let influence = Influence { weight: None, warn_weight: -5, adjust: Some((-50, 10)), on_error: OnError::Hold };
    assert_eq!(check.influence, influence);
    assert_eq!(check.grants.process, ProcessGrant::All);
    assert!(check.grants.permits_tcp("db.local", 5432).is_ok());
    let limits = Limits {
        memory: 32 << 20,
        cpu: Duration::from_secs(1),
        table_elements: 500,
        output: 1024,
        log_lines: 0,
        connections: 1,
        probes: 2,
        probe_bytes: 4096,
    };
    assert_eq!(check.limits, limits);

    let instance = &config.instances[0];
    assert_eq!(instance.priority, Priority::OWNER);
    assert_eq!(instance.advert_interval.centiseconds(), 4095);
    assert_eq!(instance.addresses[0], VirtualAddress { ip: ip("192.0.2.1"), prefix: 24 });
    let influence = Influence { weight: None, warn_weight: -6, adjust: Some((0, 0)), on_error: OnError::Fail };
    assert_eq!(instance.checks[0].influence, influence);
    assert_eq!(instance.checksum, ChecksumForm::MessageOnly);
    assert!(!instance.lease && !instance.preempt);
    let garp = Garp { repeat: 1, delay: Duration::ZERO, refresh: Duration::from_secs(60), refresh_repeat: 2 };
    assert_eq!(instance.garp, garp);
}

#[test]
fn default_times_of_a_check_follow_its_interval() {
    for (line, timeout, fast) in [
        ("interval = \"10ms\"", 100, 10),
        ("interval = \"200ms\"", 200, 50),
        ("interval = \"1m\"", 1000, 6000),
        ("interval = \"10s\"\ntimeout = \"20s\"\nfast_interval = \"10ms\"", 20_000, 10),
    ] {
        let config = config(&format!("[check.c]\nplugin = \"p\"\n{line}\n"));
        let check = &config.checks[0];
        assert_eq!(check.timeout, Duration::from_millis(timeout), "{line}");
        assert_eq!(check.fast_interval, Duration::from_millis(fast), "{line}");
    }
}

#[test]
fn parameters_are_flattened_in_file_order() {
    let config = config(
        "[check.c]\nplugin = \"p\"\n[check.c.params]\nz = \"last first\"\nstatus = [200, 0xff]\n\
         tls = { verify = false, \"a.b\" = 1.5 }\nheader = [{ name = \"A\", value = \"1\" }, { name = \"B\", value = \"2\" }]\n\
         day = 1979-05-27\nempty = []\n",
    );
    let params: Vec<(&str, &str)> = config.checks[0].params.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(
        params,
        [
            ("z", "last first"),
            ("status", "200"),
            ("status", "255"),
            ("tls.verify", "false"),
            ("tls.a.b", "1.5"),
            ("header.name", "A"),
            ("header.value", "1"),
            ("header.name", "B"),
            ("header.value", "2"),
            ("day", "1979-05-27"),
        ]
    );
}

#[test]
fn unintended_settings_give_warnings() {
    let instance = "interface = \"e\"\nvirtual_router_id = 1\naddresses = [\"192.0.2.1\"]\n";
    for (text, place, words) in [
        ("[check.c]\nplugin = \"p\"\n".to_owned(), "v.toml:1:8", "no instance lists this check"),
        (
            format!(
                "[check.c]\nplugin = \"p\"\nweight = -1\n[instance.a]\n{instance}priority = 255\nchecks = [\"c\"]\n"
            ),
            "v.toml:9:11",
            "owns its addresses",
        ),
        (
            format!(
                "[check.c]\nplugin = \"p\"\nweight = 9\n[instance.a]\n{instance}priority = 254\nchecks = [\"c\"]\n"
            ),
            "v.toml:9:11",
            "can't be raised",
        ),
        (
            format!(
                "[check.c]\nplugin = \"p\"\n[instance.a]\n{instance}priority = 1\nchecks = [{{ name = \"c\", weight = -9 }}]\n"
            ),
            "v.toml:8:20",
            "can't be lowered",
        ),
        (
            format!(
                "[check.c]\nplugin = \"process\"\nparams = {{ name = \"nginx\" }}\n[instance.a]\n{instance}checks = [\"c\"]\n"
            ),
            "v.toml:1:8",
            "write allow = { process = [\"nginx\"] }",
        ),
        (
            format!(
                "[check.c]\nplugin = \"http\"\nparams = {{ url = \"http://h/a\" }}\nallow = {{ http = [\"http://h/\"] }}\n\
                 [instance.a]\n{instance}checks = [\"c\"]\n"
            ),
            "v.toml:4:9",
            "write allow = { http = [\"http://h/\", \"http://h/a\"] }",
        ),
        (
            format!(
                "[check.c]\nplugin = \"file\"\nparams = {{ path = \"/run/vouchd/maintenance\", exists = false }}\n\
                 allow = {{ files = [\"/run/**\"] }}\n[instance.a]\n{instance}checks = [\"c\"]\n"
            ),
            "v.toml:3:19",
            "systemd empties /run/vouchd whenever vouchd stops",
        ),
        (
            format!("[instance.a]\n{instance}[instance.b]\n{}", instance.replace("\"e\"", "\"f\"")),
            "v.toml:8:14",
            "instance a on e also has this address",
        ),
        (
            format!("[instance.a]\n{instance}unicast = {{ source = \"192.0.2.11\", peers = [\"192.0.2.1\"] }}\n"),
            "v.toml:5:45",
            "this is a virtual address: while this router holds it, it would send to itself",
        ),
    ] {
        let config = config(&text);
        let shown: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
        assert_eq!(shown.len(), 1, "{text}\n{shown:?}");
        assert!(shown[0].starts_with(place) && shown[0].contains(words), "{place} {words}: {}", shown[0]);
    }
}

#[test]
fn weights_that_leave_a_router_above_the_default_priority_give_a_note_with_its_assumption() {
    let text = |priority: u8, weights: [i16; 2]| {
        let [a, b] = weights;
        format!(
            "[check.a]\nplugin = \"p\"\nweight = {a}\n[check.b]\nplugin = \"p\"\nweight = {b}\n[instance.a]\n\
             interface = \"e\"\nvirtual_router_id = 1\naddresses = [\"192.0.2.1\"]\npriority = {priority}\n\
             preempt = false\nchecks = [\"a\", \"b\"]\n"
        )
    };
    for (priority, weights, least) in [
        (150, [-20, -20], Some("keeps priority 110")),
        // Neither weight alone is enough, but both together are.
        (150, [-30, -30], None),
        (150, [20, -20], Some("keeps priority 130")),
        (101, [-1, -1], None),
        (100, [-1, -1], None),
        (90, [-1, 5], None),
    ] {
        let config = config(&text(priority, weights));
        let notes: Vec<String> = config.notes.iter().map(ToString::to_string).collect();
        assert!(config.warnings.is_empty(), "{:?}", config.warnings);
        match least {
            None => assert!(notes.is_empty(), "{priority} {weights:?}: {notes:?}"),
            Some(least) => {
                assert_eq!(notes.len(), 1, "{priority} {weights:?}");
                assert!(notes[0].starts_with("v.toml:13:1: ") && notes[0].contains(least), "{}", notes[0]);
                assert!(notes[0].contains("against routers with the default priority of 100 or less"), "{}", notes[0]);
            }
        }
    }
}

/// Whatever a slip of the editor makes of a file: an answer, and errors that point into the file.
#[test]
fn damaged_file_never_panics() {
    let mut damaged: Vec<String> = EXAMPLE.char_indices().map(|(at, _)| EXAMPLE[..at].to_owned()).collect();
    for (at, c) in EXAMPLE.char_indices() {
        for insert in ["", "\"", "=", "[", "0", "é", "\n", "\u{0}"] {
            damaged.push(format!("{}{insert}{}", &EXAMPLE[..at], &EXAMPLE[at + c.len_utf8()..]));
        }
    }
    let mut refused = 0;
    for text in damaged {
        let lines = text.lines().count();
        let Err(errors) = resolve(vec![(PathBuf::from("v.toml"), text)]) else { continue };
        refused += 1;
        assert!(!errors.to_string().is_empty());
        for problem in errors.problems() {
            let place = problem.place.as_ref().expect("a place in the file");
            assert!((1..=lines + 1).contains(&place.line()), "{problem}");
            assert_eq!(problem.headline().lines().count(), 1, "{problem}");
        }
    }
    assert!(refused > 1000, "{refused}");
}

#[test]
fn empty_configuration_is_valid() {
    let config = config("");
    assert!(config.checks.is_empty() && config.instances.is_empty());
}

#[test]
fn check_survives_serialization() {
    for check in config(EXAMPLE).checks {
        let text = toml::to_string(&check).expect("serializes");
        assert_eq!(toml::from_str::<vouchd_config::Check>(&text).expect("deserializes"), check);
    }
}

#[test]
fn drop_ins_are_read_beside_the_main_file_in_order() {
    let dir = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).expect("written");
    let main = dir.path().join("vouchd.toml");
    write("vouchd.toml", "[check.main]\nplugin = \"p\"\n");
    let names = |config: Config| config.checks.into_iter().map(|c| c.name).collect::<Vec<_>>();
    assert_eq!(names(load(&main).expect("without conf.d")), ["main"]);

    fs::create_dir(dir.path().join("conf.d")).expect("created");
    write("conf.d/20.toml", "[check.b]\nplugin = \"p\"\n");
    write("conf.d/10.toml", "[check.a]\nplugin = \"p\"\n");
    write("conf.d/.10.toml.swp", "not toml");
    write("conf.d/.30.toml", "not toml");
    write("conf.d/40.toml.bak", "not toml");
    let config = load(&main).expect("with drop-ins");
    assert_eq!(config.files.len(), 3);
    assert_eq!(names(config), ["main", "a", "b"]);

    write("conf.d/30.toml", "not toml");
    let shown = load(&main).expect_err("a broken drop-in").to_string();
    assert!(shown.contains("conf.d/30.toml:1:"), "{shown}");
    fs::remove_file(dir.path().join("conf.d/30.toml")).expect("removed");

    std::os::unix::fs::symlink("/dev/zero", dir.path().join("conf.d/30.toml")).expect("linked");
    let shown = load(&main).expect_err("a drop-in without end").to_string();
    assert!(shown.ends_with("conf.d/30.toml: can't be read: it is not a regular file"), "{shown}");
}

#[test]
fn missing_or_binary_file_is_an_error_with_its_place() {
    let dir = tempfile::tempdir().expect("a directory");
    let main = dir.path().join("vouchd.toml");
    let shown = load(&main).expect_err("missing").to_string();
    assert_eq!(shown, format!("{}: there is no such file; create it, or name another one", main.display()));
    let shown = load(dir.path()).expect_err("a directory").to_string();
    assert!(shown.ends_with(&format!("it is a directory; expected a file, like {}", main.display())), "{shown}");
    std::os::unix::fs::symlink("nowhere", &main).expect("linked");
    let shown = load(&main).expect_err("a link to nothing").to_string();
    assert_eq!(
        shown,
        format!("{}: it is a link to nowhere, which does not exist; create that file, or fix the link", main.display())
    );
    fs::remove_file(&main).expect("removed");
    // With line and column, because an editor shows nothing there.
    for (bytes, place, words) in [
        (&b"\xff"[..], "1:1", "the byte 0xFF is not UTF-8; expected text in UTF-8"),
        (b"# a\n[check.\xe4]\n", "2:8", "the byte 0xE4 is not UTF-8"),
        (b"# \xc3\xbc\n\xc3\xbc = 1\x00\n", "2:6", "a NUL byte"),
        (b"\xff\xfe[\0a\0]\0", "1:1", "UTF-16"),
        (b"\xff\xfe\0\0[\0\0\0a\0\0\0]\0\0\0", "1:1", "UTF-32"),
        (b"[\0\0\0a\0\0\0]\0\0\0", "1:2", "UTF-32"),
        (b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0>\0", "1:1", "this is a program"),
        (b"\x1f\x8b\x08", "1:1", "compressed with gzip"),
        (b"\0\0\0\0\0\0", "1:1", "a NUL byte"),
        (b"[\0a\0]\0", "1:2", "UTF-16"),
        (b"\0asm\x0d\0\x01\0", "1:1", "this is a WebAssembly file"),
    ] {
        fs::write(&main, bytes).expect("written");
        let shown = load(&main).expect_err("not text").to_string();
        assert!(shown.starts_with(&format!("{}:{place}: ", main.display())), "{place} expected:\n{shown}");
        assert!(shown.contains(words), "{words:?} expected:\n{shown}");
    }
    // A byte order mark is ignored and moves no column.
    for marks in ["\u{feff}", "\u{feff}\u{feff}"] {
        fs::write(&main, format!("{marks}colour = 1\n")).expect("written");
        let shown = load(&main).expect_err("an unknown key").to_string();
        assert!(shown.starts_with(&format!("{}:1:1: colour: unknown key", main.display())), "{shown}");
    }
}
