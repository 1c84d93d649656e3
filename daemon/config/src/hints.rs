//! What somebody probably meant by a name that does not exist here.

/// keepalived's keywords, and what they are called here.
const KEEPALIVED: &[(&str, &str)] = &[
    ("advert_int", "`advert_interval = \"1s\"`"),
    ("auth_pass", "`auth = { type = \"pass\", password = \"...\" }`"),
    ("auth_type", "`auth = { type = \"pass\", password = \"...\" }`"),
    ("authentication", "`auth = { type = \"pass\", password = \"...\" }`"),
    ("garp_master_delay", "`garp = { delay = \"5s\" }`"),
    ("garp_master_refresh", "`garp = { refresh = \"60s\" }`"),
    ("garp_master_refresh_repeat", "`garp = { refresh_repeat = 1 }`"),
    ("garp_master_repeat", "`garp = { repeat = 5 }`"),
    ("global_defs", "`[daemon]`"),
    ("nopreempt", "`preempt = false`"),
    ("process", "`params = { name = \"...\" }` of a check with `plugin = \"process\"`"),
    ("router_id", "`name` in `[daemon]`"),
    ("script", "`plugin`: a check is a WebAssembly plugin, not a script"),
    ("state", "nothing: every router starts as backup, and the priorities elect the active one"),
    ("track_process", "`checks`, with a check whose `plugin = \"process\"`"),
    ("track_script", "`checks`"),
    ("unicast_peer", "`unicast = { source = \"...\", peers = [\"...\"] }`"),
    ("unicast_src_ip", "`unicast = { source = \"...\", peers = [\"...\"] }`"),
    ("v3_checksum_as_v2", "`checksum = \"message-only\"`"),
    ("virtual_ipaddress", "`addresses`"),
    ("vrid", "`virtual_router_id`"),
    ("vrrp_instance", "`[instance.NAME]`"),
    ("vrrp_script", "`[check.NAME]`"),
    ("vrrp_track_process", "`[check.NAME]` with `plugin = \"process\"`"),
    ("vrrp_version", "`version` in each instance"),
];

/// `, write ... instead` or `, did you mean ...?` or nothing, to follow "unknown key".
pub(crate) fn for_key(unknown: &str, known: &[&str]) -> String {
    if let Some((_, ours)) = KEEPALIVED.iter().find(|(theirs, _)| *theirs == unknown) {
        return format!(" (keepalived's; write {ours} instead)");
    }
    nearest(unknown, known.iter().copied()).map(|key| format!(" (did you mean `{key}`?)")).unwrap_or_default()
}

/// The candidate that a typing mistake or two would turn into `text`.
pub(crate) fn nearest<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (text.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(text, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_mistakes_are_recognised_and_other_words_are_not() {
        let known = ["interval", "timeout", "weight", "rise", "fall"];
        for (typed, meant) in [
            ("intervall", Some("interval")),
            ("wieght", Some("weight")),
            ("tiemout", Some("timeout")),
            ("raise", Some("rise")),
            ("colour", None),
            ("x", None),
        ] {
            assert_eq!(nearest(typed, known), meant, "{typed}");
        }
    }

    #[test]
    fn keepalived_keywords_are_translated() {
        assert!(for_key("advert_int", &["advert_interval"]).contains("advert_interval = \"1s\""));
        assert!(for_key("state", &[]).contains("every router starts as backup"));
    }
}
