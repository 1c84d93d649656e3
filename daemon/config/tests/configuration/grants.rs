//! What a check needs to reach by its parameters, and the grant that is missing.

use std::path::PathBuf;

use vouchd_config::resolve;

/// `(plugin, params, allow)`: without this grant, a warning names it; with it, there is none.
const TYPICAL: [(&str, &str, &str); 25] = [
    ("process", "{ name = \"nginx\", min = 2 }", "{ process = [\"nginx\"] }"),
    ("process", "{ cmdline = \"Main\", user = \"app\" }", "{ process = true }"),
    ("process", "{ pid_file = \"/run/x.pid\", name = \"x\" }", "{ process = [\"x\"], files = [\"/run/x.pid\"] }"),
    ("systemd", "{ unit = \"nginx.service\" }", "{ unix = [\"/run/dbus/system_bus_socket\"] }"),
    ("systemd", "{ unit = \"a\", socket = \"/run/bus\" }", "{ unix = [\"/run/bus\"] }"),
    ("http", "{ url = \"http://127.0.0.1/\", status = 200 }", "{ http = [\"http://127.0.0.1/\"] }"),
    ("http", "{ url = \"https://h:8443/a?b=c\" }", "{ http = [\"https://h:8443/a?b=c\"] }"),
    ("tcp", "{ address = \"127.0.0.1:3306\" }", "{ tcp = [\"127.0.0.1:3306\"] }"),
    ("tcp", "{ address = \"[::1]:25\" }", "{ tcp = [\"[::1]:25\"] }"),
    ("tcp", "{ address = \"db.local:5432\" }", "{ tcp = [\"db.local:5432\"] }"),
    ("unix", "{ path = \"/run/x.sock\" }", "{ unix = [\"/run/x.sock\"] }"),
    ("tls", "{ address = \"127.0.0.1:443\", sni = \"www.example.com\" }", "{ tcp = [\"127.0.0.1:443\"] }"),
    ("dns", "{ name = \"db.example.com\" }", "{ dns = [\"db.example.com\"] }"),
    ("haproxy", "{ frontend = \"www\" }", "{ unix = [\"/run/haproxy/admin.sock\"] }"),
    ("haproxy", "{ backend = \"b\", address = \"127.0.0.1:9999\" }", "{ tcp = [\"127.0.0.1:9999\"] }"),
    ("mysql", "{ address = \"127.0.0.1:3306\" }", "{ tcp = [\"127.0.0.1:3306\"] }"),
    ("mysql", "{ socket = \"/run/mysqld/mysqld.sock\" }", "{ unix = [\"/run/mysqld/mysqld.sock\"] }"),
    (
        "mysql",
        "{ address = \"127.0.0.1:3306\", user = \"v\", password_file = \"/etc/vouchd/p\" }",
        "{ tcp = [\"127.0.0.1:3306\"], files = [\"/etc/vouchd/p\"] }",
    ),
    ("postgresql", "{ socket = \"/run/postgresql/.s.PGSQL.5432\" }", "{ unix = [\"/run/postgresql/.s.PGSQL.5432\"] }"),
    (
        "redis",
        "{ socket = \"/run/redis/r.sock\", password_file = \"/etc/vouchd/p\" }",
        "{ unix = [\"/run/redis/r.sock\"], files = [\"/etc/vouchd/p\"] }",
    ),
    (
        "file",
        "{ path = \"/var/lib/vouchd/maintenance\", exists = false }",
        "{ files = [\"/var/lib/vouchd/maintenance\"] }",
    ),
    ("disk", "{ path = \"/var\", free = { warn = \"5%\" } }", "{ files = [\"/var\"] }"),
    ("pressure", "{ cpu = { warn = 5 }, io.fail = 50 }", "{ files = [\"/proc/pressure/cpu\", \"/proc/pressure/io\"] }"),
    // Nothing is known of another plugin but what a URL means.
    ("mine", "{ base = \"http://h:8080/\" }", "{ http = [\"http://h:8080/\"] }"),
    ("mine", "{ target = \"https://h/v1\", where = \"/srv\", at = \"h:1\" }", "{ http = [\"https://h/v1\"] }"),
];

fn warnings(plugin: &str, params: &str, allow: &str) -> Vec<String> {
    let text = format!(
        "[check.c]\nplugin = \"{plugin}\"\nparams = {params}\n{allow}\n[instance.a]\ninterface = \"e\"\n\
         virtual_router_id = 1\naddresses = [\"192.0.2.1\"]\nchecks = [\"c\"]\n"
    );
    let config = resolve(vec![(PathBuf::from("v.toml"), text)]).unwrap_or_else(|errors| panic!("{errors}"));
    config.warnings.iter().map(ToString::to_string).collect()
}

#[test]
fn missing_grant_is_reported_for_every_bundled_plugin_and_a_sufficient_one_is_not() {
    for (plugin, params, allow) in TYPICAL {
        let said = warnings(plugin, params, &format!("allow = {allow}"));
        assert!(said.is_empty(), "{plugin} {params} {allow}: {said:?}");
        let said = warnings(plugin, params, "");
        assert_eq!(said.len(), 1, "{plugin} {params}: {said:?}");
        assert!(
            said[0].contains(&format!("write allow = {allow}\n")),
            "{plugin} {params}: {allow} expected:\n{}",
            said[0]
        );
        // The other grants stay in the line.
        let said = warnings(plugin, params, "allow = { env = { A = \"b\" } }");
        assert!(said[0].contains("env = { A = "), "{said:?}");
    }
}

#[test]
fn wider_grant_is_accepted_and_a_narrower_one_is_reported() {
    for (plugin, params, allow, silent) in [
        ("process", "{ cmdline = \"Main\" }", "{ process = [\"java\"] }", true),
        ("process", "{ name = \"nginx\" }", "{ process = [\"java\"] }", false),
        ("http", "{ url = \"http://h/a/b\" }", "{ http = [\"http://h/*\"] }", true),
        ("http", "{ url = \"http://h/a/b\" }", "{ http = [\"http://h/a/c\"] }", false),
        ("tcp", "{ address = \"10.1.2.3:5432\" }", "{ tcp = [\"10.0.0.0/8:*\"] }", true),
        ("tcp", "{ address = \"10.1.2.3:5433\" }", "{ tcp = [\"10.0.0.0/8:5432\"] }", false),
        ("dns", "{ name = \"a.example.com\" }", "{ dns = true }", true),
        ("dns", "{ name = \"example.com\" }", "{ dns = [\"*.example.com\"] }", false),
        ("file", "{ path = \"/srv/a/b\" }", "{ files = [\"/srv/**\"] }", true),
        // What is fetched below a base is the plugin's affair.
        ("mine", "{ base = \"http://h/api/\" }", "{ http = [\"http://h/api/health\"] }", true),
        ("mine", "{ base = \"http://h/\" }", "{ http = [\"http://other/\"] }", false),
        ("mine", "{ base = \"http://h:81/\" }", "{ http = [\"http://h/\"] }", false),
        // No address at all: the plugin says so itself.
        ("tcp", "{ address = \"localhost\" }", "{}", true),
        ("file", "{ path = \"relative\" }", "{}", true),
    ] {
        let said = warnings(plugin, params, &format!("allow = {allow}"));
        assert_eq!(said.is_empty(), silent, "{plugin} {params} {allow}: {said:?}");
    }
}
