//! Valid configurations that were probably not intended.

use crate::config;

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

#[test]
fn different_priorities_in_a_group_give_a_warning() {
    let instance = |name: &str, vrid: u8, priority: u8| {
        format!(
            "[instance.{name}]\ninterface = \"eth0\"\nvirtual_router_id = {vrid}\npriority = {priority}\n\
             addresses = [\"192.0.2.{vrid}\"]\n"
        )
    };
    let group = "[group.g]\ninstances = [\"a\", \"b\"]\n";
    for (other, warnings) in [(150, 0), (100, 1)] {
        let config = config(&format!("{}{}{group}", instance("a", 1, 150), instance("b", 2, other)));
        let about = config.warnings.iter().filter(|warning| warning.message.contains("different priorities"));
        assert_eq!(about.count(), warnings, "{other}");
    }
}

#[test]
fn weight_of_a_tracked_interface_that_has_no_effect_gives_a_warning() {
    let config = config(
        "[instance.a]\ninterface = \"eth0\"\nvirtual_router_id = 1\npriority = 255\naddresses = [\"192.0.2.1\"]\n\
         track = [{ interface = \"eth1\", weight = -20 }]\n",
    );
    assert!(config.warnings.iter().any(|warning| warning.message.contains("its weight has no effect")));
}
