//! Invalid configurations: the place and the words of each error.

use vouchd_config::resolve;

use crate::errors;

/// A valid instance, with room for one line more; that line is line 6.
fn instance_with(line: &str) -> String {
    format!(
        "[check.c]\nplugin = \"p\"\n[instance.web]\ninterface = \"eth0\"\nvirtual_router_id = 55\n{line}\n{}",
        if line.starts_with("addresses") { "" } else { "addresses = [\"192.0.2.1\"]\n" }
    )
}

/// A valid check, with room for one line more; that line is line 3.
fn check_with(line: &str) -> String {
    format!("[check.c]\nplugin = \"p\"\n{line}\n")
}

/// The one error of `text` stands at `place` and has the words.
#[track_caller]
fn assert_error(text: &str, place: &str, words: &str) {
    let errors = errors(&[("v.toml", text)]);
    let shown = errors.to_string();
    assert_eq!(errors.problems().len(), 1, "{text}\n{shown}");
    assert!(shown.starts_with(&format!("v.toml:{place}: ")), "{place} expected:\n{shown}");
    assert!(shown.contains(words), "{words:?} expected:\n{shown}");
}

#[test]
fn error_names_place_key_value_and_what_is_allowed() {
    let errors = errors(&[("/etc/vouchd/vouchd.toml", &instance_with("  priority = 256"))]);
    assert_eq!(
        errors.to_string(),
        "/etc/vouchd/vouchd.toml:6:14: instance.web.priority = 256: expected a whole number from 1 to 255\n\
         \x20 6 |   priority = 256\n\
         \x20   |              ^^^"
    );
}

#[test]
fn mistake_in_a_route_or_rule_has_the_column_of_the_wrong_word() {
    for (line, column, words) in [
        ("routes = \"10.0.0.0/8 dev eth0\"", 10, "write it in brackets"),
        ("routes = [\"10.0.0.0/8 dve eth0\"]", 23, "did you mean `dev`"),
        ("routes = ['10.0.0.0/8 dve eth0']", 23, "did you mean `dev`"),
        ("routes = [\"10.0.0.0/8\\tdve eth0\"]", 11, "did you mean `dev`"),
        ("routes = [\"10.0.0.0/8\"]", 22, "`via` an address"),
        ("routes = [\"10.0.0.0/8 dev a\", \"10.0.0.0/8 via 192.0.2.1\"]", 31, "the kernel keeps only one"),
        ("routes = [7]", 11, "found a whole number"),
        ("rules = [\"from 10.0.0.0/8 lookup 100\"]", 37, "`priority` is missing"),
        ("rules = [\"lookup 1 pref 1\", \"table 1 priority 1\"]", 29, "is the same rule"),
    ] {
        assert_error(&instance_with(line), &format!("6:{column}"), words);
    }
}

#[test]
fn wrong_values_of_an_instance() {
    for (line, column, words) in [
        ("priority = 0", 12, "from 1 to 255"),
        ("priority = 256", 12, "from 1 to 255"),
        ("priority = -1", 12, "from 1 to 255"),
        ("priority = 99999999999999999999999", 12, "from 1 to 255"),
        ("priority = \"100\"", 12, "a whole number from 1 to 255, found a string"),
        ("priority = 1.5", 12, "found a number with a fraction"),
        ("preempt = \"no\"", 11, "expected true or false, found a string"),
        ("version = 4", 11, "from 2 to 3"),
        ("advert_interval = 1", 19, "a duration with its unit (\"500ms\", \"1s\", \"2m\", \"1h\")"),
        ("advert_interval = 1", 19, "whole seconds from 1s to 255s"),
        ("advert_interval = \"1\"", 19, "a duration with its unit"),
        ("advert_interval = \"1m30s\"", 19, "; write \"90s\", a whole number and one unit"),
        ("addresses = [\"192.0.2.1/99\"]", 14, "the prefix length is a number from 1 to 32"),
        ("prio = 100", 1, "did you mean `priority`?"),
        ("adress = \"192.0.2.1\"", 1, "did you mean `addresses`?"),
        ("INTERFACE = \"eth0\"", 1, "did you mean `interface`?"),
        ("advert_interval = \"500ms\"", 19, "whole seconds from 1s to 255s; faster advertisements need version = 3"),
        ("advert_interval = \"256s\"", 19, "whole seconds from 1s to 255s"),
        ("auth = \"1234\"", 8, "a table, like { type = \"pass\""),
        ("auth = { type = \"ah\", password = \"1\" }", 17, "expected \"pass\""),
        ("auth = { type = \"pass\", password = \"123456789\" }", 36, "a password of 1 to 8 bytes"),
        ("auth = { type = \"pass\", password = \"\" }", 36, "a password of 1 to 8 bytes"),
        ("auth = { type = \"pass\", password = 1234 }", 36, "a password of 1 to 8 bytes, found a whole number"),
        ("auth = { type = \"pass\" }", 1, "`password` is missing"),
        ("auth = { password = \"1234\" }", 1, "`type` is missing"),
        ("addresses = \"192.0.2.1\"", 13, "a list of addresses"),
        ("addresses = [1]", 14, "an address"),
        ("addresses = [\"192.0.2\"]", 14, "an address"),
        ("addresses = [\"192.0.2.256\"]", 14, "an address"),
        ("addresses = [\"192.0.2.1/33\"]", 14, "from 1 to 32"),
        ("addresses = [\"192.0.2.1/0\"]", 14, "from 1 to 32"),
        ("addresses = [\"192.0.2.1/+8\"]", 14, "an address"),
        ("addresses = [\"224.0.0.18\"]", 14, "the address of a host"),
        ("addresses = [\"127.0.0.1\"]", 14, "the address of a host"),
        ("addresses = [\"0.0.0.0\"]", 14, "the address of a host"),
        ("addresses = [\"2001:db8::1/129\"]", 14, "from 1 to 128"),
        ("addresses = [\"ff02::12\"]", 14, "the address of a host"),
        ("addresses = [\"::1\"]", 14, "the address of a host"),
        ("addresses = [\"::ffff:192.0.2.1\"]", 14, "an IPv4 address in IPv6's form"),
        ("addresses = [{ label = \"eth0:1\" }]", 14, "`address` is missing"),
        ("addresses = [{ address = \"192.0.2.1\", labl = \"x\" }]", 39, "did you mean `label`?"),
        ("addresses = [{ address = \"192.0.2.1\", label = \"sixteen-letters-\" }]", 47, "1 to 15 characters"),
        ("addresses = [{ address = \"192.0.2.1\", broadcast = true }]", 51, "a /32 has no broadcast address"),
        ("addresses = [{ address = \"192.0.2.1\", scope = \"world\" }]", 47, "\"global\""),
        ("addresses = [{ address = \"192.0.2.1\", home = true }]", 46, "only an IPv6 address"),
        ("addresses = [{ address = \"fe80::1\", label = \"eth0:1\" }]", 45, "an IPv6 address has no label"),
        ("extra_addresses = [\"192.0.2.1\"]", 20, "listed twice, first at"),
        ("version = [3]", 11, "[2, 3] to send both"),
        ("version = [2, 4]", 15, "from 2 to 3"),
        ("advert_interval = \"100ms\"\nversion = [2, 3]", 19, "which both versions can carry"),
        ("routers = 1", 11, "from 2 to 255"),
        ("preempt_delay = \"1001s\"", 17, "from 0s to 1000s"),
        ("down_timer_adverts = 0", 22, "from 1 to 100"),
        ("accept = false\npriority = 255", 10, "an owner (priority = 255) always accepts"),
        ("virtual_mac = 1", 15, "write true, without quotes"),
        ("virtual_mac = { name = \"a/b\" }", 24, "the name of a network interface"),
        ("track = [\"eth1\", \"eth1\"]", 18, "listed twice"),
        ("track = [{ interface = \"eth1\", weight = 0 }]", 41, "not 0"),
        ("track = [\"a b\"]", 10, "a pattern with * and ?"),
        ("link_delay = \"61s\"", 14, "from 0s to 1m"),
        ("multicast = { group = \"192.0.2.5\" }", 23, "a multicast address"),
        ("multicast = { group = [\"224.0.0.5\", \"224.0.0.6\"] }", 37, "expected one IPv4 address"),
        ("multicast = { source = \"fe80::5\" }", 24, "there is no IPv6 virtual address"),
        ("addresses = [\"192.0.2.1\", \"192.0.2.1/24\"]", 27, "twice, first at v.toml:6:14"),
        ("interface = \"eth1\"", 1, "duplicate key"),
        ("unicast = { peers = [\"192.0.2.12\"] }", 1, "`source` is missing"),
        ("unicast = { source = \"192.0.2.11\", peers = [] }", 44, "at least one peer"),
        ("unicast = { source = \"192.0.2.11\", peers = [\"192.0.2.11\"] }", 45, "the router itself"),
        ("unicast = { source = \"192.0.2.11\", peers = [\"192.0.2.12\", \"192.0.2.12\"] }", 59, "twice"),
        ("unicast = { source = \"192.0.2.11/24\", peers = [\"192.0.2.12\"] }", 22, "the address of a router"),
        ("unicast = { source = \"192.0.2.1\", peers = [\"192.0.2.12\"] }", 22, "this is a virtual address"),
        ("unicast = { source = \"192.0.2.11\", peers = [\"224.0.0.18\"] }", 45, "the address of a router"),
        ("unicast = { source = \"fe80::5\", peers = [\"192.0.2.12\"] }", 1, "the peers need an IPv4 source"),
        ("unicast = { source = \"192.0.2.11\", peers = [\"fe80::5\"] }", 1, "there is no IPv4 peer"),
        (
            "unicast = { source = \"192.0.2.11\", peers = [{ address = \"192.0.2.12\", hop_limit = 0 }] }",
            83,
            "from 1 to 255",
        ),
        ("routers = 3\nunicast = { source = \"192.0.2.11\", peers = [\"192.0.2.12\"] }", 11, "there are 2 routers"),
        ("multicast = {}\nunicast = { source = \"192.0.2.11\", peers = [\"192.0.2.12\"] }", 1, "leave one of them out"),
        ("checks = \"c\"", 10, "a list of checks"),
        ("checks = [\"d\"]", 11, "there is no such check (did you mean \"c\"?); expected one of: c"),
        ("checks = [{ name = \"d\" }]", 20, "there is no such check"),
        ("checks = [\"c\", { name = \"c\" }]", 25, "twice"),
        ("checks = [{ weight = -20 }]", 11, "`name` is missing"),
        ("checks = [{ name = \"c\", weight = 0 }]", 34, "leave weight out"),
        ("checks = [{ name = \"c\", wieght = -20 }]", 25, "did you mean `weight`?"),
        ("checks = [1]", 11, "the name of a check"),
        ("lease = false", 9, "\"auto\" or \"off\", found true or false"),
        ("lease = \"on\"", 9, "\"auto\" or \"off\""),
        ("adopt = \"yes\"", 9, "true or false"),
        ("checksum = \"message-only\"", 12, "use version = 3"),
        ("garp = { repeat = 0 }", 19, "from 1 to 100"),
        ("garp = { delay = \"2h\" }", 18, "from 0s to 1h"),
        ("garp = { interval = \"1s\" }", 10, "expected one of: repeat, delay, refresh, refresh_repeat"),
    ] {
        let text = instance_with(line);
        assert_error(&text, &format!("6:{column}"), words);
    }
}

#[test]
fn wrong_values_in_version_3() {
    for (line, column, words) in [
        ("advert_interval = 1", 19, "from 10ms to 40950ms"),
        ("advert_interval = \"0.5s\"", 19, "; write \"500ms\""),
        ("advert_interval = \"5ms\"", 19, "a multiple of 10ms from 10ms to 40950ms"),
        ("advert_interval = \"15ms\"", 19, "a multiple of 10ms"),
        ("advert_interval = \"41s\"", 19, "a multiple of 10ms"),
        ("auth = { type = \"pass\", password = \"1234\" }", 1, "version 3 has no passwords"),
        ("checksum = \"both\"", 12, "\"pseudo-header\" or \"message-only\""),
    ] {
        assert_error(&format!("{}version = 3\n", instance_with(line)), &format!("6:{column}"), words);
    }
}

#[test]
fn virtual_router_ids_out_of_range() {
    for vrid in ["0", "256", "-1", "\"55\""] {
        let text =
            format!("[instance.a]\ninterface = \"e\"\nvirtual_router_id = {vrid}\naddresses = [\"192.0.2.1\"]\n");
        assert_error(&text, "3:21", "from 1 to 255");
    }
}

#[test]
fn wrong_values_of_a_check() {
    for (line, column, words) in [
        ("interval = \"5ms\"", 12, "from 10ms to 1h"),
        ("interval = \"2h\"", 12, "from 10ms to 1h"),
        ("interval = 1", 12, "found a whole number"),
        ("timeout = \"1ms\"", 11, "from 10ms to 10m"),
        ("fast_interval = \"2s\"", 17, "from 10ms to 1s"),
        ("rise = 0", 8, "from 1 to 100"),
        ("fall = 101", 8, "from 1 to 100"),
        ("weight = 0", 10, "not 0: leave weight out to make a failure a hard fault"),
        ("weight = 254", 10, "from -253 to 253"),
        ("weight = -254", 10, "from -253 to 253"),
        ("weight = \"-40\"", 10, "found a string"),
        ("warn_weight = 1", 15, "from -253 to 0"),
        ("adjust = 5", 10, "a list of two whole numbers"),
        ("adjust = [0]", 10, "a list of two whole numbers"),
        ("adjust = [0, -50]", 10, "the lower first"),
        ("adjust = [-254, 0]", 11, "from -253 to 253"),
        ("exit_codes = \"unix\"", 14, "\"plain\" or \"nagios\""),
        ("sha256 = \"abc\"", 10, "64 hex digits"),
        ("on_error = \"pass\"", 12, "\"last_resort\" or \"fail\" or \"hold\""),
        ("params = [\"a\"]", 10, "a table of parameters"),
        ("params = { a = [[1]] }", 17, "a list in a list"),
        ("params = { a = 9223372036854775808 }", 16, "a whole number from"),
        ("allow = [\"nginx\"]", 9, "a table, like"),
        ("allow = { process = \"nginx\" }", 21, "a list of process names"),
        ("allow = { process = [\"\"] }", 22, "the name of a process"),
        ("allow = { http = [\"127.0.0.1\"] }", 19, "http:// or https://"),
        ("allow = { tcp = [\"127.0.0.1\"] }", 18, "host:port"),
        ("allow = { file = [\"/etc/passwd\"] }", 11, "files"),
        ("allow = { files = [\"etc/passwd\"] }", 20, "an absolute path"),
        ("allow = { files = [\"/etc/../passwd\"] }", 20, "an absolute path"),
        ("allow = { unix = \"/run/s.sock\" }", 18, "a list of socket paths"),
        ("allow = { dns = [\"10.0.0.1\"] }", 18, "a name like"),
        ("allow = { dns = \"db.example.com\" }", 17, "a list of names"),
        ("allow = { env = [\"A=b\"] }", 17, "a table of variables"),
        ("allow = { env = { A = 1 } }", 23, "the variable's value as a string"),
        ("allow = { env = { \"A=B\" = \"c\" } }", 27, "a variable's name without ="),
        ("limits = { memory = \"16\" }", 21, "a size with its unit"),
        ("limits = { memory = \"2GiB\" }", 21, "from 1MiB to 1GiB"),
        ("limits = { fuel = 1 }", 12, "unknown key"),
        ("intervall = \"1s\"", 1, "did you mean `interval`?"),
        ("script = \"killall -0 nginx\"", 1, "a check is a WebAssembly plugin"),
    ] {
        assert_error(&check_with(line), &format!("3:{column}"), words);
    }
    assert_error("[check.c]\n", "1:8", "`plugin` is missing");
    assert_error("[check.c]\nplugin = \"p.wasm\"\n", "2:10", "like \"p\"");
    assert_error("[check.c]\nplugin = \"../p\"\n", "2:10", "letters, digits");
    assert_error("check = 1\n", "1:9", "tables with names, [check.NAME]");
    let words = "`plugin` must be in a table with a name of your choice, [check.NAME]";
    assert_error("[check]\nplugin = \"p\"\nrise = 1\nallow = {}\n", "1:2", words);
    assert_error("[check]\nnginx = \"p\"\n", "2:9", "a table, [check.nginx]");
}

#[test]
fn wrong_values_of_the_daemon() {
    for (line, column, words) in [
        ("plugin_dir = \"plugins\"", 14, "an absolute path"),
        ("control = 1", 11, "an absolute path, found a whole number"),
        ("name = \"\"", 8, "letters, digits"),
        ("user = \"no body\"", 8, "letters, digits"),
        ("error_grace = \"3\"", 15, "a duration with its unit"),
        ("realtime = 1", 12, "true or false"),
        ("plugin_keys = \"RWQPWdDO1o3mzp6LbizY/vhj9fzPOp/BqDEKcuwKkfD/1zfLFMiKqLLv\"", 15, "a list of public keys"),
        ("plugin_keys = []", 15, "at least one key"),
        ("plugin_keys = [\"RWQPWdDO1o3mzp6LbizY\"]", 16, "a public key of 56 characters"),
        ("metrics = \"127.0.0.1:9650\"", 11, "not available in this version"),
        ("router_id = \"a\"", 1, "write `name` in `[daemon]` instead"),
    ] {
        assert_error(&format!("[daemon]\n{line}\n"), &format!("2:{column}"), words);
    }
}

#[test]
fn keywords_of_keepalived_get_a_translation() {
    for (line, words) in [
        ("advert_int = 1", "write `advert_interval"),
        ("virtual_ipaddress = [\"192.0.2.1\"]", "write `addresses`"),
        ("nopreempt = true", "write `preempt = false`"),
        ("track_script = [\"c\"]", "write `checks`"),
        ("state = \"master\"", "every router starts as backup"),
        ("auth_pass = \"1234\"", "write `auth = "),
        ("unicast_peer = [\"192.0.2.1\"]", "write `unicast = "),
    ] {
        assert_error(&instance_with(line), "6:1", words);
    }
    assert_error("[vrrp_instance.a]\n", "1:2", "write `[instance.NAME]`");
    assert_error("[instances.a]\n", "1:2", "did you mean `instance`?");
    assert_error("[checks.nginx]\n", "1:2", "did you mean `check`?");
    let text = instance_with("").replace("eth0", "eth0:1");
    assert_error(&text, "4:13", "what follows the colon is an address label: write \"eth0\"");
}

#[test]
fn key_in_the_wrong_table_names_the_right_one() {
    for (text, place, words) in [
        ("priority = 100\n".to_owned(), "1:1", "unknown key here (it belongs to an instance, below [instance.NAME])"),
        ("[daemon]\nplugin = \"p\"\n".to_owned(), "2:1", "it belongs to a check, below [check.NAME]"),
        (check_with("preempt = false"), "3:1", "it belongs to an instance"),
        (check_with("realtime = false"), "3:1", "it belongs to [daemon]"),
        (instance_with("weight = -20"), "6:1", "it belongs to a check"),
        (instance_with("peers = [\"192.0.2.2\"]"), "6:1", "it belongs to `unicast` of an instance"),
        (instance_with("source = \"192.0.2.2\""), "6:1", "it belongs to `unicast` of an instance"),
        (instance_with("password = \"a\""), "6:1", "it belongs to `auth` of an instance"),
        (instance_with("repeat = 1"), "6:1", "it belongs to `garp` of an instance"),
        (instance_with("name = \"a\""), "6:1", "it belongs to [daemon], or to the params of a check"),
        (check_with("memory = \"1MiB\""), "3:1", "it belongs to `limits` of a check"),
        (check_with("url = \"http://a\""), "3:1", "it belongs to the `params` of a check"),
    ] {
        assert_error(&text, place, words);
    }
}

#[test]
fn missing_key_is_reported_at_its_table() {
    let errors = errors(&[("v.toml", "# an empty instance\n[instance.web]\n")]);
    let shown = errors.to_string();
    for key in ["interface", "virtual_router_id", "addresses"] {
        assert!(shown.contains(&format!("v.toml:2:11: instance.web: `{key}` is missing")), "{shown}");
    }
}

#[test]
fn all_errors_are_reported_together_from_top_to_bottom() {
    let text = "[instance.a]\ninterface = \"e\"\nvirtual_router_id = 0\naddresses = [\"x\"]\nchecks = [\"c\"]\n\
                [check.c]\nplugin = \"p\"\nrise = 0\n[daemon]\ncolour = \"red\"\n";
    let errors = errors(&[("v.toml", text)]);
    let places: Vec<_> =
        errors.problems().iter().filter_map(|p| p.place.as_ref()).map(|p| (p.line(), p.column())).collect();
    assert_eq!(places, [(3, 21), (4, 14), (8, 8), (10, 1)], "{errors}");
}

#[test]
fn error_in_a_check_is_not_repeated_where_the_check_is_used() {
    assert_error(
        "[check.c]\n[instance.a]\ninterface = \"e\"\nvirtual_router_id = 1\naddresses = [\"192.0.2.1\"]\nchecks = [\"c\"]\n",
        "1:8",
        "`plugin` is missing",
    );
}

#[test]
fn invalid_toml() {
    for (text, place) in
        [("[instance", "1:"), ("a = \n", "1:"), ("a = 1\na = 2\n", "2:1"), ("[a]\n[a]\n", "2:"), ("x\u{1b}[31m", "1:")]
    {
        let errors = errors(&[("v.toml", text)]);
        let shown = errors.to_string();
        assert!(shown.starts_with(&format!("v.toml:{place}")), "{text:?}: {shown}");
        assert!(!shown.contains('\u{1b}'), "a control character reached the terminal: {shown:?}");
    }
}

#[test]
fn columns_count_characters_and_carets_align_below_tabs() {
    let errors =
        errors(&[("v.toml", "[check.c]\nplugin = \"p\"\nparams = { \"ü\" = 1 }\t# x\n[daemon]\n\trealtime = 1\n")]);
    assert!(errors.to_string().ends_with("  5 | \trealtime = 1\n    | \t           ^"), "{errors}");
    assert_error("[check.c]\nplugin = \"p\"\nparams = { \"üü\" = [[]] }\n", "3:20", "a list in a list");
}

#[test]
fn passwords_are_not_shown() {
    for line in [
        "auth = { type = \"pass\", password = \"secret789\" }",
        "auth = { password = 'secret789', type = 1 }",
        "auth = { password = 12345678, type = \"pass\" }",
    ] {
        let shown = errors(&[("v.toml", &instance_with(line))]).to_string();
        assert!(!shown.contains("secret") && !shown.contains("12345678"), "{shown}");
        assert!(shown.contains("password = ****"), "{shown}");
    }
    for text in [
        instance_with("auth = \"geheim12\""),
        instance_with("auth = geheim12"),
        instance_with("auth = { type = \"pass\", pasword = \"geheim34\" }"),
        instance_with("auth = { type = \"PASS\", pass = \"geheim12\" }"),
        instance_with("auth = {\n  type = \"PASS\",\n  secret = \"geheim12\" }"),
        instance_with("auth = [\"geheim12\", \"geheim34\"]"),
        instance_with("auth = geheim12 = geheim34"),
        instance_with("authentication = { auth_type = \"PASS\", auth_pass = \"geheim12\" }"),
        format!("{}[instance.web.auth]\ntype = \"pass\"\nsecret = \"geheim12\"\n", instance_with("")),
        format!("{}[instance.web.auth]\ntype = \"pass\"\nsecret = geheim12\n", instance_with("")),
        check_with("params = { password = { a = [[\"geheim12\"]] } }"),
    ] {
        let shown = errors(&[("v.toml", &text)]).to_string();
        assert!(!shown.contains("geheim"), "{text}:\n{shown}");
    }
}

const ROUTER: &str = "interface = \"eth0\"\nvirtual_router_id = 55\n";

#[test]
fn duplicate_virtual_router_id_on_one_interface() {
    let text = format!(
        "[instance.a]\n{ROUTER}addresses = [\"192.0.2.1\"]\n[instance.b]\n{ROUTER}addresses = [\"192.0.2.2\"]\n"
    );
    assert_error(&text, "7:21", "instance a on eth0 already has it (at v.toml:3:21)");
    let elsewhere = text.replacen("eth0", "eth1", 1);
    assert!(resolve(vec![("v.toml".into(), elsewhere)]).is_ok());
}

#[test]
fn duplicate_virtual_address_on_one_interface() {
    let text = format!(
        "[instance.a]\n{ROUTER}addresses = [\"192.0.2.1\"]\n[instance.b]\n{}addresses = [\"192.0.2.2\", \"192.0.2.1/24\"]\n",
        ROUTER.replace("55", "56")
    );
    assert_error(&text, "8:27", "instance a on eth0 already has this address (at v.toml:4:14)");
}

#[test]
fn names_are_unique_across_files() {
    let main = format!("[check.c]\nplugin = \"p\"\n[instance.a]\n{ROUTER}addresses = [\"192.0.2.1\"]\n");
    let drop_in = "\n[check.c]\nplugin = \"q\"\n";
    let shown = errors(&[("v.toml", &main), ("conf.d/a.toml", drop_in)]).to_string();
    assert!(
        shown.starts_with("conf.d/a.toml:2:8: check.c: this check is defined twice, first at v.toml:1:8"),
        "{shown}"
    );
}

#[test]
fn daemon_table_is_allowed_in_the_main_file_only() {
    let shown = errors(&[("v.toml", ""), ("conf.d/a.toml", "[daemon]\nname = \"b\"\n")]).to_string();
    assert!(shown.starts_with("conf.d/a.toml:1:2: daemon: allowed only in the main file, v.toml"), "{shown}");
}

#[test]
fn names_with_other_characters_are_rejected() {
    for name in ["\"\"", "\"a b\"", "\"a\\n\"", "\"ä\""] {
        let text = format!("[check.{name}]\nplugin = \"p\"\n");
        assert_error(&text, "1:8", "1 to 64 letters, digits");
    }
}

#[test]
fn missing_plugin_is_reported_with_its_place_and_the_available_ones() {
    let config = resolve(vec![("v.toml".into(), "[check.c]\nplugin = \"proces\"\n".into())]).expect("valid");
    let available = ["tcp".to_owned(), "process".to_owned()];
    let shown = config.check_plugins(&available).expect_err("missing").to_string();
    assert!(
        shown.starts_with(
            "v.toml:2:10: check.c.plugin = \"proces\": there is no such plugin (did you mean \"process\"?); expected one \
             of process, tcp, or a file proces.wasm in /etc/vouchd/plugins or /usr/lib/vouchd/plugins\n"
        ),
        "{shown}"
    );
    let shown = config.check_plugins(&[]).expect_err("missing").to_string();
    assert!(shown.contains("no plugin is installed; expected proces.wasm in"), "{shown}");
    assert!(config.check_plugins(&["proces".to_owned()]).is_ok());
}

#[test]
fn ipv6_with_version_2_is_rejected() {
    let text = "[check.c]\nplugin = \"p\"\n[instance.web]\ninterface = \"eth0\"\nvirtual_router_id = 55\nversion = 2\n\
                addresses = [\"fe80::1\"]\n";
    assert_error(text, "6:11", "IPv6 needs version 3");
}

/// Two instances whose members and group follow.
fn group_with(lines: &str) -> String {
    let instance = |name: &str, vrid: u8| {
        format!(
            "[instance.{name}]\ninterface = \"eth0\"\nvirtual_router_id = {vrid}\naddresses = [\"192.0.2.{vrid}\"]\n"
        )
    };
    format!("{}{}{lines}", instance("a", 1), instance("b", 2))
}

#[test]
fn wrong_values_of_a_group() {
    for (lines, place, words) in [
        ("[group.g]\ninstances = [\"a\"]", "10:13", "at least two instances"),
        ("[group.g]\ninstances = [\"a\", \"c\"]", "10:19", "there is no such instance"),
        ("[group.g]\ninstances = [\"a\", \"b\"]\n[group.h]\ninstances = [\"a\", \"b\"]", "12:14", "in a group already"),
        ("[group.g]\ninstances = [\"a\", \"a\"]", "10:19", "in a group already, at v.toml:10:14"),
        ("[group.g]\ninstances = [\"a\", \"b\"]\nchecks = [\"c\"]", "11:11", "there is no such check"),
        ("[group.g]\ninstances = [\"a\", \"b\"]\ninstnces = 1", "11:1", "did you mean `instances`?"),
    ] {
        let text = group_with(lines);
        let errors = errors(&[("v.toml", &text)]).to_string();
        assert!(errors.starts_with(&format!("v.toml:{place}: ")), "{place} expected:\n{errors}");
        assert!(errors.contains(words), "{words:?} expected:\n{errors}");
    }
}
