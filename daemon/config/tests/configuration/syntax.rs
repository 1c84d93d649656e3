//! Files that are not TOML: the place of each mistake, and what was probably meant.

use crate::errors;

#[test]
fn unreadable_line_gets_advice_on_what_was_meant() {
    for (line, column, words) in [
        ("preempt = no", 11, "expected true or false, in lower case and without quotes: false for no"),
        ("preempt = yes", 11, "true for yes"),
        ("preempt = on", 11, "true for on"),
        ("preempt = off", 11, "false for off"),
        ("preempt = True", 11, "true for True"),
        ("preempt = FALSE", 11, "false for FALSE"),
        ("lease = off", 9, "expected quotes around a string: \"off\""),
        ("// a comment", 1, "// does not begin a comment; expected #"),
        ("priority = 100 // higher", 16, "// does not begin a comment; expected #"),
        ("/* a comment */", 1, "/* does not begin a comment"),
        ("; a comment", 1, "; does not begin a comment"),
        ("! a comment", 1, "! does not begin a comment"),
        ("priority = 100;", 15, "found ; at the end of a line"),
        ("name = \u{201c}web\u{201d}", 8, "typographic quotation mark; expected a plain one, \""),
        ("name = \u{201e}web\u{201c}", 8, "typographic quotation mark"),
        ("name = \u{2018}web\u{2019}", 8, "typographic quotation mark"),
        ("weight = \u{2212}20", 10, "typographic dash; expected a plain one, -"),
        ("priority =\u{a0}100", 11, "U+00A0 looks like a space"),
        ("priority: 100", 9, "expected = between a key and its value: priority = ..."),
        ("auth = { type: \"pass\" }", 14, "expected = between a key and its value: type = ..."),
        ("addresses = [192.0.2.1]", 14, "expected quotes around an address: \"192.0.2.1\""),
        ("addresses = [\"192.0.2.1\", 192.0.2.2/24]", 27, "expected quotes around an address: \"192.0.2.2/24\""),
        ("source = 192.0.2.1", 10, "expected quotes around an address: \"192.0.2.1\""),
        ("source = fe80::1", 10, "expected quotes around an address: \"fe80::1\""),
        ("interface = eth0", 13, "expected quotes around a string: \"eth0\""),
        ("path = /run/app", 8, "expected quotes around a string: \"/run/app\""),
        ("interval = 1s", 12, "expected quotes around a number with a unit: \"1s\""),
        ("interface = \"eth0", 13, "this string is not closed; expected another \""),
        ("priority 100", 1, "expected = between a key and its value: priority = ..."),
        ("priority =", 1, "expected a value after priority ="),
        ("priority", 1, "expected priority = and a value"),
        ("nopreempt", 1, "nopreempt is not TOML (a keyword of keepalived; write `preempt = false` instead)"),
        ("advert_int 1", 1, "write `advert_interval"),
        ("virtual_ipaddress {", 1, "write `addresses`"),
        ("[instance.other", 1, "expected ] at the end of a table's name: [instance.other]"),
        ("[instance other]", 1, "expected a dot and no space in a table's name: [instance.other]"),
        ("[instance.\"other\"", 1, ""),
        ("<<<<<<< HEAD", 1, "a merge conflict marker"),
        ("=======", 1, "a merge conflict marker"),
        (">>>>>>> main", 1, "a merge conflict marker"),
        ("priority = {{ priority }}", 1, "this is template syntax"),
        ("{% if a %}", 1, "this is template syntax"),
        ("interface = ${IFACE}", 13, "variables are not replaced"),
        ("addresses = [\"192.0.2.1\",", 13, "this list is not closed"),
        ("addresses = [", 13, "this list is not closed"),
        ("addresses = [\"192.0.2.1]", 14, "this string is not closed"),
    ] {
        let text = format!("[instance.web]\n{line}\npriority = 1\n");
        let shown = errors(&[("v.toml", &text)]).to_string();
        let place = if words.is_empty() { "v.toml:2:".to_owned() } else { format!("v.toml:2:{column}: ") };
        assert!(shown.starts_with(&place), "{line}: {place} expected:\n{shown}");
        assert!(shown.contains(words), "{line}: {words:?} expected:\n{shown}");
    }
}

#[test]
fn every_unreadable_line_of_every_file_is_reported() {
    let main = "[instance.web]\ninterface = eth0\npreempt = no\n// priority\naddresses = [192.0.2.1]\n";
    let drop_in = "[check.c]\nplugin = \"p\"\nrise = 0\n";
    let errors = errors(&[("v.toml", main), ("conf.d/c.toml", drop_in)]);
    let places: Vec<_> = errors.problems().iter().filter_map(|p| p.place.as_ref()).map(ToString::to_string).collect();
    assert_eq!(places, ["v.toml:2:13", "v.toml:3:11", "v.toml:4:1", "v.toml:5:14", "conf.d/c.toml:3:8"], "{errors}");
}

#[test]
fn names_that_an_unreadable_file_may_define_are_not_reported_as_missing() {
    let instance =
        "[instance.a]\ninterface = \"e\"\nvirtual_router_id = 1\naddresses = [\"192.0.2.1\"]\nchecks = [\"c\"]\n";
    let errors = errors(&[("v.toml", instance), ("conf.d/c.toml", "[check.c]\nplugin = p\n")]);
    let places: Vec<_> = errors.problems().iter().filter_map(|p| p.place.as_ref()).map(ToString::to_string).collect();
    assert_eq!(places, ["conf.d/c.toml:2:10"], "{errors}");
}

#[test]
fn files_of_another_format_are_recognised() {
    let keepalived = "! Configuration File for keepalived\n\nglobal_defs {\n   router_id LVS_DEVEL\n}\n\n\
                      vrrp_instance VI_1 {\n    state MASTER\n    interface eth0\n    auth_pass secret99\n}\n";
    for (text, place, words) in [
        (keepalived, "3:1", "this looks like keepalived.conf; expected TOML"),
        ("vrrp_script chk_nginx\n{\n  script \"killall -0 nginx\"\n}\n", "1:1", "this looks like keepalived.conf"),
        ("instance:\n  web:\n    interface: eth0\n    priority: 100\n", "1:1", "this looks like YAML"),
        ("---\n- a\n- b\n", "1:1", "this looks like YAML"),
        ("{\n  \"instance\": { \"web\": {} }\n}\n", "1:1", "this looks like JSON"),
        ("[\n  { \"a\": 1 }\n]\n", "1:1", "this looks like JSON"),
        ("; a comment\n[web]\ninterface=eth0\npriority=100\npath=/run/x\n", "2:1", "this looks like an INI file"),
        ("[a]\rb = 1\r", "1:4", "a carriage return"),
        ("<?xml version=\"1.0\"?>\n<a/>\n", "1:1", "this looks like XML"),
    ] {
        let errors = errors(&[("v.toml", text)]);
        let shown = errors.to_string();
        assert_eq!(errors.problems().len(), 1, "{shown}");
        assert!(shown.starts_with(&format!("v.toml:{place}: ")), "{place} expected:\n{shown}");
        assert!(shown.contains(words), "{words:?} expected:\n{shown}");
        assert!(!shown.contains("secret"), "{shown}");
    }
}

#[test]
fn no_message_shows_a_password_however_it_is_written() {
    for line in [
        "auth = { type = pass, password = \"secret99\" }",
        "auth = { type = \"pass\", password: \"secret99\" }",
        "auth = { type = \"pass\", password = \u{201c}secret99\u{201d} }",
        "auth = { password = \"a\\\"secret99\", type = pass }",
        "auth_pass secret99",
        "password = secret99",
        "\"password\": \"secret99\"",
    ] {
        let shown = errors(&[("v.toml", &format!("[instance.web]\n{line}\n"))]).to_string();
        assert!(!shown.contains("secret"), "{line}:\n{shown}");
    }
}

#[test]
fn no_message_shows_an_hmac_key_however_it_is_written() {
    let key = "5ec4e7".repeat(11);
    for line in [
        format!("auth = {{ type = \"hmac\", keys = [{{ id = 1, hex = \"{key}\" }}] }}\nx = 1"),
        format!("auth = {{ type = \"hmac\", keys = [{{ id = 1, hex = {key} }}] }}"),
        format!("auth = {{ type = \"hmac\", keys = [{{ id = 1, hex: \"{key}\" }}] }}"),
        format!("auth = {{ type = \"hmac\", keys = [{{ id = 1, file = \"{key}\" }}] }}"),
        format!("auth = {{ type = \"hmac\", keys = [{{ id = \"{key}\", hex = 1 }}] }}"),
        format!("auth = {{ type = \"hmac\", keys = \"{key}\" }}"),
        format!("auth = {{ type = \"hmac\", mode = \"{key}\", keys = [] }}"),
        format!("auth = {{ type = \"hmac\", key = \"{key}\" }}"),
        format!("auth = {{ type = \"{key}\" }}"),
        format!("auth = \"{key}\""),
        format!("auth = [\"hmac\", \"{key}\"]"),
        format!("auth = {{\n  type = \"hmac\",\n  keys = [\n    {{ id = 1, hex = \"{key} }},\n  ]\n}}"),
        format!("auth.keys = [{{ hex = '{key}' }}]"),
        format!("[[instance.web.auth.keys]]\nid = 1\nhex = \"{key}\""),
        format!("[[instance.web.auth.keys]]\nid = 1\nhex {key}"),
        format!("keys = [\"{key}\"]"),
        format!("hmac = \"{key}\""),
        format!("priority = \"{key}\""),
        format!("priority = 0x{key}"),
        format!("interface = {key}"),
        format!("auth_hmac {{\n  key 1 hex:{key}\n}}"),
        format!("auth_hmac = \"hex:{key}\""),
        key.clone(),
    ] {
        let shown = errors(&[("v.toml", &format!("[instance.web]\n{line}\n"))]).to_string();
        assert!(!shown.contains("5ec4e7"), "{line}:\n{shown}");
    }
}

#[test]
fn wrong_file_gets_an_error_of_bounded_size() {
    let unknown: String = (0..50_000).map(|n| format!("key{n} = 1\n")).collect();
    let broken = "what is this\n".repeat(50_000);
    let long = format!("[instance.web]\npriority = {}\n", "9".repeat(1 << 20));
    let behind = format!("a = \"{}\" = 1\n", "x".repeat(1 << 20));
    let deep = format!("a = {}", "[".repeat(200_000));
    for (name, text) in
        [("unknown", &unknown), ("broken", &broken), ("long", &long), ("behind", &behind), ("deep", &deep)]
    {
        let shown = errors(&[("v.toml", text)]).to_string();
        assert!(shown.starts_with("v.toml:"), "{name}: {}", &shown[..80]);
        assert!(shown.len() < 40_000, "{name}: {} bytes", shown.len());
    }
    let shown = errors(&[("v.toml", &unknown)]).to_string();
    assert!(shown.ends_with("and 49900 more"), "{}", &shown[shown.len() - 80..]);
}

#[test]
fn one_mistake_gives_one_error_at_its_place() {
    let list = "[instance.web]\naddresses = [\n  \"192.0.2.1\",\n\npriority = 1\nversion = 2\n[check.c]\nrise = 1\n";
    let twice = "[check.c]\nplugin = \"p\"\nrise = 1\n[check.d]\nplugin = \"p\"\n[check.c]\nplugin = \"p\"\nrise = 1\n";
    for (text, place, words) in [
        (list, "2:13", "this list is not closed; expected ] at its end"),
        (twice, "6:1", "[check.c] appears twice, first in line 1"),
    ] {
        let errors = errors(&[("v.toml", text)]);
        let shown = errors.to_string();
        assert_eq!(errors.problems().len(), 1, "{shown}");
        assert!(shown.starts_with(&format!("v.toml:{place}: ")) && shown.contains(words), "{shown}");
    }
}
